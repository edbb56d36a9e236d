"""The backend of a simulated server that runs the tasks itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import attrs

from .dispatch import Dispatcher
from .engine import Engine
from .handlers.queries import Queries
from .images.store import ImageStore
from .prompts import parse_version
from .responses import RequestRefused, SimResponse
from .routes import MatchedRoute, match_route
from .submitting import SubmissionService
from .task_json import TaskSerializer
from .webhook_sender import WebhookDelivery, WebhookSender

if TYPE_CHECKING:
    from aiohttp import web

    from .dialect import Dialect
    from .faults import FaultScript
    from .sim_task import RequestRecord, SimTask, Submission

_MIN_TIMER_SECONDS: Final = 0.001


@attrs.frozen(kw_only=True)
class SimulatorSettings:
    """The settings of the simulated Midjourney; `Simulator` documents each."""

    time_scale: float
    version: str
    accounts: int
    concurrency: int
    queue_size: int
    remix: bool
    banned_words: tuple[str, ...]
    link_lifetime: float | None
    draw: bool
    picture_size: int
    list_endpoint: bool
    image_urls: bool
    seed: int
    hooks: str = "loopback"
    record_limit: int | None = None


class ServerBackend:
    """An engine, its images, webhooks and endpoints, in one dialect."""

    def __init__(
        self,
        dialect: Dialect,
        settings: SimulatorSettings,
        *,
        token: str | None,
        faults: FaultScript,
        submissions: list[Submission],
    ) -> None:
        self.faults = faults
        self.images: ImageStore = ImageStore(
            draws_images=settings.draw,
            grid_size=settings.picture_size,
            link_lifetime=settings.link_lifetime,
            expired_status=dialect.expired_link_status,
            preview_from_percent=dialect.preview_from_percent,
            renews_links=dialect.refreshes_links,
        )
        self.engine: Engine = Engine(
            time_scale=settings.time_scale,
            account_count=settings.accounts,
            concurrency=settings.concurrency,
            queue_size=settings.queue_size,
            seed=settings.seed,
            modal_linger_seconds=dialect.modal_linger_seconds,
            on_change=self._on_task_changed,
        )
        submission_service = SubmissionService(
            dialect=dialect,
            engine=self.engine,
            images=self.images,
            faults=faults,
            submissions=submissions,
            default_model=parse_version(settings.version),
            has_remix=settings.remix,
            banned_words=settings.banned_words,
        )
        self._dialect = dialect
        self._webhooks = WebhookSender(faults=faults, allow_any_host=settings.hooks == "any")
        self._webhooks.deliveries.limit = settings.record_limit
        self._serializer = TaskSerializer(
            dialect=dialect, images=self.images, includes_image_urls=settings.image_urls
        )
        self._dispatcher = Dispatcher(
            dialect=dialect,
            token=token,
            has_list_endpoint=settings.list_endpoint,
            submissions=submission_service,
            queries=Queries(dialect=dialect, engine=self.engine, serializer=self._serializer),
        )
        self._is_open = False
        self._timer: asyncio.TimerHandle | None = None
        self._idle = asyncio.Event()

    async def open(self, url: str) -> None:
        """Start the clock of the tasks; links lead to ``url``."""
        self.images.base_url, self._is_open = url, True
        self._schedule_timer()

    async def close(self) -> None:
        """Stop the timer and drop unsent webhooks; tasks continue in their own time."""
        self._is_open = False
        self._cancel_timer()
        self._idle.set()
        await self._webhooks.stop()

    async def wait_idle(self) -> None:
        """Wait until no task will change by itself and every webhook is sent."""
        while self._next_due() is not None:
            if not self._is_open:
                raise RuntimeError("a stopped simulator finishes no tasks: call start() again")
            self._idle.clear()
            await self._idle.wait()
        await self._webhooks.wait_idle()

    async def refresh(self) -> None:
        """Do nothing: there is no upstream to fetch from."""

    @property
    def tasks(self) -> Mapping[str, SimTask]:
        """Every task by id, as of now."""
        self.engine.advance(time.time())
        return self.engine.tasks

    @property
    def in_flight(self) -> int:
        """The number of accepted, unfinished tasks."""
        self.engine.advance(time.time())
        return self.engine.in_flight

    @property
    def max_in_flight(self) -> int:
        """The largest number of tasks that were in flight at once."""
        return self.engine.max_in_flight

    @property
    def hooks(self) -> list[WebhookDelivery]:
        """Every webhook that was sent, in order."""
        return self._webhooks.deliveries

    def forget(self, task_id: str | None) -> None:
        """Lose one task, or all tasks for None."""
        now = time.time()
        tasks = self.engine.tasks
        for task in [tasks[task_id]] if task_id else [*tasks.values()]:
            self.engine.forget(task, now)
        self._schedule_timer()

    def expire_links(self) -> None:
        """Make every image link created so far expire."""
        self.images.expire_links()

    def _next_due(self) -> float | None:
        self.engine.advance(time.time())
        return self.engine.next_due

    def _schedule_timer(self) -> None:
        """Set the only timer to the next change of a task."""
        due_at = self._next_due()
        if due_at is None:
            self._idle.set()
        if due_at is None or not self._is_open:
            self._cancel_timer()
            return
        loop = asyncio.get_running_loop()
        fire_at = loop.time() + max(due_at - time.time(), _MIN_TIMER_SECONDS)
        if self._timer is None or self._timer.when() > fire_at:
            self._cancel_timer()
            self._timer = loop.call_at(fire_at, self._fire)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _fire(self) -> None:
        self._timer = None
        self._schedule_timer()

    def _on_task_changed(self, task: SimTask) -> None:
        if task.notify_hook and self._is_open:
            payload = self._serializer.dump(task)
            self._webhooks.enqueue(task.notify_hook, task.id, payload, is_last=task.is_terminal)

    def route(self, method: str, path: str) -> MatchedRoute:
        """Return the route of a request."""
        http = self._dialect.http_rules
        effective_method = "GET" if method == "HEAD" and http.serves_head_as_get else method
        return match_route(effective_method, http.normalize_path(path))

    async def answer(
        self, request: web.BaseRequest, route: MatchedRoute, record: RequestRecord
    ) -> SimResponse:
        """Handle a request and return the response."""
        if route.kind == "image":
            return await self._serve_image(request, route)
        http = self._dialect.http_rules
        reply = http.before_routing(request) or self._dispatch(request, route, record)
        if reply.delay:
            await asyncio.sleep(reply.delay)
        return http.after_response(request, reply)

    def _dispatch(
        self, request: web.BaseRequest, route: MatchedRoute, record: RequestRecord
    ) -> SimResponse:
        self.engine.advance(record.at)
        try:
            return self._dispatcher.dispatch(request, route, record)
        except RequestRefused as refusal:
            return refusal.response
        finally:
            self._schedule_timer()

    async def _serve_image(self, request: web.BaseRequest, route: MatchedRoute) -> SimResponse:
        if self.faults.next_fault("link", endpoint=None):
            return self.images.expire_link(request.query_string)
        return await self.images.serve(route.task_id, request.query_string)

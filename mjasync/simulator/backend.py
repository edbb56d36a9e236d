"""What stands behind the listener: the workshop of a server that does the work itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import attrs

from .dispatch import Door
from .engine import Engine
from .handlers.queries import Reads
from .images.store import Gallery
from .prompts import flag_of
from .responses import Refusal, Reply
from .routes import Route, route_of
from .submitting import Desk
from .task_json import View
from .webhook_sender import HookPost, Hooks

if TYPE_CHECKING:
    from aiohttp import web

    from .dialect import Dialect
    from .faults import Faults
    from .sim_task import Request, SimTask, Submission

__all__ = ["Settings", "Workshop"]

_SHORTEST_NAP: Final = 0.001


@attrs.frozen(kw_only=True)
class Settings:
    """What a simulator is told about the Midjourney it plays; see `Simulator` for each."""

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


class Workshop:
    """An engine and all that is around it, in one dialect."""

    def __init__(
        self,
        dialect: Dialect,
        settings: Settings,
        *,
        token: str | None,
        faults: Faults,
        submissions: list[Submission],
    ) -> None:
        self.faults = faults
        self.gallery: Gallery = Gallery(
            draw=settings.draw,
            size=settings.picture_size,
            lifetime=settings.link_lifetime,
            expired_status=dialect.expired_link_status,
            preview_from=dialect.preview_from,
            renews=dialect.renews_links,
        )
        self.engine: Engine = Engine(
            time_scale=settings.time_scale,
            accounts=settings.accounts,
            concurrency=settings.concurrency,
            queue_size=settings.queue_size,
            seed=settings.seed,
            modal_linger=dialect.modal_linger,
            changed=self._changed,
        )
        desk = Desk(
            dialect=dialect,
            engine=self.engine,
            gallery=self.gallery,
            faults=faults,
            submissions=submissions,
            model=flag_of(settings.version),
            remix=settings.remix,
            banned=settings.banned_words,
        )
        self._dialect = dialect
        self._hooks = Hooks(faults=faults, anywhere=settings.hooks == "any")
        self._hooks.sent.limit = settings.record_limit
        self._view = View(dialect=dialect, gallery=self.gallery, image_urls=settings.image_urls)
        self._door = Door(
            dialect=dialect,
            token=token,
            list_endpoint=settings.list_endpoint,
            desk=desk,
            reads=Reads(dialect=dialect, engine=self.engine, view=self._view),
        )
        self._is_open = False
        self._timer: asyncio.TimerHandle | None = None
        self._calm = asyncio.Event()

    # --- life -----------------------------------------------------------------------------------

    async def open(self, url: str) -> None:
        """Begin; links lead to ``url``."""
        self.gallery.base, self._is_open = url, True
        self._wind()

    async def close(self) -> None:
        """Rest. Tasks go on in their own time; webhooks that are left are dropped."""
        self._is_open = False
        self._unwind()
        self._calm.set()
        await self._hooks.stop()

    async def settled(self) -> None:
        """Wait until no task will change by itself and every webhook is sent."""
        while self._next_due() is not None:
            if not self._is_open:
                raise RuntimeError("a stopped simulator settles nothing: start() it again")
            self._calm.clear()
            await self._calm.wait()
        await self._hooks.drained()

    async def refresh(self) -> None:
        """Nothing to look at: this server does the work itself."""

    # --- what can be read off it ----------------------------------------------------------------

    @property
    def tasks(self) -> Mapping[str, SimTask]:
        """Every task it knows, by id, as of now."""
        self.engine.advance(time.time())
        return self.engine.tasks

    @property
    def in_flight(self) -> int:
        """How many tasks are accepted and not finished."""
        self.engine.advance(time.time())
        return self.engine.in_flight

    @property
    def max_in_flight(self) -> int:
        """The most tasks that were in flight at once."""
        return self.engine.max_in_flight

    @property
    def hooks(self) -> list[HookPost]:
        """Every webhook it has posted, in order."""
        return self._hooks.sent

    # --- what can be done to it -----------------------------------------------------------------

    def forget(self, task_id: str | None) -> None:
        """Lose one task, or all of them."""
        now = time.time()
        known = self.engine.tasks
        for task in [known[task_id]] if task_id else [*known.values()]:
            self.engine.forget(task, now)
        self._wind()

    def expire_links(self) -> None:
        """Make every image link handed out so far expire."""
        self.gallery.expire()

    # --- the clock ------------------------------------------------------------------------------

    def _next_due(self) -> float | None:
        self.engine.advance(time.time())
        return self.engine.next_due

    def _wind(self) -> None:
        """Set the one timer there is to the next thing that happens."""
        due = self._next_due()
        if due is None:
            self._calm.set()
        if due is None or not self._is_open:
            self._unwind()
            return
        loop = asyncio.get_running_loop()
        when = loop.time() + max(due - time.time(), _SHORTEST_NAP)
        if self._timer is None or self._timer.when() > when:
            self._unwind()
            self._timer = loop.call_at(when, self._ring)

    def _unwind(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ring(self) -> None:
        self._timer = None
        self._wind()

    def _changed(self, task: SimTask) -> None:
        if task.notify_hook and self._is_open:
            payload = self._view.task(task)
            self._hooks.post(task.notify_hook, task.id, payload, last=task.terminal)

    # --- one request ----------------------------------------------------------------------------

    def route(self, method: str, path: str) -> Route:
        """The route of a request."""
        http = self._dialect.http
        asked = "GET" if method == "HEAD" and http.head_is_get else method
        return route_of(asked, http.path(path))

    async def answer(self, request: web.BaseRequest, route: Route, record: Request) -> Reply:
        """Do what a request asks for."""
        if route.kind == "image":
            return await self._picture(request, route)
        http = self._dialect.http
        reply = http.before(request) or self._enter(request, route, record)
        if reply.delay:
            await asyncio.sleep(reply.delay)
        return http.after(request, reply)

    def _enter(self, request: web.BaseRequest, route: Route, record: Request) -> Reply:
        self.engine.advance(record.at)
        try:
            return self._door.enter(request, route, record)
        except Refusal as refusal:
            return refusal.reply
        finally:
            self._wind()

    async def _picture(self, request: web.BaseRequest, route: Route) -> Reply:
        if self.faults.take("link", endpoint=None):
            return self.gallery.refuse(request.query_string)
        return await self.gallery.serve(route.task_id, request.query_string)

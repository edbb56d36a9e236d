"""The simulated server: HTTP on loopback in front of the engine, and a record of everything."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final, Self

import orjson
from aiohttp import web

from .desk import Desk
from .dialects import DIALECTS, Dialect
from .door import Door
from .engine import Engine
from .faults import Fault, Faults
from .gallery import Gallery
from .hooks import HookPost, Hooks
from .reads import Reads
from .replies import Refusal, Reply
from .routes import Route, route_of
from .sabotage import answer, sabotage
from .tasks import Request, SimTask, Submission
from .view import View
from .wording import DEFAULT_BANNED, flag_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from aiohttp import StreamReader
    from aiohttp.abc import AbstractStreamWriter
    from aiohttp.http import RawRequestMessage

__all__ = ["Simulator"]

_BODY_LIMIT: Final = 64 * 2**20
_SHORTEST_NAP: Final = 0.001


class Simulator:
    """A Midjourney proxy on loopback: real life cycle, limits, buttons, modals and pictures.

    Use it as an async context manager, or call `start` and `stop`. It may be stopped and started
    again: it keeps its port and its tasks.

    Args:
        dialect: Which server of the family it plays; a key of `DIALECTS`.
        time_scale: Real seconds per simulated second; 0 finishes every task at once.
        token: What clients must send; None leaves the server open to any.
        host: The address to listen on.
        port: The port to listen on; 0 picks a free one.
        version: The model of prompts that ask for none, such as ``7``, ``6.1`` or ``niji 6``.
        accounts: How many Midjourney accounts it has.
        concurrency: How many tasks each account runs at once.
        queue_size: How many more tasks each account keeps waiting.
        remix: Whether its accounts have remix on, so that more buttons open a modal.
        banned_words: Words it refuses in prompts.
        link_lifetime: Real seconds an image link lives; None: for ever.
        draw: Whether pictures are drawn; otherwise each is the same tiny PNG, without Pillow.
        picture_size: Longest side of a grid in pixels.
        list_endpoint: Whether ``/mj/task/list`` and its relatives exist.
        image_urls: Whether finished grids carry the links of their four pictures.
        seed: Makes ids, durations and pictures repeatable.

    Raises:
        ValueError: There is no such dialect.
    """

    def __init__(
        self,
        dialect: str = "plus",
        *,
        time_scale: float = 0.01,
        token: str | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        version: str = "7",
        accounts: int = 1,
        concurrency: int = 3,
        queue_size: int = 10,
        remix: bool = False,
        banned_words: Iterable[str] = DEFAULT_BANNED,
        link_lifetime: float | None = None,
        draw: bool = True,
        picture_size: int = 512,
        list_endpoint: bool = True,
        image_urls: bool = False,
        seed: int = 0,
    ) -> None:
        if dialect not in DIALECTS:
            raise ValueError(f"no dialect is called {dialect!r}; there are {', '.join(DIALECTS)}")
        self.dialect: Dialect = DIALECTS[dialect]
        """The table of quirks it follows."""
        self.submissions: list[Submission] = []
        """Every accepted, that is paid, submission in order."""
        self.requests: list[Request] = []
        """Every HTTP request in order."""
        self._host, self._port = host, port
        self._faults = Faults(seed)
        self._hooks = Hooks(faults=self._faults)
        self._gallery = Gallery(
            draw=draw,
            size=picture_size,
            lifetime=link_lifetime,
            expired_status=self.dialect.expired_link_status,
        )
        self._view = View(dialect=self.dialect, gallery=self._gallery, image_urls=image_urls)
        self._engine = Engine(
            time_scale=time_scale,
            accounts=accounts,
            concurrency=concurrency,
            queue_size=queue_size,
            seed=seed,
            modal_linger=self.dialect.modal_linger,
            changed=self._changed,
        )
        desk = Desk(
            dialect=self.dialect,
            engine=self._engine,
            gallery=self._gallery,
            faults=self._faults,
            submissions=self.submissions,
            model=flag_of(version),
            remix=remix,
            banned=tuple(banned_words),
        )
        reads = Reads(dialect=self.dialect, engine=self._engine, view=self._view)
        self._door = Door(
            dialect=self.dialect, token=token, list_endpoint=list_endpoint, desk=desk, reads=reads
        )
        self._runner: web.ServerRunner | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._calm = asyncio.Event()

    # --- life -----------------------------------------------------------------------------------

    async def start(self) -> None:
        """Listen. Does nothing when it already does."""
        if self._runner is not None:
            return
        server = web.Server(self._handle, request_factory=_request, access_log=None)
        runner = web.ServerRunner(server, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, self._host, self._port).start()
        self._runner, self._port = runner, runner.addresses[0][1]
        self._gallery.base = self.url
        self._wind()

    async def stop(self) -> None:
        """Listen no more. Tasks go on in their own time and are there after another start."""
        runner, self._runner = self._runner, None
        self._unwind()
        self._calm.set()
        await self._hooks.stop()
        if runner is not None:
            await runner.cleanup()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.stop()

    @property
    def url(self) -> str:
        """Its base URL, without a trailing slash."""
        if not self._port:
            raise RuntimeError("the simulator has no address yet: use `async with` or start() it")
        return f"http://{self._host}:{self._port}"

    # --- what can be read off it ----------------------------------------------------------------

    @property
    def token(self) -> str | None:
        """What clients must send; None: nothing."""
        return self._door.token

    @property
    def tasks(self) -> Mapping[str, SimTask]:
        """Every task it knows, by id, as of now."""
        self._engine.advance(time.time())
        return self._engine.tasks

    @property
    def in_flight(self) -> int:
        """How many tasks are accepted and not finished; an unanswered modal is not accepted."""
        self._engine.advance(time.time())
        return self._engine.in_flight

    @property
    def max_in_flight(self) -> int:
        """The most tasks that were in flight at once."""
        return self._engine.max_in_flight

    @property
    def hooks(self) -> list[HookPost]:
        """Every webhook it has posted, in order."""
        return self._hooks.sent

    async def settled(self) -> None:
        """Wait until no task will change by itself and every webhook is sent.

        A task that waits for its modal, or is stalled by a fault, does not hold this up.
        """
        while self._next_due() is not None:
            if self._runner is None:
                raise RuntimeError("a stopped simulator settles nothing: start() it again")
            self._calm.clear()
            await self._calm.wait()
        await self._hooks.drained()

    # --- what can be done to it -----------------------------------------------------------------

    def fault(
        self,
        kind: str,
        *,
        on: str = "submit",
        times: int | None = 1,
        chance: float = 1.0,
        endpoint: str | None = None,
        **options: object,
    ) -> Fault:
        """Script misbehaviour.

        Args:
            kind: What goes wrong; a key of `mjasync.simulator.faults.KINDS`.
            on: Which requests an HTTP fault strikes: ``submit``, ``fetch``, ``list``, ``image``,
                ``other`` or ``any``. Faults of tasks, hooks and links ignore it.
            times: How often; None: for ever.
            chance: How likely it strikes each time, from the simulator's own seeded random.
            endpoint: Only this endpoint, such as ``imagine`` or ``fetch``.
            options: Details that depend on the kind.

        Returns:
            The fault, with ``remaining``, ``hits`` and ``remove()``.

        Raises:
            ValueError: The kind or the place does not exist.
            TypeError: The kind has no such option.
        """
        return self._faults.add(
            kind, on=on, times=times, chance=chance, endpoint=endpoint, **options
        )

    def forget(self, task_id: str | None = None) -> None:
        """Lose one task, or all of them, as a server with its store in memory does.

        Raises:
            KeyError: There is no such task.
        """
        now = time.time()
        known = self._engine.tasks
        for task in [known[task_id]] if task_id else [*known.values()]:
            self._engine.forget(task, now)
        self._wind()

    def expire_links(self) -> None:
        """Make every image link handed out so far expire; a refetch gives a fresh one."""
        self._gallery.expire()

    # --- the clock ------------------------------------------------------------------------------

    def _next_due(self) -> float | None:
        self._engine.advance(time.time())
        return self._engine.next_due

    def _wind(self) -> None:
        """Set the one timer there is to the next thing that happens."""
        due = self._next_due()
        if due is None:
            self._calm.set()
        if due is None or self._runner is None:
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
        if task.notify_hook and self._runner is not None:
            payload = self._view.task(task)
            self._hooks.post(task.notify_hook, task.id, payload, last=task.terminal)

    # --- one request ----------------------------------------------------------------------------

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        route = route_of(request.method, request.path)
        body = _parsed(await request.read())
        record = Request(
            method=request.method,
            path=request.path,
            kind=route.kind,
            endpoint=route.endpoint,
            headers=request.headers,
            body=body,
            at=time.time(),
        )
        self.requests.append(record)
        fault = self._faults.take("http", on=route.kind, endpoint=route.endpoint)
        if fault is None:
            reply = await self._process(request, route, record)
            record.status = reply.status
            return answer(reply)

        async def process() -> Reply:
            return await self._process(request, route, record)

        response, record.status = await sabotage(fault, request, process)
        return response

    async def _process(self, request: web.BaseRequest, route: Route, record: Request) -> Reply:
        """Do what a request asks for."""
        if route.kind == "image":
            return await self._picture(request, route)
        self._engine.advance(record.at)
        try:
            return self._door.enter(request, route, record)
        except Refusal as refusal:
            return refusal.reply
        finally:
            self._wind()

    async def _picture(self, request: web.BaseRequest, route: Route) -> Reply:
        if self._faults.take("link", endpoint=None):
            return self._gallery.refuse(request.query_string)
        return await self._gallery.serve(route.task_id, request.query_string)


def _parsed(raw: bytes) -> Any:  # noqa: ANN401 - JSON holds anything
    try:
        return orjson.loads(raw) if raw else None
    except orjson.JSONDecodeError:
        return None


def _request(
    message: RawRequestMessage,
    payload: StreamReader,
    protocol: web.RequestHandler,
    writer: AbstractStreamWriter,
    task: asyncio.Task[None],
) -> web.BaseRequest:
    """A request that may be as large as a handful of pictures."""
    loop = asyncio.get_running_loop()
    return web.BaseRequest(
        message, payload, protocol, writer, task, loop, client_max_size=_BODY_LIMIT
    )

"""The simulated server: HTTP in front of a backend, with a record of every request."""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias, cast

import attrs
from aiohttp import web

from .backend import ServerBackend, SimulatorSettings
from .bounded_log import BoundedLog
from .dialect import Dialect
from .dialects import DIALECTS as SERVERS
from .fault_injection import inject_fault, send_response
from .faults import FAULT_KINDS, Fault, FaultScript
from .gateways import GATEWAYS, GatewayAccounts, GatewayBackend, GatewayContext, GatewayDialect
from .gateways.upstream import UpstreamClient
from .prompts import DEFAULT_BANNED_WORDS
from .request_bodies import read_body
from .responses import SimResponse
from .sim_task import RequestRecord, Submission
from .webhook_sender import WebhookDelivery

if TYPE_CHECKING:
    from aiohttp import StreamReader
    from aiohttp.abc import AbstractStreamWriter
    from aiohttp.http import RawRequestMessage

_BODY_LIMIT: Final = 64 * 2**20
_UPSTREAM_KEY: Final = "channel-key"
AnyDialect: TypeAlias = Dialect | GatewayDialect
DIALECTS: Final[Mapping[str, AnyDialect]] = {**SERVERS, **GATEWAYS}
"""Every dialect by name: the servers, and the gateways in front of them."""


class Simulator:
    """A Midjourney proxy on loopback: real life cycle, limits, buttons, modals and pictures.

    Use it as an async context manager, or call `start` and `stop`. After `stop` it can be started
    again with the same port and tasks.

    Args:
        dialect: The server of the family to simulate; a key of `DIALECTS`.
        time_scale: Real seconds per simulated second; 0 finishes every task at once.
        token: The token that clients must send; None: no token is required.
        host: The address to listen on.
        port: The port to listen on; 0 picks a free one.
        version: The model of prompts without one, such as ``7``, ``6.1`` or ``niji 6``.
        accounts: The number of Midjourney accounts.
        concurrency: The number of tasks that an account runs at once.
        queue_size: The number of further tasks that an account keeps waiting.
        remix: Whether its accounts have remix enabled, so that more buttons open a modal.
        banned_words: Words that are refused in prompts.
        link_lifetime: Real seconds for which an image link is valid; None: without limit.
        draw: Whether pictures are drawn; otherwise each is the same tiny PNG, without Pillow.
        picture_size: Longest side of a grid in pixels.
        list_endpoint: Whether ``/mj/task/list`` and its relatives exist.
        image_urls: Whether finished grids include the links of their four pictures.
        seed: Makes ids, durations and pictures repeatable.
        upstream: Base URL of the server behind a gateway; None: a `plus` simulator of its own,
            to which all of the above about Midjourney applies.
        upstream_token: The token that a gateway sends to its upstream.
        tokens: Further tokens that a gateway accepts; each has access to its own tasks only.
        spent_tokens: Tokens of a gateway without any quota left.
        token_modes: The speed and the image host that a ``path-gateway`` assigns to a token.
        quota: The number of submissions that a gateway's users can still pay for; None: any.
        hooks: The hosts that receive webhooks: ``loopback``, or ``any``.
        record_limit: The maximum number of requests, submissions and webhooks each in the record;
            None: no maximum.
        close_after: Requests after which a connection is closed, as Tomcat does after 100; None:
            never.
        close_idle: Real seconds after which an idle connection is closed.
        public_url: The start of the picture links of a gateway; an empty one makes them
            relative. None: the address it listens on.

    Raises:
        ValueError: The dialect does not exist, or does not support a token or an upstream; or an
            option is out of range.
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
        banned_words: Iterable[str] = DEFAULT_BANNED_WORDS,
        link_lifetime: float | None = None,
        draw: bool = True,
        picture_size: int = 512,
        list_endpoint: bool = True,
        image_urls: bool = False,
        seed: int = 0,
        upstream: str | None = None,
        upstream_token: str | None = None,
        tokens: Iterable[str] = (),
        spent_tokens: Iterable[str] = (),
        token_modes: Mapping[str, tuple[str | None, str | None]] | None = None,
        quota: int | None = None,
        public_url: str | None = None,
        hooks: str = "loopback",
        record_limit: int | None = 100_000,
        close_after: int | None = None,
        close_idle: float = 75.0,
    ) -> None:
        if dialect not in DIALECTS:
            raise ValueError(f"unknown dialect {dialect!r}; available are {', '.join(DIALECTS)}")
        if hooks not in {"loopback", "any"}:
            raise ValueError(f"hooks must be 'loopback' or 'any', not {hooks!r}")
        for name, limit in (("record_limit", record_limit), ("close_after", close_after)):
            if limit is not None and limit < 1:
                raise ValueError(f"{name} must be at least 1 or None, not {limit!r}")
        self.dialect: AnyDialect = DIALECTS[dialect]
        """The behaviour of the simulated server."""
        self.token = token
        """The token that clients must send; None: none."""
        self.time_scale = time_scale
        """Real seconds per simulated second."""
        self.submissions: BoundedLog[Submission] = BoundedLog("submissions", record_limit)
        """Every accepted, and therefore paid, submission; the last `record_limit` of them."""
        self.requests: BoundedLog[RequestRecord] = BoundedLog("requests", record_limit)
        """Every HTTP request in order; the last `record_limit` of them."""
        self.upstream: Simulator | None = None
        """The simulator that a gateway has started for itself, if any."""
        self._close_after, self._close_idle = close_after, close_idle
        self._request_count: weakref.WeakKeyDictionary[object, int] = weakref.WeakKeyDictionary()
        self._host, self._port = host, port
        self.fault_script: FaultScript = FaultScript(seed)
        self._active_requests: set[asyncio.Task[Any]] = set()
        self._runner: web.ServerRunner | None = None
        settings = SimulatorSettings(
            time_scale=time_scale,
            version=version,
            accounts=accounts,
            concurrency=concurrency,
            queue_size=queue_size,
            remix=remix,
            banned_words=tuple(banned_words),
            link_lifetime=link_lifetime,
            draw=draw,
            picture_size=picture_size,
            list_endpoint=list_endpoint,
            image_urls=image_urls,
            seed=seed,
            hooks=hooks,
            record_limit=record_limit,
        )
        gateway_accounts = GatewayAccounts(
            token=token,
            tokens=tuple(tokens),
            spent_tokens=tuple(spent_tokens),
            token_modes=dict(token_modes or {}),
            quota=quota,
            public_url=public_url,
        )
        self._backend: ServerBackend | GatewayBackend
        if isinstance(self.dialect, Dialect):
            has_upstream = upstream is not None or upstream_token is not None
            if has_upstream or gateway_accounts.has_gateway_options:
                raise ValueError(f"{dialect} is not a gateway: upstream, tokens and quota need one")
            self._backend = self._make_backend(self.dialect, settings)
        else:
            self._backend = self._make_gateway(
                self.dialect,
                settings,
                gateway_accounts,
                upstream=upstream,
                upstream_token=upstream_token,
            )

    def _make_backend(self, dialect: Dialect, settings: SimulatorSettings) -> ServerBackend:
        backend = ServerBackend(
            dialect,
            settings,
            token=self.token,
            faults=self.fault_script,
            submissions=self.submissions,
        )
        self._engine, self._image_store = backend.engine, backend.images
        return backend

    def _make_gateway(
        self,
        dialect: GatewayDialect,
        settings: SimulatorSettings,
        gateway_accounts: GatewayAccounts,
        *,
        upstream: str | None,
        upstream_token: str | None,
    ) -> GatewayBackend:
        if upstream is None:
            options = attrs.asdict(attrs.evolve(settings, list_endpoint=True), recurse=False)
            upstream_token = upstream_token or _UPSTREAM_KEY
            self.upstream = Simulator("plus", token=upstream_token, host=self._host, **options)
            self._engine = self.upstream._engine  # noqa: SLF001 - one of our own
            self._image_store = self.upstream._image_store  # noqa: SLF001 - one of our own
        context = GatewayContext(
            settings=settings,
            accounts=gateway_accounts,
            upstream=UpstreamClient(url=upstream, token=upstream_token, embedded=self.upstream),
            submissions=self.submissions,
            faults=self.fault_script,
        )
        return GatewayBackend(dialect, context)

    async def start(self) -> None:
        """Start to listen; do nothing if it is listening already."""
        if self._runner is not None:
            return
        server = web.Server(
            self._handle,
            request_factory=_make_request,
            access_log=None,
            keepalive_timeout=self._close_idle,
        )
        runner = web.ServerRunner(server, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, self._host, self._port).start()
        self._runner, self._port = runner, runner.addresses[0][1]
        await self._backend.open(self.url)

    async def stop(self) -> None:
        """Stop listening; tasks continue, and are available after another start."""
        runner, self._runner = self._runner, None
        await self._backend.close()
        if runner is not None:
            await runner.cleanup()
        if self._active_requests:  # aiohttp cancels slow responses without waiting for them
            for asyncio_task in self._active_requests:
                asyncio_task.cancel()
            await asyncio.wait(self._active_requests)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.stop()

    @property
    def url(self) -> str:
        """The base URL, without a trailing slash."""
        if not self._port:
            raise RuntimeError("the simulator has no address yet: use `async with` or call start()")
        return f"http://{self._host}:{self._port}"

    @property
    def tasks(self) -> Mapping[str, Any]:
        """Every task by id, as of now; a gateway has the last state that it fetched."""
        return self._backend.tasks

    @property
    def in_flight(self) -> int:
        """The number of accepted, unfinished tasks; an unanswered modal is not accepted."""
        return self._backend.in_flight

    @property
    def max_in_flight(self) -> int:
        """The largest number of tasks that were in flight at once."""
        return self._backend.max_in_flight

    @property
    def hooks(self) -> list[WebhookDelivery]:
        """Every webhook that was sent, in order; those of a gateway are sent by its upstream."""
        return self._backend.hooks

    async def wait_idle(self) -> None:
        """Wait until no task will change by itself and every webhook is sent.

        Tasks that wait for a modal, or that a fault has stalled, are not waited for, unless they
        belong to an upstream that a gateway has not started itself.
        """
        await self._backend.wait_idle()

    async def refresh(self) -> None:
        """Make a gateway fetch its upstream's tasks now, as it does every 15 s by itself."""
        await self._backend.refresh()

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
        """Script a fault.

        Args:
            kind: The kind of fault; a key of `mjasync.simulator.faults.FAULT_KINDS`.
            on: The requests that an HTTP fault affects: ``submit``, ``fetch``, ``list``,
                ``image``, ``other`` or ``any``. Faults of tasks, hooks and links ignore it.
            times: The number of occurrences; None: no limit.
            chance: The probability of each occurrence, from the simulator's own seeded generator.
            endpoint: The only endpoint affected, such as ``imagine`` or ``fetch``; None: all.
            options: Details that depend on the kind.

        Returns:
            The fault, with ``remaining``, ``hits`` and ``remove()``.

        Raises:
            ValueError: The kind or `on` does not exist, or the fault affects tasks, hooks or
                links and these belong to the upstream of a gateway.
            TypeError: The kind does not have one of the options.
        """
        level = FAULT_KINDS[kind].level if kind in FAULT_KINDS else "http"
        if level == "gateway" and isinstance(self.dialect, Dialect):
            raise ValueError(f"{self.dialect.name} is not a gateway: it has no fault {kind!r}")
        is_request_fault = level in {"http", "gateway"}
        faults = self.fault_script if is_request_fault else self._backend.faults
        return faults.add(kind, on=on, times=times, chance=chance, endpoint=endpoint, **options)

    def forget(self, task_id: str | None = None) -> None:
        """Lose tasks, as a server with a store in memory does when it restarts.

        Args:
            task_id: The task to lose; None: all of them.

        Raises:
            KeyError: The task does not exist.
        """
        self._backend.forget(task_id)

    def expire_links(self) -> None:
        """Make every image link created so far expire; fetching a task returns a new one."""
        self._backend.expire_links()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        asyncio_task = cast("asyncio.Task[Any]", asyncio.current_task())
        self._active_requests.add(asyncio_task)
        asyncio_task.add_done_callback(self._active_requests.discard)
        response = await self._answer(request)
        if self._close_after is not None and (connection := request.transport) is not None:
            request_count = self._request_count.get(connection, 0) + 1
            self._request_count[connection] = request_count
            if request_count >= self._close_after:
                response.force_close()
        return response

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        route = self._backend.route(request.method, request.path)
        content_type = request.headers.get("Content-Type", "")
        first_value_only = isinstance(self.dialect, Dialect) and self.dialect.uses_jackson
        body = read_body(await request.read(), content_type, first_value_only=first_value_only)
        record = RequestRecord(
            method=request.method,
            path=request.path,
            kind=route.kind,
            endpoint=route.endpoint,
            headers=request.headers,
            body=body,
            at=time.time(),
        )
        self.requests.append(record)
        fault = self.fault_script.next_fault("http", on=route.kind, endpoint=route.endpoint)
        if fault is None:
            response = await self._backend.answer(request, route, record)
            record.status = None if response.closes_connection else response.status
            if response.closes_connection and request.transport is not None:
                request.transport.close()
            return send_response(response)

        async def handle() -> SimResponse:
            return await self._backend.answer(request, route, record)

        faulty_response, record.status = await inject_fault(fault, request, handle)
        return faulty_response


def _make_request(
    message: RawRequestMessage,
    payload: StreamReader,
    protocol: web.RequestHandler,
    writer: AbstractStreamWriter,
    task: asyncio.Task[None],
) -> web.BaseRequest:
    """Create a request whose body may be as large as several images."""
    loop = asyncio.get_running_loop()
    return web.BaseRequest(
        message, payload, protocol, writer, task, loop, client_max_size=_BODY_LIMIT
    )

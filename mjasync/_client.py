"""The client: its settings, its lifecycle, reads, and waiting for many Tasks."""

from __future__ import annotations

import asyncio
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    Coroutine,
    Iterable,
    Mapping,
)
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Self

import aiohttp
import attrs
from yarl import URL

from ._client_reads import ClientReads
from ._client_settings import (
    ClientConfig,
    SecretString,
    check_limit,
    check_parts,
    read_base_url,
    read_choice,
    read_token,
)
from ._clock import Clock
from ._context import ClientContext
from ._gather import TaskGroupIterator, flatten
from ._http.links import ImageLinks
from ._http.network import NetworkSettings, check_headers, parse_proxy
from ._http.retry import Retries
from ._limits import Limits
from ._models import Auth, ImageHost, Speed, SpeedVia
from ._polling.schedule import PollSchedule, Schedule
from ._protocol import decoding
from ._protocol.urls import ServerUrl
from ._submission_tasks import SubmissionTask
from ._task import Task
from ._validation import check_seconds
from .errors import ConfigurationError, MJError

if TYPE_CHECKING:
    from ._probe.report import Probe


class Client(ClientReads):
    """An async client for one Midjourney-Proxy server.

    Use it as `async with Client(base_url, token) as mj:`, or call `await mj.close()` at the end.
    Creating a client needs no running event loop and sends nothing.
    """

    def __init__(
        self,
        base_url: str | None = None,
        token: str | SecretString | None = None,
        *,
        speed: Speed | None = None,
        image_host: ImageHost | None = None,
        speed_via: SpeedVia = "path",
        auth: Auth | None = None,
        session: aiohttp.ClientSession | None = None,
        timeout: float | None = 3600.0,
        stall_timeout: float | None = 900.0,
        schedule: PollSchedule | None = None,
        retries: Retries | None = None,
        reconcile: bool | None = None,
        limit: int | None = None,
        not_found_grace: float = 30.0,
        connect_timeout: float | None = 15.0,
        read_timeout: float | None = 30.0,
        submit_timeout: float | None = 120.0,
        headers: Mapping[str, str] | None = None,
        proxy: str | None = None,
        trust_env: bool = False,
        image_links: ImageLinks = "any",
        limits: Limits | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Set up a client.

        Args:
            base_url: The address of the server, with or without `/mj`. Defaults to the environment
                variable `MJASYNC_BASE_URL`.
            token: The API token; "" for an open server. Accepts pydantic's `SecretStr`. Defaults to
                `MJASYNC_TOKEN`.
            speed: "relax", "fast" or "turbo". Defaults to `MJASYNC_SPEED`, then to the server's.
            image_host: "relay", "origin" or "proxy". Defaults to `MJASYNC_IMAGE_HOST`, then to the
                server's own.
            speed_via: How to request the speed: by "path", by "prompt" flag, or "both".
            auth: The header for the token: "secret" (`mj-api-secret`) or "bearer". Defaults to
                `MJASYNC_AUTH`, then to "secret".
            session: An aiohttp session to use. The client never closes it.
            timeout: Default limit in seconds for a whole wait; None for no limit.
            stall_timeout: Default limit in seconds without any change; None for no limit.
            schedule: When to poll waiting tasks.
            retries: Which errors are retried, and how often.
            reconcile: Whether to search the server's task list for a submission whose response was
                lost. By default, the client does so if the server has such a list.
            limit: Maximum number of unfinished tasks; None for no limit. Further submissions wait
                in the client, first in, first out.
            not_found_grace: Seconds during which the server may not know a new task yet.
            connect_timeout: Seconds to connect to the server.
            read_timeout: Seconds without a byte of the response to a read. A poll must be complete
                within this time, unless you pass a session.
            submit_timeout: The same for a submission, during which servers upload images. It also
                limits the seconds until the server accepts the next part of the request.
            headers: Extra headers, for example for a proxy in front of the server. They are sent to
                the server only, never to the hosts of images, and never logged.
            proxy: The URL of an HTTP proxy for all requests, downloads included.
            trust_env: Whether to use the proxies of the environment (`HTTPS_PROXY`, `NO_PROXY`).
            image_links: Which image links may be followed: "any"; "public", which excludes private
                addresses other than the server's; or a function from a link to a boolean.
            limits: Maximum sizes of responses, images and videos.
            clock: The source of time, for tests.

        Raises:
            ConfigurationError: A setting is missing or invalid.
        """
        check_parts(schedule, retries, clock)
        check_limit(limit)
        if reconcile is not None and not isinstance(reconcile, bool):
            raise ConfigurationError(f"reconcile must be True, False or None, not {reconcile!r}.")
        if not isinstance(trust_env, bool):
            raise ConfigurationError(f"trust_env must be True or False, not {trust_env!r}.")
        speed_via = read_choice("speed_via", speed_via, "") or "path"
        url = ServerUrl.parse(
            read_base_url(base_url),
            read_choice("speed", speed, "MJASYNC_SPEED"),
            read_choice("image_host", image_host, "MJASYNC_IMAGE_HOST"),
        )
        config = ClientConfig(
            url=attrs.evolve(url, speed=None) if speed_via == "prompt" else url,
            token=read_token(token),
            auth=read_choice("auth", auth, "MJASYNC_AUTH") or "secret",
            speed=url.speed,
            speed_via=speed_via,
            network=NetworkSettings(
                origin=URL(url.base, encoded=True).origin(),
                session=session,
                connect_timeout=check_seconds("connect_timeout", connect_timeout, zero=False),
                headers=check_headers({} if headers is None else headers),
                proxy=None if proxy is None else parse_proxy(proxy),
                trust_env=trust_env,
                image_links=image_links,
                limits=Limits() if limits is None else limits,
            ),
            retries=retries or Retries(),
            schedule=schedule or Schedule(),
            reconcile=reconcile,
            limit=limit,
            timeout=check_seconds("timeout", timeout, zero=False),
            stall_timeout=check_seconds("stall_timeout", stall_timeout, zero=False),
            not_found_grace=check_seconds("not_found_grace", not_found_grace),
            read_timeout=check_seconds("read_timeout", read_timeout, zero=False),
            submit_timeout=check_seconds("submit_timeout", submit_timeout, zero=False),
            clock=clock or Clock(),
        )
        self._context = ClientContext.from_config(config)
        self._close_task: SubmissionTask | None = None

    @property
    def blocked_by(self) -> tuple[MJError, float] | None:
        """The error that keeps awaited tasks from being polled now; None while polls work.

        The number is the seconds for which the polls are still retried.
        """
        if self._context.poller.last_error is None:
            return None
        error, until = self._context.poller.last_error
        return error, max(0.0, until - self._context.clock.now())

    def proxy_url(self) -> str | None:
        """Return the proxy of requests to the server, without its password.

        Returns:
            The proxy of the client or of the environment; None if requests go directly.

        Raises:
            ConfigurationError: The proxy of the environment is not a usable URL.
        """
        network = self._context.config.network
        proxy = network.proxy_for(network.origin)
        return None if proxy is None else str(proxy.with_user(None))

    def handle_webhook(self, payload: bytes | str | Mapping[str, Any]) -> bool:
        """Poll the task of a webhook soon, if it is awaited.

        Only the id in the payload is used. A forged, repeated or late webhook therefore does no
        harm: it costs one poll at most, and polls of one task are half a second apart. While
        webhooks arrive for a task, it is polled less often (`Schedule.idle_factor`).

        Call this method on the event loop of the client. From another thread, use
        `loop.call_soon_threadsafe(mj.handle_webhook, payload)`. A webhook for a task that was
        submitted by this client but is not awaited yet counts for its first wait.

        Args:
            payload: The body of the webhook, raw or decoded.

        Returns:
            Whether the client knows the task. A payload without a known id is not an error.

        Raises:
            ConfigurationError: The call is on another event loop or in another thread.
        """
        if self._context.loop.is_bound:
            self._context.loop.check()
        return self._context.poller.mark_changed(decoding.task_id_in(payload))

    async def probe(self, *, spend: Task | None = None) -> Probe:
        """Find out which kind of server this is and which features will not work.

        Without `spend`, the probe only reads.

        Args:
            spend: A Task that was not submitted yet. It is submitted and paid, and its image link
                is tested: `await mj.probe(spend=mj.imagine("a lighthouse"))`.

        Raises:
            ConnectionFailed: No server responds.
            AuthenticationError: The server refuses the token in either header.
        """
        self._context.loop.check()
        from ._probe.run import run_probe

        return await run_probe(self._context, spend)

    def gather(
        self,
        *tasks: Task | Iterable[Task],
        limit: int | None = None,
        return_exceptions: bool = False,
    ) -> Coroutine[Any, Any, list[Task]]:
        """Run many Tasks concurrently and return them.

        A failed Task does not stop the others. If the call is cancelled, accepted tasks continue
        on the server, and Tasks that were not submitted are closed. With a limit, Tasks start one
        at a time while submissions end without a definite response.

        Args:
            tasks: The Tasks, as arguments or in iterables.
            limit: Maximum number of unfinished Tasks; None for no limit.
            return_exceptions: Return all Tasks instead of raising; see `task.error`.

        Returns:
            The Tasks, in the order of the arguments.

        Raises:
            MJError: The first failure, after all Tasks have ended. `error.gathered` has the Tasks.
            TypeError: An argument is not a Task.
        """
        flat = tuple(flatten(tasks))
        completed = self.as_completed(flat, limit=limit)  # at once: they are waited for from here
        return self._gather(flat, completed, return_exceptions=return_exceptions)

    async def _gather(
        self,
        tasks: tuple[Task, ...],
        completed: AsyncGenerator[Task, None],
        *,
        return_exceptions: bool,
    ) -> list[Task]:
        first: BaseException | None = None
        async for task in completed:
            first = first or task.error
        if first is not None and not return_exceptions:
            if isinstance(first, MJError):
                first.gathered = tasks
            failed = sum(task.error is not None for task in tasks)
            first.add_note(f"{failed} of {len(tasks)} tasks failed; all are on error.gathered.")
            raise first
        return list(tasks)

    def as_completed(
        self, tasks: Task | Iterable[Task] | AsyncIterable[Task], *, limit: int | None = None
    ) -> AsyncGenerator[Task, None]:
        """Yield each Task when it has ended; for failed ones, see `task.error`.

        The iterable is consumed only when a Task may start, so it may be infinite. Leaving the
        loop early stops waiting; accepted tasks continue on the server. If the iteration is
        cancelled, Tasks that were not submitted are closed. `limit` works as in `gather`.

        Args:
            tasks: Tasks, or an iterable or async iterable of Tasks.
            limit: Maximum number of unfinished Tasks; None for no limit.

        Raises:
            ConfigurationError: The limit is less than 1.
            TypeError: An item is not a Task.
        """
        iterator = TaskGroupIterator(tasks, limit, self._context.clock)
        check_limit(limit)
        return self._as_completed(iterator)

    async def _as_completed(self, iterator: TaskGroupIterator) -> AsyncGenerator[Task, None]:
        self._context.loop.check()
        cancelled = False
        try:
            while (task := await iterator.next_completed()) is not None:
                yield task
        except asyncio.CancelledError:
            cancelled = True
            raise
        finally:
            await iterator.cancel_all(cancelled=cancelled)

    async def close(self) -> None:
        """Finish requests in flight, release all waiters, and close the client's own session.

        Cancelling this call does not interrupt a submission in flight: closing continues in the
        background.
        """
        loop = self._context.loop.check()
        if self._close_task is None:
            self._close_task = SubmissionTask(self._context.close(), loop=loop)
            self._close_task.is_in_flight = True  # for the end of the loop, too
        await asyncio.shield(self._close_task)

    async def __aenter__(self) -> Self:
        self._context.loop.check()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def __enter__(self) -> NoReturn:
        message = "Client is asynchronous: did you mean `async with`?"
        raise TypeError(message)

    def __exit__(self, *_: object) -> None:
        """Never reached; there so that `with` calls `__enter__`."""

    def __repr__(self) -> str:
        context = getattr(self, "_context", None)
        return f"<Client {context.config.url.root if context else 'not set up'}>"


def context_of(client: Client) -> ClientContext:
    """Return the context of a client, for the other parts of the package."""
    return client._context  # noqa: SLF001 - the accessor

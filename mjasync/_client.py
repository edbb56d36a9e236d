"""The client: opens, submits, attaches, gathers."""

from __future__ import annotations

import asyncio
import os
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    Coroutine,
    Iterable,
    Mapping,
)
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, NoReturn, Protocol, Self, get_args

import aiohttp
import attrs
from yarl import URL

from ._clock import Clock
from ._concurrency import gather_or_cancel
from ._event_loop import EventLoopBinding
from ._gather import TaskGroupIterator, flatten
from ._http.api import ServerApi
from ._http.links import ImageLinks
from ._http.network import NetworkSettings, SecretHeader, check_headers, parse_proxy
from ._http.reads import MAX_LIST_SIZE
from ._http.retry import Retries
from ._http.transport import Transport, auth_headers
from ._limits import Limits
from ._media.files import read_all
from ._models import Account, Auth, ImageHost, Speed, SpeedVia, TaskInfo
from ._pending_submission import ClientContext, SubmissionTask
from ._polling.poller import Poller
from ._polling.schedule import PollSchedule, Schedule
from ._protocol import decoding
from ._protocol.urls import ServerUrl
from ._submission_queue import SubmissionQueue
from ._submissions import SubmissionMethods
from ._task import Task
from ._validation import check_seconds, check_task_id
from .errors import (
    ConfigurationError,
    MJError,
    TaskNotFound,
    UnsupportedEndpoint,
)

if TYPE_CHECKING:
    from ._probe.report import Probe

__all__ = ["Client"]

_LITERAL_CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "speed": get_args(Speed),
    "image_host": get_args(ImageHost),
    "auth": get_args(Auth),
    "speed_via": get_args(SpeedVia),
}


class SecretString(Protocol):
    """A token that shows itself to nobody but who asks, such as pydantic's `SecretStr`."""

    def get_secret_value(self) -> str: ...


class Client(SubmissionMethods):
    """A Midjourney-Proxy server, ready to be asked.

    `async with Client(base_url, token) as mj:` closes it at the end; without `async with`, call
    `await mj.close()`. Making one needs no running loop and sends nothing.
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
            base_url: In any form people paste it; default `MJASYNC_BASE_URL`.
            token: Default `MJASYNC_TOKEN`; "" for an open server. A `SecretStr` of pydantic is
                taken as well.
            speed: relax, fast or turbo; default `MJASYNC_SPEED`, else the server's.
            image_host: relay, origin or proxy; default `MJASYNC_IMAGE_HOST`, else the server's.
            speed_via: Ask for the speed by path, by prompt flag, or both.
            auth: "secret" (`mj-api-secret`) or "bearer"; default `MJASYNC_AUTH`, else "secret".
            session: Your own session, never closed here.
            timeout: Seconds a wait may take in all, by default; None for no limit.
            stall_timeout: Seconds a wait may see no change, by default; None for no limit.
            schedule: When to look at waiting tasks.
            retries: What is tried again, and how often.
            reconcile: Whether to look in the server's task list for a submission whose answer was
                lost; by default wherever the server has such a list.
            limit: How many jobs of this client may be unfinished at once; None for all. Further
                ones wait here, first come, first served.
            not_found_grace: Seconds a task may be unknown to the server before that is believed.
            connect_timeout: Seconds to reach the server.
            read_timeout: Seconds without a byte of an answer to a read; a look at a waiting task
                has so many for its whole answer, unless the session is yours.
            submit_timeout: The same for a submission: servers upload pictures meanwhile; and
                seconds until the server takes the next piece of it.
            headers: For whatever stands before the server (basic auth, an access token): sent to
                the server alone, never to another host that pictures are on, and shown nowhere.
            proxy: The address of an HTTP proxy for all requests, those for pictures too.
            trust_env: Take the proxies of the environment (HTTPS_PROXY, NO_PROXY…).
            image_links: Which links of pictures are followed: "any"; "public", none to private
                addresses but the server's own; or a function that is given a link and says whether.
            limits: The most bytes of an answer, a picture, a video.
            clock: The seam for time, for tests.

        Raises:
            ConfigurationError: Something is missing or makes no sense.
        """
        timeout = check_seconds("timeout", timeout, zero=False)
        stall_timeout = check_seconds("stall_timeout", stall_timeout, zero=False)
        not_found_grace = check_seconds("not_found_grace", not_found_grace)
        connect_timeout = check_seconds("connect_timeout", connect_timeout, zero=False)
        read_timeout = check_seconds("read_timeout", read_timeout, zero=False)
        submit_timeout = check_seconds("submit_timeout", submit_timeout, zero=False)
        _check_parts(schedule, retries, clock)
        token = _read_token(token)
        speed = _choice("speed", speed, "MJASYNC_SPEED")
        image_host = _choice("image_host", image_host, "MJASYNC_IMAGE_HOST")
        header: Auth = _choice("auth", auth, "MJASYNC_AUTH") or "secret"
        self._speed_via: SpeedVia = _choice("speed_via", speed_via, "") or "path"
        route = ServerUrl.parse(_base_url(base_url), speed, image_host)
        self._speed: Speed | None = route.speed
        if self._speed_via == "prompt":
            route = attrs.evolve(route, speed=None)
        clock = clock or Clock()
        _check_limit(limit)
        if reconcile is not None and not isinstance(reconcile, bool):
            raise ConfigurationError(f"reconcile must be True, False or None, not {reconcile!r}.")
        if not isinstance(trust_env, bool):
            raise ConfigurationError(f"trust_env must be True or False, not {trust_env!r}.")
        self._network = NetworkSettings(
            origin=URL(route.base, encoded=True).origin(),
            session=session,
            connect_timeout=connect_timeout,
            headers=check_headers({} if headers is None else headers),
            proxy=None if proxy is None else parse_proxy(proxy),
            trust_env=trust_env,
            image_links=image_links,
            limits=Limits() if limits is None else limits,
        )
        self._transport = Transport(auth_headers(token, header), self._network)
        self._api = ServerApi(
            url=route,
            transport=self._transport,
            retries=retries or Retries(),
            clock=clock,
            read_timeout=read_timeout,
            submit_timeout=submit_timeout,
            reconcile=reconcile,
            submit_limit=asyncio.Semaphore(max(1, self._transport.connection_limit // 2)),
        )
        self._poller = Poller(
            self._api,
            schedule=schedule or Schedule(),
            clock=clock,
            grace=not_found_grace,
            speed=self._speed,
        )
        self._context = ClientContext(
            api=self._api,
            poller=self._poller,
            clock=clock,
            timeout=timeout,
            stall_timeout=stall_timeout,
            submissions=SubmissionQueue(limit, clock),
            loop=EventLoopBinding(getattr(session, "_loop", None)),
            speed=self._speed,
            speed_by_path=self._speed_via != "prompt",
            speed_by_prompt=self._speed_via != "path",
        )
        self._token = token
        self._auth: Auth = header
        self._uploaded_links: dict[str, tuple[str, float]] = {}
        self._close_task: SubmissionTask | None = None
        self._upload_lock = asyncio.Lock()

    # --- known tasks ---

    def task(self, task_id: str, *, answered: bool = False) -> Task:
        """Attach to a task the server knows: awaiting it waits, and sends nothing.

        Args:
            task_id: Its id.
            answered: Its modal has been answered already, so MODAL means pending.

        Raises:
            InvalidRequest: The id is empty, or no text.
        """
        info = TaskInfo(id=check_task_id(task_id))
        return Task(self._context, "attached", info=info, modal_answered=answered)

    async def fetch(self, task_ids: Iterable[str]) -> dict[str, TaskInfo]:
        """Snapshots of many tasks now, by id, in the order asked; unknown ones are missing.

        Raises:
            MJError: The read failed.
        """
        self._context.loop.check()
        is_one = isinstance(task_ids, str | bytes) or not isinstance(task_ids, Iterable)
        ids = [task_ids] if is_one else task_ids
        wanted = list(dict.fromkeys(map(check_task_id, ids)))
        chunks = [wanted[at : at + MAX_LIST_SIZE] for at in range(0, len(wanted), MAX_LIST_SIZE)]
        found: dict[str, TaskInfo] = {}
        for chunk in chunks:
            found.update(await self._fetch_chunk(chunk))
        return {task_id: found[task_id] for task_id in wanted if task_id in found}

    async def _fetch_chunk(self, task_ids: list[str]) -> dict[str, TaskInfo]:
        if self._api.can_list():
            try:
                tasks = await self._api.fetch_many(task_ids, self._api.retries.read)
            except MJError as error:
                if self._api.can_list() or error.retryable:
                    raise
            else:
                return {info.id: info for info in _decode_tasks(tasks)}
        infos = await gather_or_cancel(map(self._fetch_or_none, task_ids))
        return {info.id: info for info in infos if info is not None}

    async def _fetch_or_none(self, task_id: str) -> TaskInfo | None:
        try:
            return await self._api.fetch(task_id)
        except TaskNotFound:
            return None

    def handle_webhook(self, payload: bytes | str | Mapping[str, Any]) -> bool:
        """Take a webhook as a hint: the task it names is looked at soon, if anybody waits for it.

        Nothing else in it is believed, so one that is forged, repeated or late does no harm: at
        worst it costs a look, and those at one task are half a second apart. While hooks bring
        news of a task it is polled more rarely (`Schedule.net`); when they stop, as usual again.

        Call it on the event loop that the client runs on; from another thread, by
        `loop.call_soon_threadsafe(mj.observe, payload)`. A hook about a task that was submitted
        here and is not awaited yet is kept for its first wait.

        Args:
            payload: The body of the webhook as it came, or read already.

        Returns:
            Whether the task is known here. No payload is an error: what is not JSON, has no id or
            an unknown one is False.

        Raises:
            ConfigurationError: It is called on another event loop, or in another thread.
        """
        if self._context.loop.is_bound:
            self._context.loop.check()
        return self._poller.mark_changed(decoding.task_id_in(payload))

    # --- many at once ---

    async def tasks(self) -> list[TaskInfo]:
        """The tasks the server lists: all of them, or its newest hundred (PROTOCOL §1.15).

        Raises:
            UnsupportedEndpoint: It keeps no list.
            MJError: The read failed.
        """
        self._context.loop.check()
        return _decode_tasks(await self._api.get_list("task/list"))

    async def queue(self) -> list[TaskInfo]:
        """The tasks that wait or run on the server.

        Raises:
            UnsupportedEndpoint: It does not tell.
            MJError: The read failed.
        """
        self._context.loop.check()
        listed = _decode_tasks(await self._api.get_list("task/queue"))
        return [info for info in listed if not info.status.is_final]  # some keep failed ones there

    async def accounts(self) -> list[Account]:
        """The Midjourney accounts behind the server, without their tokens (PROTOCOL §1.16).

        Raises:
            UnsupportedEndpoint: It does not tell.
            MJError: The read failed.
        """
        self._context.loop.check()
        try:
            found = await self._api.get_list("account/list")
        except UnsupportedEndpoint:
            found = await self._api.get_list("account/query", "POST")
        return [decoding.decode_account(raw) for raw in found]

    async def account(self, account_id: str) -> Account | None:
        """One of those accounts; None when the server does not know it.

        Raises:
            UnsupportedEndpoint: The server does not tell.
            MJError: The read failed.
        """
        self._context.loop.check()
        raw = await self._api.account(check_task_id(account_id, "account id"))
        return None if raw is None else decoding.decode_account(raw)

    async def image(self, task_id: str) -> bytes:
        """The picture of a task by its id, where a gateway serves it so (PROTOCOL §1.18).

        Raises:
            UnsupportedEndpoint: The server does not.
            MJError: It does not know the task, or the read failed.
        """
        self._context.loop.check()
        return await self._api.download_by_id(check_task_id(task_id), read_all)

    async def probe(self, *, spend: Task | None = None) -> Probe:
        """Find out which server this is, and what will not work there. Reads only.

        Args:
            spend: A task not submitted yet, to have one picture drawn (and paid) and its link
                tried: `await mj.probe(spend=mj.imagine("a lighthouse"))`.

        Raises:
            ConnectionFailed: Nothing answers.
            AuthenticationError: It refuses the token, however it is sent.
        """
        self._context.loop.check()
        from ._probe.report import ClientSettings
        from ._probe.run import run_probe

        wishes = ClientSettings(
            auth=self._auth,
            has_token=bool(self._token.strip()),
            speed=self._speed,
            speed_via=self._speed_via,
            image_host=self._api.url.image_host,
        )
        return await run_probe(self._api, wishes, self._api_with_auth, spend)

    def _api_with_auth(self, auth: Auth | None) -> ServerApi:
        """Calls with a session of their own that show the token otherwise; None: not at all."""
        network = attrs.evolve(self._network, session=None)
        transport = Transport(auth_headers(self._token, auth) if auth else {}, network)
        return attrs.evolve(self._api, transport=transport)

    def gather(
        self,
        *tasks: Task | Iterable[Task],
        limit: int | None = None,
        return_exceptions: bool = False,
    ) -> Coroutine[Any, Any, list[Task]]:
        """Wait for many; `limit` is how many may be unfinished at once.

        Every Task is carried to its end, whatever becomes of the others. If this is cancelled, what
        was accepted goes on, and Tasks not begun are closed. With a limit, no more than single
        Tasks are begun while submissions get no answer that tells whether they were taken.

        Args:
            tasks: What to wait for, one by one or in a list.
            limit: The most at once; None for all.
            return_exceptions: Return every Task (look at `task.error`) instead of raising.

        Returns:
            The Tasks, in the order given.

        Raises:
            MJError: The first failure, once all have ended; the Tasks are on `error.gathered`.
            TypeError: Something else than Tasks is given.
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
        """Yield each Task as it ends, failed ones too (look at `task.error`).

        The iterable is drawn on only as places become free, so it may be endless. Leaving the
        loop early stops waiting; jobs the server accepted go on. If this is cancelled, Tasks not
        begun are closed. A limit is kept as `gather` keeps it.

        Args:
            tasks: Tasks, or an (async) iterable that makes them.
            limit: How many may be unfinished at once; None for all.

        Raises:
            ConfigurationError: The limit is less than 1.
            TypeError: Something else than Tasks is given.
        """
        crowd = TaskGroupIterator(tasks, limit, self._context.clock)
        _check_limit(limit)
        return self._as_completed(crowd)

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

    # --- manners ---

    async def close(self) -> None:
        """Finish what is on the wire, let every waiter go, and close the session if it is ours.

        Cancelling this does not tear a paid job off the wire: the closing goes on by itself.
        """
        loop = self._context.loop.check()
        if self._close_task is None:
            self._close_task = SubmissionTask(self._close(), loop=loop)
            self._close_task.is_in_flight = True  # for the end of the loop, too
        await asyncio.shield(self._close_task)

    async def _close(self) -> None:
        try:
            await self._context.close()
            await self._poller.close()
        finally:
            await self._transport.close()

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
        calls = getattr(self, "_api", None)
        return f"<Client {calls.url.root if calls else 'not set up'}>"


def _decode_tasks(tasks: Iterable[Mapping[str, Any]]) -> list[TaskInfo]:
    return [decoding.decode_task(task) for task in tasks if decoding.parse_text(task.get("id"))]


def _check_limit(limit: object) -> None:
    if limit is None:
        return
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
        message = f"limit must be a whole number, at least 1, or None for no limit, not {limit!r}."
        raise ConfigurationError(message)


def _read_token(token: object) -> SecretHeader:
    """Return the token, out of a `SecretStr` as well.

    Raises:
        ConfigurationError: It is no text.
    """
    unwrap = getattr(token, "get_secret_value", None)
    token = unwrap() if callable(unwrap) else token
    if token is None:
        token = os.environ.get("MJASYNC_TOKEN", "")
    if not isinstance(token, str):
        advice = ": decode it first" if isinstance(token, bytes | bytearray) else ""
        message = f"The token must be text, not {type(token).__name__}{advice}."
        raise ConfigurationError(message)
    return SecretHeader(token)


def _check_parts(schedule: object, retries: object, clock: object) -> None:
    """Check the objects that a client is set up with.

    Raises:
        ConfigurationError: One is a class or a number, say, where an object is wanted.
    """
    if retries is not None and not isinstance(retries, Retries):
        message = (
            f"retries must be a Retries(…), as in Retries(read=RetryPolicy(tries=3)), not "
            f"{retries!r}; Retries.none() tries nothing again."
        )
        raise ConfigurationError(message)
    if schedule is not None:
        is_schedule = callable(getattr(schedule, "next_delay", None)) and hasattr(
            schedule, "coalesce"
        )
        if isinstance(schedule, type) or not is_schedule:
            message = (
                f"schedule must be an object such as Schedule(max_interval=10), not {schedule!r}."
            )
            raise ConfigurationError(message)
    if clock is not None and not isinstance(clock, Clock):
        message = f"clock must be a Clock(), not {clock!r}."
        raise ConfigurationError(message)


def _base_url(base_url: object) -> str:
    if base_url and not isinstance(base_url, str):
        if not hasattr(base_url, "scheme"):  # as URL objects have one
            message = f"base_url must be text, not {type(base_url).__name__}."
            raise ConfigurationError(message)
        base_url = str(base_url)
    base_url = str(base_url or "") or os.environ.get("MJASYNC_BASE_URL")
    if not base_url:
        message = (
            "No base URL: pass one, as in Client('https://api.example.com', 'token'), "
            "or set MJASYNC_BASE_URL."
        )
        raise ConfigurationError(message)
    return base_url


def _choice(name: str, value: Any, variable: str) -> Any:  # noqa: ANN401 - one of a Literal
    is_given = value is not None and value != ""
    value = value if is_given else os.environ.get(variable) or None
    if value is not None and value not in _LITERAL_CHOICES[name]:
        message = f"{name} must be {_join_with_or(_LITERAL_CHOICES[name])}, not {value!r}."
        raise ConfigurationError(message)
    return value


def _join_with_or(choices: tuple[str, ...]) -> str:
    return f"{', '.join(choices[:-1])} or {choices[-1]}"

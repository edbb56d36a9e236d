"""One exchange: a request goes out, a reply comes back, and every failure says how far it got."""

from __future__ import annotations

import asyncio
import errno
import logging
import math
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Final, Self

import aiohttp
import attrs
from multidict import CIMultiDict
from yarl import URL

from .._models import Auth
from ..errors import (
    ClientClosed,
    ConfigurationError,
    ConnectionFailed,
    MJError,
    RequestTimeout,
    TooManyOpenFiles,
)
from .body import Body
from .redaction import Redactor, secrets_in

if TYPE_CHECKING:
    from aiohttp.abc import AbstractStreamWriter

__all__ = ["Incoming", "Interrupted", "Reply", "Secret", "Transport", "auth_headers", "bare"]

_CONNECTIONS: Final = 500
"""Connections of a session of ours, at most: more of them slow one core down."""
_KEPT_ALIVE: Final = 30.0
"""Seconds that an idle connection is kept: longer than any look is put off by default."""
_BUFFER: Final = 1 << 20
"""Half the bytes of a picture that may come in while those before are written."""
_OUT_OF_FILES: Final = frozenset({errno.EMFILE, errno.ENFILE})

_log: Final = logging.getLogger("mjasync")


class Interrupted(Exception):
    """The request began and its answer did not arrive whole: nobody knows what the server did."""

    def __init__(self, reason: str, *, timed_out: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.timed_out = timed_out

    def as_read(self) -> MJError:
        """What this means for a read, which may be repeated."""
        if self.timed_out:
            return RequestTimeout(f"No whole answer in time: {self.reason}.")
        return ConnectionFailed(f"The answer was cut off: {self.reason}.")


@attrs.frozen
class Reply:
    """What came back."""

    status: int
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)


class Secret(str):
    """A header value that no repr, log or traceback shows."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


def auth_headers(token: str | None, auth: Auth) -> Mapping[str, str]:
    """The one header that carries the token; none without a token (PROTOCOL §6.2).

    Raises:
        ConfigurationError: It cannot be sent.
    """
    if not token or not token.strip():
        return {}
    token = Secret(token.strip())  # read from a file, it often ends in a newline
    if not token.isprintable():
        message = "The token holds characters that no HTTP header can carry."
        raise ConfigurationError(message)
    if auth == "bearer":
        return {"Authorization": Secret(f"Bearer {token}")}
    return {"mj-api-secret": Secret(token)}


class Transport:
    """Owns the session (unless it was given one), the credentials and the timeouts."""

    def __init__(
        self,
        credentials: Mapping[str, str],
        *,
        session: aiohttp.ClientSession | None,
        connect_timeout: float,
    ) -> None:
        self._credentials = credentials
        self._session = session
        self._owns_session = session is None
        self._limits = cache(partial(_limits, connect_timeout))
        self._patience = _Patience(self._is_crowded)
        self._occupied = 0
        self._headers = cache(partial(_headers, credentials))
        self.redactor = Redactor(secrets_in(credentials))
        self.closed: bool = False

    async def exchange(
        self,
        method: str,
        url: URL,
        *,
        body: bytes | Body | None = None,
        content_type: str = "application/json",
        timeout: float,
    ) -> Reply:
        """Send one API request, credentials included; redirects are never followed.

        Raises:
            ConnectionFailed: No connection came about: the server has seen nothing.
            Interrupted: The request began; what the server did is unknown.
        """
        headers = self._headers(content_type if body is not None else None)
        try:
            with self._occupying_one():
                reply = await self._exchange(method, url, body, headers, timeout)
        except BaseException as error:  # noqa: BLE001 - every error is raised, most as another
            failure = self._explained(error, url)
        else:
            _log.debug("%s %s -> %d", method, url.raw_path, reply.status)
            return reply
        raise failure

    async def _exchange(
        self,
        method: str,
        url: URL,
        body: bytes | Body | None,
        headers: CIMultiDict[str],
        timeout: float,
    ) -> Reply:
        async with (
            asyncio.timeout(None) as limit,
            self._open().request(
                method,
                url,
                data=_Pieces(body, limit, timeout) if isinstance(body, Body) else body,
                headers=headers,
                timeout=self._limits(timeout),
                allow_redirects=False,
                raise_for_status=False,
            ) as response,
        ):
            return self._reply(response, await response.read())

    def _reply(self, response: aiohttp.ClientResponse, body: bytes) -> Reply:
        redactor = self.redactor
        return Reply(
            response.status, redactor.clean_headers(response.headers), redactor.clean(body)
        )

    async def look(self, url: URL, *, timeout: float) -> Reply:
        """As `exchange` for a GET, whose whole answer has to come within `timeout` seconds.

        Meant for looks at waiting tasks, one after another: aiohttp's own timers for each of them
        and the layers of `exchange` cost a fifth of a look.

        Raises:
            ConnectionFailed: No connection came about.
            Interrupted: The answer did not arrive whole, or not in time.
        """
        session, me = self._open(), asyncio.current_task()
        if me is None or not self._owns_session:  # who else uses its connections, nobody knows
            return await self.exchange("GET", url, timeout=timeout)
        self._patience.begin(me, timeout)
        try:
            response = await session.get(
                url,
                headers=self._headers(None),
                timeout=self._limits(None),
                allow_redirects=False,
            )
            body = await response.read()  # to its end, where it lets go of the connection
        except asyncio.CancelledError as error:
            ran_out = self._patience.ran_out_for(me)
            timed_out = Interrupted(f"{timeout:g} s have passed", timed_out=True)
            failure = timed_out if ran_out else self._explained(error, url)
        except BaseException as error:  # noqa: BLE001 - every error is raised, most as another
            failure = self._explained(error, url)
        else:
            _log.debug("GET %s -> %d", url.raw_path, response.status)
            return self._reply(response, body)
        finally:
            self._patience.end(me)
        response = body = None  # type: ignore[assignment]  # no traceback is to hold them
        raise failure

    @asynccontextmanager
    async def stream(self, url: URL, timeout: float) -> AsyncIterator[tuple[Reply, Incoming]]:
        """Open a picture, without credentials: links may lead anywhere. Yield its pieces, too.

        Raises:
            ConnectionFailed: No connection came about.
            Interrupted: It broke off before the end, or nothing came for `timeout` seconds.
        """
        try:
            with self._occupying_one():
                async with (
                    asyncio.timeout(None) as limit,
                    self._open().get(
                        url,
                        timeout=self._limits(timeout),
                        raise_for_status=False,
                        read_bufsize=_BUFFER,
                    ) as response,
                ):
                    pieces = Incoming(response, limit, timeout)
                    reply = self._reply(response, b"")
                    del response  # no traceback is to hold its headers
                    try:
                        yield reply, pieces
                    finally:
                        pieces.close()
        except MJError:
            raise
        except BaseException as error:  # noqa: BLE001 - every error is raised, most as another
            failure = self._explained(error, url)
        else:
            return
        raise failure

    async def close(self) -> None:
        """Close the session, if it is ours."""
        self.closed = True
        self._patience.close()
        if self._owns_session and self._session is not None:
            await self._session.close()

    def _open(self) -> aiohttp.ClientSession:
        if self.closed:
            message = "This Client is closed."
            raise ClientClosed(message)
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=_connections(), keepalive_timeout=_KEPT_ALIVE),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
            )
        elif self._session.closed:
            raise ClientClosed("The session given to this Client is closed.")
        return self._session

    @property
    def room(self) -> int:
        """Requests for which there is a connection at any time."""
        given = self._session.connector if self._session is not None else None
        limits = (given.limit, given.limit_per_host) if given is not None else ()
        return min(filter(None, limits), default=_connections())

    @contextmanager
    def _occupying_one(self) -> Iterator[None]:
        self._occupied += 1
        try:
            yield
        finally:
            self._occupied -= 1

    def _is_crowded(self, looks: int) -> bool:
        """Whether a look may be waiting for a connection still, for which no server is to blame."""
        return self._occupied + looks > self.room

    def _explained(self, error: BaseException, url: URL) -> BaseException:
        """What to raise for an error on the wire: it says how far the request got.

        aiohttp's frames hold the request as sent and the answer as it came, and its messages may
        quote either: no error leaves here with those.
        """
        explained = _how_far(error, url, self.redactor)
        bare(error)
        tells_too_much = isinstance(error, aiohttp.ClientResponseError)  # it holds all headers
        if explained is not error and not tells_too_much:
            is_clean = self.redactor.clean_text(str(error)) == str(error)
            explained.__cause__ = error if is_clean else None
        return explained


def _headers(credentials: Mapping[str, str], content_type: str | None) -> CIMultiDict[str]:
    kind = {"Content-Type": content_type} if content_type else {}
    return CIMultiDict({"Accept": "application/json", **kind, **credentials})


class _Pieces(aiohttp.Payload):
    """A long body, written afresh as often as aiohttp asks: a session may have a middleware.

    While it is written, aiohttp's own timeout does not run: each piece has its seconds here.
    """

    def __init__(self, body: Body, limit: asyncio.Timeout, seconds: float) -> None:
        super().__init__(body)
        self._size = len(body)
        self._body = body
        self._limit = limit
        self._seconds = seconds

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return bytes(self._body).decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        now = asyncio.get_running_loop().time
        async with aclosing(self._body.pieces()) as pieces:
            async for piece in pieces:
                self._give_until(now() + self._seconds)
                await writer.write(piece)
        self._give_until(None)

    def _give_until(self, when: float | None) -> None:
        with suppress(RuntimeError):  # the answer is there before the request was
            self._limit.reschedule(when)


class Incoming:
    """The pieces of a long answer as they come, each within its seconds.

    There is one timer, which looks back when it rings: aiohttp's own is set anew for every piece,
    which takes as long as a tenth of writing it.
    """

    def __init__(
        self, response: aiohttp.ClientResponse, limit: asyncio.Timeout, seconds: float
    ) -> None:
        if response.connection is not None and response.connection.protocol is not None:
            response.connection.protocol.read_timeout = None
        self._content = response.content
        self._limit = limit
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._first = b""
        self._awaited_since: float | None = None
        self._timer = self._loop.call_later(seconds, self._look_back)

    def __aiter__(self) -> Self:
        return self

    async def first(self) -> bytes:
        """The first piece, which comes again; empty where there is none."""
        self._first = await anext(self, b"")
        return self._first

    async def __anext__(self) -> bytes:
        if self._first:
            piece, self._first = self._first, b""
            return piece
        self._awaited_since = self._loop.time()
        try:
            piece = await self._content.readany()
        finally:
            self._awaited_since = None
        if not piece:
            raise StopAsyncIteration
        return piece

    def close(self) -> None:
        """Leave no timer behind."""
        self._timer.cancel()

    def _look_back(self) -> None:
        now = self._loop.time()
        since = now if self._awaited_since is None else self._awaited_since
        if since + self._seconds <= now:
            self._limit.reschedule(now)
        else:
            self._timer = self._loop.call_at(since + self._seconds, self._look_back)


class _Patience:
    """Cancels looks that take too long. One timer for all of them, which is hardly ever set."""

    def __init__(self, is_crowded: Callable[[int], bool]) -> None:
        self._is_crowded = is_crowded
        self._late_at: dict[asyncio.Task[Any], float] = {}
        self._late: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, look: asyncio.Task[Any], seconds: float) -> None:
        """Give a look so many seconds, and again as many while it may lack a connection."""
        loop = look.get_loop()
        self._late_at[look] = late_at = loop.time() + seconds
        if self._timer is None:
            self._timer = loop.call_at(late_at, self._check, seconds)

    def end(self, look: asyncio.Task[Any]) -> None:
        """It is over."""
        self._late_at.pop(look, None)
        self._late.discard(look)

    def ran_out_for(self, look: asyncio.Task[Any]) -> bool:
        """Whether it was cancelled for that alone, which then is no cancellation any more."""
        return look in self._late and look.uncancel() == 0

    def close(self) -> None:
        """Leave no timer behind."""
        if self._timer is not None:
            self._timer.cancel()

    def _check(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        now, self._timer = loop.time(), None
        late = [look for look, at in self._late_at.items() if at <= now]
        if self._is_crowded(len(self._late_at)):
            self._late_at.update(dict.fromkeys(late, now + seconds))
        else:
            for look in late:
                del self._late_at[look]
                self._late.add(look)
                look.cancel()
        if self._late_at:
            self._timer = loop.call_at(min(self._late_at.values()), self._check, seconds)


def _limits(connect: float, read: float | None) -> aiohttp.ClientTimeout:
    """How long the wire may be silent; waiting for a free connection is not limited here."""
    within = None if connect == math.inf else connect  # which aiohttp cannot round up
    return aiohttp.ClientTimeout(total=None, sock_connect=within, sock_read=read)


def _connections() -> int:
    """How many connections a session of ours has: at most half the files the process may open."""
    files = _files_allowed()
    return _CONNECTIONS if files is None else max(1, min(_CONNECTIONS, files // 2))


def _files_allowed() -> int | None:
    """Files and sockets this process may have open at once; None without such a limit."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def _how_far(error: BaseException, url: URL, redactor: Redactor) -> BaseException:
    """Turn aiohttp's errors into ours: before the connection stood, or after."""
    reason = redactor.clean_text(_reason(error))
    match error:
        case aiohttp.ClientConnectorError() | aiohttp.ConnectionTimeoutError():
            unreachable = ConnectionFailed(f"No connection to {url.origin()}: {reason}.")
            return _too_many(url) if _is_out_of_files(error) else unreachable
        case aiohttp.ClientHttpProxyError():
            message = f"The proxy refused the connection to {url.origin()} (HTTP {error.status})."
            return ConnectionFailed(message)
        case aiohttp.ClientResponseError():
            return Interrupted(f"unreadable HTTP ({error.status})", timed_out=False)
        case TimeoutError() | aiohttp.ClientError() if not isinstance(error, MJError):
            return Interrupted(reason, timed_out=isinstance(error, TimeoutError))
    return error


def _is_out_of_files(error: BaseException | None) -> bool:
    """Whether it came about, perhaps at one remove, for want of a free file descriptor."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _OUT_OF_FILES:
            return True
        error = error.__cause__ or error.__context__
    return False


def _too_many(url: URL) -> TooManyOpenFiles:
    most = _files_allowed()
    allowed = "the machine" if most is None else f"this process ({most})"
    return TooManyOpenFiles(
        f"No connection to {url.origin()}: all the files and sockets that {allowed} may have open "
        "are open."
    )


def bare(error: BaseException) -> BaseException:
    """An error and all behind it without their frames."""
    link: BaseException | None = error
    while link is not None:
        link.__traceback__ = None
        link = link.__cause__ or link.__context__
    return error


def _reason(error: BaseException) -> str:
    if isinstance(error.__cause__, MJError):  # a file broke off: aiohttp tells of its connection
        return error.__cause__.message.rstrip(".")
    return f"{type(error).__name__}: {error}".rstrip(": .")

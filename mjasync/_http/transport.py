"""HTTP exchanges with a server; each error shows how far the request got."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import cache
from itertools import chain
from typing import Any, Final

import aiohttp
import attrs
from multidict import CIMultiDict
from yarl import URL

from .._models import Auth
from .._text import printable
from ..errors import ConfigurationError, MalformedReply, MJError
from .bodies import RequestBody
from .deadlines import Deadline, PollDeadlines
from .failures import (
    RequestInterrupted,
    translate_error,
)
from .links import check_allowed, parse_link, redirect_url
from .network import NetworkSettings, SecretHeader
from .redaction import Redactor, secrets_in
from .sessions import MAX_HEADER_SIZE, Sessions
from .streams import StreamingPayload, TimedStream, read_whole

_READ_BUFFER_SIZE: Final = 1 << 20
"""Half of the bytes that are buffered while those before are written."""
_TOTAL_TIMEOUT_FACTOR: Final = 2
"""Multiple of its timeout that a whole exchange may take."""
_REQUEST_OPTIONS: Final[dict[str, Any]] = {"allow_redirects": False, "raise_for_status": False}
_REDIRECT_STATUSES: Final = frozenset({301, 302, 303, 307, 308})
_MAX_REDIRECTS: Final = 10
_log: Final = logging.getLogger("mjasync")


@attrs.frozen
class HttpResponse:
    """The response to a request."""

    status: int
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)


def auth_headers(token: str | None, auth: Auth) -> Mapping[str, str]:
    """Return the header that carries the token, if there is one (PROTOCOL §6.2).

    Raises:
        ConfigurationError: It cannot be sent.
    """
    if not token or not token.strip():
        return {}
    token = SecretHeader(token.strip())  # read from a file, it often ends in a newline
    if not token.isprintable():
        message = "The token holds characters that no HTTP header can carry."
        raise ConfigurationError(message)
    if auth == "bearer":
        return {"Authorization": SecretHeader(f"Bearer {token}")}
    return {"mj-api-secret": SecretHeader(token)}


class Transport:
    """Exchanges requests and responses, with credentials, timeouts and redaction."""

    def __init__(self, credentials: Mapping[str, str], network: NetworkSettings) -> None:
        _check_logins(credentials, network)
        self.network = network
        self.redactor: Redactor = Redactor([*secrets_in(credentials), *network.secrets])
        self.token_header: str = next(iter(credentials), "")
        """The header that carries the token; "" where none is set."""
        self.sessions: Sessions = Sessions(network)
        self._credentials = credentials
        self._limits = cache(self._timeouts)
        self._poll_deadlines = PollDeadlines(self._is_saturated)
        self._active_count = 0
        self._headers = cache(self._make_headers)
        self._may_be_proxied = (
            network.proxy_for(network.origin) is not None or network.uses_environment
        )
        self._has_warned_of_cache = False

    async def exchange(
        self,
        method: str,
        url: URL,
        *,
        body: bytes | RequestBody | None = None,
        content_type: str = "application/json",
        timeout: float,
        is_paid: bool = False,
    ) -> HttpResponse:
        """Send one API request, credentials included; redirects are never followed.

        Raises:
            ConnectionFailed: No connection was made: the server has received nothing.
            RequestInterrupted: The request was sent; whether the server acted on it is unknown.
        """
        headers = self._headers(content_type if body is not None else None)
        sessions = self.sessions
        session = sessions.for_submissions() if is_paid else sessions.for_server()
        try:
            with self._counting():
                reply = await self._exchange(
                    session, method, url, body, headers=headers, timeout=timeout
                )
        except BaseException as error:  # noqa: BLE001 - every error is raised, most as another
            failure = translate_error(error, url, self.redactor)
        else:
            _log.debug("%s %s -> %d", method, url.raw_path, reply.status)
            return reply
        raise failure

    async def _exchange(
        self,
        session: aiohttp.ClientSession,
        method: str,
        url: URL,
        body: bytes | RequestBody | None,
        *,
        headers: CIMultiDict[str],
        timeout: float,
    ) -> HttpResponse:
        async with asyncio.timeout(None) as limit:
            with Deadline(
                limit, _TOTAL_TIMEOUT_FACTOR * timeout, lambda: self._is_saturated(0)
            ) as deadline:
                if self.sessions.is_owned:
                    deadline.restart()
                elif body is not None and not isinstance(body, RequestBody):
                    body = RequestBody((body,))  # its end marks the end of the request
                async with session.request(
                    method,
                    url,
                    data=StreamingPayload(body, limit, deadline, timeout)
                    if isinstance(body, RequestBody)
                    else body,
                    headers=headers,
                    timeout=self._limits(timeout),
                    **self._request_options(url),
                ) as response:
                    if not self.sessions.is_owned:  # before, it may have lacked a connection
                        deadline.restart()
                    return self._read_response(
                        response, await read_whole(response, self.network.limits.reply)
                    )

    def _read_response(self, response: aiohttp.ClientResponse, body: bytes) -> HttpResponse:
        headers: Mapping[str, str] = response.headers
        if "Age" in headers:
            self._warn_of_cache(headers["Age"])
        raw = b"\n".join([*chain.from_iterable(response.raw_headers), body])
        if self.redactor.clean(raw) is not raw:  # rare: one search for both
            headers, body = self.redactor.clean_headers(headers), self.redactor.clean(body)
        return HttpResponse(response.status, headers, body)

    def _warn_of_cache(self, age: str) -> None:
        """Warn once that responses come from a cache."""
        if not self._has_warned_of_cache and age.strip("0") != "":
            self._has_warned_of_cache = True
            _log.warning(
                "a cache in front of the server answers for it (Age: %s), although it is asked not "
                "to: tasks will seem to stand still; exclude the API from caching there",
                printable(age, 20),
            )

    async def get_within(self, url: URL, *, timeout: float) -> HttpResponse:
        """Send a GET whose whole response must arrive within `timeout` seconds.

        It is for polls of waiting tasks, which the timers of `exchange` would make a quarter more
        expensive.

        Raises:
            ConnectionFailed: No connection was made.
            RequestInterrupted: The response is incomplete or late.
        """
        session, asyncio_task = self.sessions.for_server(), asyncio.current_task()
        if asyncio_task is None or not self.sessions.is_owned:  # others may use its connections
            return await self.exchange("GET", url, timeout=timeout)
        self._poll_deadlines.start(asyncio_task, timeout)
        try:
            response = await session.get(
                url,
                headers=self._headers(None),
                timeout=self._limits(None),
                **self._request_options(url),
            )
            body = await read_whole(response, self.network.limits.reply)
        except asyncio.CancelledError as error:
            is_late = self._poll_deadlines.expired(asyncio_task)
            timed_out = RequestInterrupted(f"{timeout:g} s have passed", timed_out=True)
            failure = timed_out if is_late else translate_error(error, url, self.redactor)
        except BaseException as error:  # noqa: BLE001 - every error is raised, most as another
            failure = translate_error(error, url, self.redactor)
        else:
            _log.debug("GET %s -> %d", url.raw_path, response.status)
            return self._read_response(response, body)
        finally:
            self._poll_deadlines.stop(asyncio_task)
        response = body = None  # type: ignore[assignment]  # so that no traceback holds them
        raise failure

    @asynccontextmanager
    async def stream(
        self, url: URL, timeout: float
    ) -> AsyncIterator[tuple[HttpResponse, TimedStream]]:
        """Open a download without the token, since links may lead anywhere.

        Yields:
            The response without a body, and the pieces of the body.

        Raises:
            LinkRefused: `image_links` does not allow the link.
            ConnectionFailed: No connection was made.
            RequestInterrupted: The body ended early, or nothing arrived for `timeout` seconds.
            MalformedReply: There are too many redirects.
        """
        for _ in range(_MAX_REDIRECTS):
            check_allowed(url, self.network.origin, self.network.image_links)
            async with self._stream(self._with_token(url), timeout) as (reply, pieces):
                location = reply.headers.get("Location")
                if reply.status not in _REDIRECT_STATUSES or not location:
                    yield reply, pieces
                    return
            url = redirect_url(url, location)
        message = (
            f"The picture's link is redirected more than {_MAX_REDIRECTS} times, at last to "
            f"{printable(str(url))!r}."
        )
        raise MalformedReply(message)

    def _with_token(self, url: URL) -> URL:
        """Return a link with the token that was redacted from it, if it leads to the server."""
        if url.origin() != self.network.origin:
            return url
        return parse_link(self.redactor.restore(str(url)))

    @asynccontextmanager
    async def _stream(
        self, url: URL, timeout: float
    ) -> AsyncIterator[tuple[HttpResponse, TimedStream]]:
        is_server = url.origin() == self.network.origin
        session = self.sessions.for_server() if is_server else self.sessions.for_other_hosts()
        headers = self.network.default_headers() if is_server else self.network.user_agent
        try:
            with self._counting():
                async with asyncio.timeout(None) as limit:
                    with Deadline(
                        limit, _TOTAL_TIMEOUT_FACTOR * timeout, lambda: self._is_saturated(0)
                    ) as deadline:
                        if self.sessions.is_owned:
                            deadline.restart()
                        response = await session.get(
                            url,
                            headers=headers,
                            timeout=self._limits(timeout),
                            read_bufsize=_READ_BUFFER_SIZE,
                            **self._request_options(url, is_server=is_server),
                        )
                    async with response:
                        pieces = TimedStream(response, limit, timeout, self.network.limits)
                        reply = self._read_response(response, b"")
                        del response  # so that no traceback holds its headers
                        try:
                            yield reply, pieces
                        finally:
                            pieces.close()
        except MJError:
            raise
        except BaseException as error:  # noqa: BLE001 - every error is raised, most as another
            failure = translate_error(error, url, self.redactor)
        else:
            return
        raise failure

    async def close(self) -> None:
        """Close all sessions but the caller's."""
        self._poll_deadlines.close()
        await self.sessions.close()

    @property
    def connection_limit(self) -> int:
        """Maximum concurrent requests to the server."""
        return self.sessions.connection_limit

    @contextmanager
    def _counting(self) -> Iterator[None]:
        self._active_count += 1
        try:
            yield
        finally:
            self._active_count -= 1

    def _is_saturated(self, poll_count: int) -> bool:
        """Return whether an exchange may be waiting for a free connection."""
        return self._active_count + poll_count > self.connection_limit

    def _timeouts(self, read: float | None) -> aiohttp.ClientTimeout:
        """Return the timeouts of a connection; the wait for one is not limited."""
        connect = self.network.connect_timeout
        seconds = None if connect == math.inf else connect  # aiohttp cannot round infinity
        return aiohttp.ClientTimeout(total=None, sock_connect=seconds, sock_read=read)

    def _request_options(self, url: URL, *, is_server: bool = True) -> dict[str, Any]:
        if is_server and not self.sessions.is_owned:  # a caller's session has its own proxies
            return {
                **_REQUEST_OPTIONS,
                "max_line_size": MAX_HEADER_SIZE,
                "max_field_size": MAX_HEADER_SIZE,
            }
        proxy = self.network.proxy_for(url) if self._may_be_proxied else None
        return _REQUEST_OPTIONS if proxy is None else {**_REQUEST_OPTIONS, "proxy": proxy}

    def _make_headers(self, content_type: str | None) -> CIMultiDict[str]:
        headers = CIMultiDict({"Accept": "application/json", "Cache-Control": "no-cache"})
        headers.update(self.network.default_headers())
        if content_type:
            headers["Content-Type"] = content_type
        headers.update(self._credentials)
        return headers


def _check_logins(credentials: Mapping[str, str], network: NetworkSettings) -> None:
    """Check that no header has two values, of which only one could be sent.

    Raises:
        ConfigurationError: A header has two values.
    """
    used = {name.lower() for name in network.headers}
    if network.session is not None and network.session.auth is not None:
        used.add("authorization")
    if duplicates := [name for name in credentials if name.lower() in used]:
        message = (
            f"Both the token and the login of the proxy would be sent as {duplicates[0]}: "
            'send the token in another header (auth="secret" or "bearer"), or omit the login.'
        )
        raise ConfigurationError(message)

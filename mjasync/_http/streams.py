"""Request and response bodies in pieces, with limits of time and size."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Final, Self

import aiohttp

from .._limits import Limits
from .._media.formats import SNIFFED_BYTES, sniff
from .bodies import RequestBody
from .deadlines import Deadline
from .failures import RequestInterrupted

if TYPE_CHECKING:
    from aiohttp.abc import AbstractStreamWriter

_MIN_BYTES_PER_SECOND: Final = 1024.0
"""Minimum speed of a download."""
_GRACE_SECONDS: Final = 10
"""Multiple of `read_timeout` during which a download may be slower than that."""
_MAX_ERROR_BODY: Final = 1 << 16
"""Maximum bytes read of a response that is not an image."""
_MEGABYTE: Final = 1 << 20


async def read_whole(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """Read a whole response body, decompressed.

    Raises:
        RequestInterrupted: It is longer than `limit`.
    """
    content = response.content
    try:
        body = await content.readany()
        if not content.at_eof():
            pieces, size = [body], len(body)
            while size <= limit and (piece := await content.readany()):
                pieces.append(piece)
                size += len(piece)
            body = b"".join(pieces)
    except BaseException:
        response.close()
        raise
    if len(body) > limit:
        response.close()
        raise too_large_error("answer", limit, "reply")
    response.release()
    return body


def too_large_error(what: str, limit: int, name: str) -> RequestInterrupted:
    """Return the error for a response above its limit."""
    size = f"{limit / _MEGABYTE:g} MiB" if limit >= _MEGABYTE else f"{limit} bytes"
    reason = f"the {what} is longer than {size}, which Limits({name}={limit}) allows"
    return RequestInterrupted(reason, too_large=True)


class StreamingPayload(aiohttp.Payload):
    """A long body, written anew whenever aiohttp asks, as a middleware of the session may.

    The timeout of aiohttp does not run while it is written: each piece has a timeout here.
    """

    def __init__(
        self, body: RequestBody, limit: asyncio.Timeout, deadline: Deadline, seconds: float
    ) -> None:
        super().__init__(body)
        self._size = len(body)
        self._body = body
        self._limit = limit
        self._deadline = deadline
        self._seconds = seconds

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Return the whole body as text."""
        return bytes(self._body).decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Write it piece by piece."""
        now = asyncio.get_running_loop().time
        self._deadline.stop()
        async with aclosing(self._body.pieces()) as pieces:
            async for piece in pieces:
                self._extend_deadline(now() + self._seconds)
                await writer.write(piece)
        self._extend_deadline(None)
        self._deadline.restart()

    def _extend_deadline(self, when: float | None) -> None:
        with suppress(RuntimeError):  # the response came before the end of the request
            self._limit.reschedule(when)


class TimedStream:
    """The pieces of a download, each with a timeout.

    One timer checks all of them: aiohttp sets its own anew for each piece, which takes a tenth of
    the time of writing it.
    """

    def __init__(
        self,
        response: aiohttp.ClientResponse,
        limit: asyncio.Timeout,
        seconds: float,
        limits: Limits | None = None,
    ) -> None:
        if response.connection is not None and response.connection.protocol is not None:
            response.connection.protocol.read_timeout = None
        self._content = response.content
        self._limit = limit
        self._seconds = seconds
        self._limits = limits or Limits()
        self._loop = asyncio.get_running_loop()
        self._first: bytes | None = b""
        self._size = 0
        self._max_size = self._limits.picture
        self._kind = "picture"
        self._started_at = self._loop.time()
        self._awaited_since: float | None = None
        self._timer = self._loop.call_later(seconds, self._check_speed)

    def __aiter__(self) -> Self:
        return self

    async def read_head(self) -> bytes:
        """Read the first bytes, enough to detect the format; iteration yields them again."""
        self._first = head = await self._read_up_to(SNIFFED_BYTES)
        if (kind := sniff(head)) and kind[1].startswith("video/"):
            self._max_size, self._kind = self._limits.video, "video"
        return head

    async def error(self) -> bytes:
        """Read the start of a response that is not an image."""
        return await self._read_up_to(_MAX_ERROR_BODY)

    async def _read_up_to(self, size: int) -> bytes:
        pieces, read = [], 0
        async for piece in self:
            pieces.append(piece)
            read += len(piece)
            if read >= size:
                break
        return b"".join(pieces)

    async def __anext__(self) -> bytes:
        if self._first:
            piece, self._first = self._first, None
            return piece
        self._awaited_since = self._loop.time()
        try:
            piece = await self._content.readany()
        finally:
            self._awaited_since = None
        if not piece:
            raise StopAsyncIteration
        self._size += len(piece)
        if self._size > self._max_size:
            raise too_large_error(self._kind, self._max_size, self._kind)
        return piece

    def close(self) -> None:
        """Stop the timer."""
        self._timer.cancel()

    def _check_speed(self) -> None:
        now = self._loop.time()
        since = now if self._awaited_since is None else self._awaited_since
        took_too_long = (
            now - self._started_at
            > _GRACE_SECONDS * self._seconds + self._size / _MIN_BYTES_PER_SECOND
        )
        is_waiting = self._awaited_since is not None
        if since + self._seconds <= now or (is_waiting and took_too_long):
            self._limit.reschedule(now)
        else:
            self._timer = self._loop.call_at(since + self._seconds, self._check_speed)

"""Bodies as they go out and come in: in pieces, each in its time, no longer than allowed."""

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

__all__ = ["StreamingPayload", "TimedStream", "read_whole"]

_MIN_BYTES_PER_SECOND: Final = 1024.0
"""Bytes of a picture that come in each second, at least."""
_GRACE_SECONDS: Final = 10
"""Times `read_timeout` that a picture may be slower than that."""
_MAX_ERROR_BODY: Final = 1 << 16
"""Bytes of an answer that is no picture which are read."""
_MEGABYTE: Final = 1 << 20


async def read_whole(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """Read a whole response body, decompressed.

    Raises:
        Interrupted: It is longer than `limit`.
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
    """A long body, written afresh as often as aiohttp asks: a session may have a middleware.

    While it is written, aiohttp's own timeout does not run: each piece has its seconds here.
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
        with suppress(RuntimeError):  # the answer is there before the request was
            self._limit.reschedule(when)


class TimedStream:
    """The pieces of a picture as they come, each within its seconds.

    There is one timer, which looks back when it rings: aiohttp's own is set anew for every piece,
    which takes as long as a tenth of writing it.
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
        self._most = self._limits.picture
        self._kind = "picture"
        self._begun = self._loop.time()
        self._awaited_since: float | None = None
        self._timer = self._loop.call_later(seconds, self._check_speed)

    def __aiter__(self) -> Self:
        return self

    async def read_head(self) -> bytes:
        """Read the first bytes, enough to detect the format; iteration yields them again."""
        self._first = start = await self._read_at_least(SNIFFED_BYTES)
        if (kind := sniff(start)) and kind[1].startswith("video/"):
            self._most, self._kind = self._limits.video, "video"
        return start

    async def error(self) -> bytes:
        """Read the start of a response that is not an image."""
        return await self._read_at_least(_MAX_ERROR_BODY)

    async def _read_at_least(self, size: int) -> bytes:
        pieces, have = [], 0
        async for piece in self:
            pieces.append(piece)
            have += len(piece)
            if have >= size:
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
        if self._size > self._most:
            raise too_large_error(self._kind, self._most, self._kind)
        return piece

    def close(self) -> None:
        """Leave no timer behind."""
        self._timer.cancel()

    def _check_speed(self) -> None:
        now = self._loop.time()
        since = now if self._awaited_since is None else self._awaited_since
        took_too_long = (
            now - self._begun > _GRACE_SECONDS * self._seconds + self._size / _MIN_BYTES_PER_SECOND
        )
        is_waiting = self._awaited_since is not None
        if since + self._seconds <= now or (is_waiting and took_too_long):
            self._limit.reschedule(now)
        else:
            self._timer = self._loop.call_at(since + self._seconds, self._check_speed)

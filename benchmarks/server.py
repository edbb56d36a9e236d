"""A server that costs next to nothing: rendered replies, a hand-written protocol, its own process.

The path says how its tasks behave: under `/13-40` a task changes at every 13th look and is finished
at the 40th; under `/13-40-list` there is a list endpoint, too; under `/1-1x64` a picture has 64 MB
instead of 8. Neighbours change one look after the other, as tasks do that know nothing of each
other, so in a list some have changed at every look. A task exists once it is asked for.
`GET /counts` tells what was asked since the last time.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import sys
from typing import Final

import orjson

from . import payloads
from .harness import pin

__all__ = ["main"]

_ID: Final = b"################"
_FOREVER: Final = 1 << 60
_PIECE: Final = 1 << 18
_PNG_START: Final = b"\x89PNG\r\n\x1a\n"
_PNG_END: Final = b"\0\0\0\0IEND\xaeB`\x82"
_HEAD: Final = (
    "HTTP/1.1 {status}\r\nServer: nginx\r\nDate: Mon, 05 Jan 2026 12:00:00 GMT\r\n"
    "Content-Type: {kind}\r\nContent-Length: {size}\r\nConnection: keep-alive\r\n\r\n"
)
_RUNNING: Final = tuple(payloads.running(_ID.decode(), percent) for percent in range(100))
_ABSENT: Final = b'{"timestamp":1760000000000,"status":404,"error":"Not Found","path":"/mj/task"}'


def reply(body: bytes, status: str = "200 OK", kind: str = "application/json") -> bytes:
    """A whole reply."""
    return _HEAD.format(status=status, kind=kind, size=len(body)).encode() + body


class Site:
    """What all connections share: the tasks, and how often each was looked at."""

    def __init__(self) -> None:
        self.port = 0
        self._looks: dict[bytes, int] = {}
        self._ids = itertools.count(1760000000000000)
        self._counts = dict.fromkeys(("polls", "submits"), 0)
        self._success = b""

    def opened(self, port: int) -> None:
        """Note where it is: finished tasks link to it."""
        self.port = port
        self._success = payloads.success(_ID.decode(), f"http://127.0.0.1:{port}")

    def answer(self, path: bytes, body: bytes) -> bytes:
        """The reply to a request; of a large one, the body is not there."""
        if path.endswith(b"/fetch"):
            _, plan, _, _, task_id, _ = path.split(b"/")
            return reply(self._look(plan, task_id))
        if path.endswith(b"/list-by-condition"):
            return self._list(path, body)
        if b"/submit/" in path:
            self._counts["submits"] += 1
            result = {"code": 1, "description": "提交成功", "result": str(next(self._ids))}
            return reply(orjson.dumps({**result, "properties": {}}))
        counts, self._counts = self._counts, dict.fromkeys(self._counts, 0)
        return reply(orjson.dumps(counts))

    def _list(self, path: bytes, body: bytes) -> bytes:
        plan = path.split(b"/")[1]
        if not plan.endswith(b"-list"):
            return reply(_ABSENT, "404 Not Found")
        ids = orjson.loads(body)["ids"]
        return reply(b"[%b]" % b",".join([self._look(plan, task_id.encode()) for task_id in ids]))

    def _look(self, plan: bytes, task_id: bytes) -> bytes:
        self._counts["polls"] += 1
        looks = self._looks[task_id] = self._looks.get(task_id, 0) + 1
        every, end, size = _plan(plan)
        if looks >= end:
            return self._success.replace(_ID, task_id).replace(b"/8mb/", size)
        ahead = int(task_id[-4:]) % every
        return _RUNNING[(looks + ahead) // every % 100].replace(_ID, task_id)


class Connection(asyncio.Protocol):
    """One connection: requests one after the other, large bodies thrown away as they come."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._buffer = bytearray()
        self._missing = 0
        self._path = b""
        self._size = 0
        self._writable = asyncio.Event()
        self._writable.set()
        self._pump: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for the type checker
        self._transport = transport

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the interface
        self._writable.set()
        if self._pump is not None:
            self._pump.cancel()

    def data_received(self, data: bytes) -> None:
        if self._missing:
            self._take(data)
            return
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head, rest = bytes(self._buffer[:end]), bytes(self._buffer[end + 4 :])
        self._buffer.clear()
        method, self._path, _ = head.split(b" ", 2)
        self._size = self._missing = 0 if method == b"GET" else _length(head)
        if self._missing:
            self._take(rest)
        elif self._path.endswith(b".png"):
            self._pump = asyncio.get_running_loop().create_task(self._picture(self._path))
        else:
            self._transport.write(self._site.answer(self._path, b""))

    def _take(self, data: bytes) -> None:
        self._missing -= len(data)
        if self._size <= _PIECE:
            self._buffer += data
        if not self._missing:
            body = bytes(self._buffer)
            self._buffer.clear()
            self._transport.write(self._site.answer(self._path, body))

    async def _picture(self, path: bytes) -> None:
        """Send as many megabytes of PNG as the path asks for, in `/8mb/name.png`."""
        size = int(path.split(b"/")[1].removesuffix(b"mb")) << 20
        head = _HEAD.format(status="200 OK", kind="image/png", size=size)
        self._transport.write(head.encode() + _PNG_START)
        left = size - len(_PNG_START) - len(_PNG_END)
        piece = memoryview(bytes(_PIECE))
        while left and not self._transport.is_closing():
            await self._writable.wait()
            self._transport.write(piece[:left])
            left -= min(left, _PIECE)
        self._transport.write(_PNG_END)


@functools.cache
def _plan(words: bytes) -> tuple[int, int, bytes]:
    """What a path such as `13-40`, `13-40-list` or `1-1x64` asks for."""
    every, end = words.removesuffix(b"-list").split(b"-")
    end, _, size = end.partition(b"x")
    return int(every), int(end) or _FOREVER, b"/%bmb/" % (size or b"8")


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    site = Site()
    server = await loop.create_server(lambda: Connection(site), "127.0.0.1", 0, backlog=4096)
    site.opened(server.sockets[0].getsockname()[1])
    sys.stdout.write(f"http://127.0.0.1:{site.port}\n")
    sys.stdout.flush()
    async with server:
        await loop.run_in_executor(None, sys.stdin.read)  # until whoever started it is gone


def main() -> None:
    """Serve on the second core, where there is one, until standard input ends."""
    pin(-1)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve())


if __name__ == "__main__":
    main()

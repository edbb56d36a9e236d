"""A server with minimal cost: prepared replies, a protocol by hand, a process of its own.

The first part of a path is the plan of its tasks. With `/13-40`, a task changes at every 13th poll
and is finished at the 40th; with `/13-40-list` there is also a list endpoint; with `/1-1x64` a
picture has 64 MB instead of 8. Neighbours do not change at the same poll. A task exists from its
first poll. `GET /counts` returns the number of requests since the last time.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import re
import socket
import sys
from typing import Final

import orjson

from . import payloads
from .harness import pin

__all__ = ["Site"]

_ID: Final = b"################"
_FOREVER: Final = 1 << 60
_SMALL: Final = 1 << 18
"""Longer requests are discarded as they arrive; longer responses are sent in pieces."""
_RUNNING: Final = tuple(payloads.running(_ID.decode(), percent) for percent in range(100))
_NOT_FOUND: Final = (
    b'{"timestamp":1760000000000,"status":404,"error":"Not Found","path":"/mj/task"}'
)
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


def _response(body: bytes, status: str = "200 OK", kind: str = "application/json") -> bytes:
    head = (
        f"HTTP/1.1 {status}\r\nServer: nginx\r\nDate: Mon, 05 Jan 2026 12:00:00 GMT\r\n"
        f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: keep-alive\r\n\r\n"
    )
    return head.encode() + body


@functools.cache
def _picture(megabytes: int) -> bytes:
    start, end = b"\x89PNG\r\n\x1a\n", b"\0\0\0\0IEND\xaeB`\x82"
    size = (megabytes << 20) - len(start) - len(end)
    return _response(start + bytes(size) + end, kind="image/png")


@functools.cache
def _parse_plan(plan: bytes) -> tuple[int, int, bytes]:
    """Return the period of changes, the poll of the end, and the path of the picture's size."""
    period, end = plan.removesuffix(b"-list").split(b"-")
    end, _, size = end.partition(b"x")
    return int(period), int(end) or _FOREVER, b"/%bmb/" % (size or b"8")


class Site:
    """The tasks, and the number of polls of each."""

    def __init__(self, url: str = "http://127.0.0.1:12345") -> None:
        self._success = payloads.success(_ID.decode(), url)
        self._polls: dict[bytes, int] = {}
        self._ids = itertools.count(1760000000000000)
        self._counts = dict.fromkeys(("polls", "submits"), 0)

    def respond(self, path: bytes, body: bytes) -> bytes:
        """Return the response to a request; of a large one, the body is empty."""
        plan, _, operation = path[1:].partition(b"/")
        if operation.endswith(b".png"):
            return _picture(int(plan.removesuffix(b"mb")))
        if operation.endswith(b"/fetch"):
            return _response(self._poll(plan, operation.split(b"/")[2]))
        if operation.endswith(b"/list-by-condition"):
            if not plan.endswith(b"-list"):
                return _response(_NOT_FOUND, "404 Not Found")
            tasks = (self._poll(plan, task_id.encode()) for task_id in orjson.loads(body)["ids"])
            return _response(b"[%b]" % b",".join(tasks))
        if operation.startswith(b"mj/submit/"):
            self._counts["submits"] += 1
            result = {"code": 1, "description": "提交成功", "result": str(next(self._ids))}
            return _response(orjson.dumps({**result, "properties": {}}))
        counted, self._counts = self._counts, dict.fromkeys(self._counts, 0)
        return _response(orjson.dumps(counted))

    def _poll(self, plan: bytes, task_id: bytes) -> bytes:
        self._counts["polls"] += 1
        polls = self._polls[task_id] = self._polls.get(task_id, 0) + 1
        period, end, size = _parse_plan(plan)
        if polls >= end:
            return self._success.replace(_ID, task_id).replace(b"/8mb/", size)
        offset = int(task_id[-4:]) % period
        return _RUNNING[(polls + offset) // period % 100].replace(_ID, task_id)


class Connection(asyncio.Protocol):
    """One connection: requests one after the other."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._head = b""
        self._body = bytearray()
        self._missing = 0
        self._unsent = memoryview(b"")
        self._is_paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for the type checker
        self._transport = transport

    def pause_writing(self) -> None:
        self._is_paused = True

    def resume_writing(self) -> None:
        self._is_paused = False
        self._send()

    def _send(self) -> None:
        while self._unsent and not self._is_paused:
            self._transport.write(self._unsent[:_SMALL])
            self._unsent = self._unsent[_SMALL:]

    def data_received(self, data: bytes) -> None:
        if not self._missing:
            self._body += data
            end = self._body.find(b"\r\n\r\n") + 4
            if end < 4:
                return
            self._head = bytes(self._body[:end])
            data = bytes(self._body[end:])
            self._body.clear()
            length = _LENGTH.search(self._head)
            self._size = self._missing = int(length[1]) if length else 0
        self._missing -= len(data)
        if self._size <= _SMALL:
            self._body += data
        if not self._missing:
            body = bytes(self._body)
            self._body.clear()
            self._unsent = memoryview(self._site.respond(self._head.split(b" ", 2)[1], body))
            self._send()


async def _serve() -> None:
    """Serve until standard input ends."""
    loop = asyncio.get_running_loop()
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    site = Site(url)
    server = await loop.create_server(lambda: Connection(site), sock=listener, backlog=4096)
    sys.stdout.write(f"{url}\n")
    sys.stdout.flush()
    async with server:
        await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    pin(-1)
    asyncio.run(_serve())

"""A server with prepared answers, byte for byte, and a client that never retries."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import attrs
import orjson

import mjasync
from mjasync import Client, Retries
from mjasync._media.files import read_all
from support.loopback import serving_streams

TOKEN = "sk-a-token-that-nobody-may-see"


@attrs.define
class Answering:
    """The URL of a scripted server, its answers and the requests it has received."""

    url: str = ""
    answers: list[bytes | None] = attrs.field(factory=list, repr=False)
    """Its answers in turn, the last one from then on; None cuts the connection."""
    asked: list[bytes] = attrs.field(factory=list, repr=False)
    """Every request, head and body."""

    @property
    def paths(self) -> list[str]:
        """The requested paths."""
        return [request.split(b" ", 2)[1].decode() for request in self.asked]


def http(status: int, body: object = b"", headers: Mapping[str, str] | None = None) -> bytes:
    """Return a response as it is sent: bytes and text unchanged, the rest as JSON."""
    payload = as_bytes(body)
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(payload)}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join((*lines, "", "")).encode() + payload


def as_bytes(body: object) -> bytes:
    """Return a body: bytes and text unchanged, the rest as JSON."""
    if isinstance(body, str):
        return body.encode()
    return body if isinstance(body, bytes) else orjson.dumps(body)


@asynccontextmanager
async def answering(*answers: bytes | None, hang: bool = False) -> AsyncIterator[Answering]:
    """Serve the answers in turn, the last one from then on; None cuts the connection."""
    server = Answering(answers=list(answers))

    async def handle(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, over: asyncio.Event
    ) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            server.asked.append(head + await reader.readexactly(length_of(head)))
            answer = server.answers[min(len(server.asked), len(server.answers)) - 1]
            if hang:
                await over.wait()
            if answer is None:
                writer.transport.abort()
                return
            writer.write(answer)
            await writer.drain()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    async with serving_streams(handle) as server.url:
        yield server


def length_of(head: bytes) -> int:
    """Return the Content-Length of a request, 0 if it has none."""
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0


def asking(url: str, **options: object) -> Client:
    """Make a client that never retries."""
    return Client(url, TOKEN, **{"retries": Retries.none(), "reconcile": False, **options})


async def submit(mj: Client, url: str) -> object:
    """Submit a prompt."""
    return await mj.imagine("a fox").submit()


async def fetch(mj: Client, url: str) -> object:
    """Fetch one task."""
    return await mj.task("1700000000000001").refresh()


async def list_tasks(mj: Client, url: str) -> object:
    """Fetch a list of tasks."""
    return await mj._context.api.fetch_many(["1700000000000001"], mj._context.api.retries.read)


async def image(mj: Client, url: str) -> object:
    """Download a picture."""
    return await mj._context.api.download(f"{url}/picture.png", read_all)


CALLS: dict[str, Callable[[Client, str], Awaitable[Any]]] = {
    "submit": submit,
    "fetch": fetch,
    "list": list_tasks,
    "image": image,
}


def picture(link: object, **more: object) -> bytes:
    """Return a finished task whose picture is at a link."""
    task = {"id": "17", "status": "SUCCESS", "action": "IMAGINE", "imageUrl": link, "buttons": []}
    return http(200, {**task, **more})


@asynccontextmanager
async def finished(server: Answering, **options: Any) -> AsyncIterator[mjasync.Task]:  # noqa: ANN401
    """Yield the task that a server returns."""
    async with asking(server.url, **options) as mj:
        yield await mj.task("17").refresh()

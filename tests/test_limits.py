"""How much of an answer is taken in, and for how long."""

from __future__ import annotations

import asyncio
import gzip
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import attrs
import pytest

import mjasync
from mjasync import ConfigurationError, Limits, ReplyTooLarge, SubmitUncertain
from mjasync._http.streams import TimedStream
from support.loopback import serving_streams
from support.pictures import FILES
from support.scripted_server import answering, asking, http
from support.waiting import eventually

MEGABYTE = 1 << 20
PICTURE = {"id": "17", "status": "SUCCESS", "action": "IMAGINE", "buttons": []}


@attrs.define
class Pouring:
    """A server whose answer has a beginning and no end."""

    url: str = ""
    asked: int = 0
    sent: int = 0


@asynccontextmanager
async def pouring(start: bytes, piece: bytes) -> AsyncIterator[Pouring]:
    """Send a beginning, then the same piece for ever; nothing more where that is empty."""
    server = Pouring()

    async def handle(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, over: asyncio.Event
    ) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(start)
            server.asked += 1
            while piece:
                writer.write(piece)
                server.sent += len(piece)
                await writer.drain()
            await over.wait()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async with serving_streams(handle) as server.url:
        yield server


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize("head", [HEAD + b"\r\n[", HEAD + b"Content-Length: 999999999999\r\n\r\n["])
async def test_an_endless_answer_ends(head: bytes) -> None:
    """A read is refused, once; a submission is uncertain; closing does not wait for it."""
    limits = Limits(reply=MEGABYTE)
    async with pouring(head, b" " * 65536) as server:
        async with asking(server.url, limits=limits, retries=None) as mj:
            with pytest.raises(ReplyTooLarge, match=r"longer than 1 MiB.*Limits\(reply=1048576\)"):
                await mj.tasks()
            with pytest.raises(ReplyTooLarge):
                await mj.task("17").refresh()
            assert server.sent < 40 * MEGABYTE  # of which the sockets held most
        async with asking(server.url, limits=limits) as mj:
            with pytest.raises(SubmitUncertain, match="longer than 1 MiB"):
                await mj.imagine("a fox").submit()


async def test_a_bomb_is_not_unpacked() -> None:
    """The limit is on what comes out."""
    bomb = gzip.compress(bytes(64 * MEGABYTE), 6)
    reply = http(200, bomb, {"Content-Encoding": "gzip"})
    limits = Limits(reply=MEGABYTE)
    tracemalloc.start()
    try:
        async with answering(reply) as server, asking(server.url, limits=limits) as mj:
            with pytest.raises(ReplyTooLarge, match="longer than 1 MiB"):
                await mj.tasks()
            with pytest.raises(ReplyTooLarge):
                await mj.task("17").refresh()
        assert tracemalloc.get_traced_memory()[1] < 16 * MEGABYTE
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("use", ["read", "save", "images"])
@pytest.mark.parametrize("kind", ["picture", "video"])
async def test_a_picture_without_an_end_does_not_fill_the_disk(
    use: str, kind: str, tmp_path: Path
) -> None:
    """It is refused as soon as it is too long, and nothing is left behind."""
    start = FILES["mp4" if kind == "video" else "jpg"][:40]
    limits = Limits(picture=MEGABYTE, video=2 * MEGABYTE)
    async with pouring(b"HTTP/1.1 200 OK\r\n\r\n" + start, bytes(65536)) as files:
        task = {**PICTURE, "imageUrl": f"{files.url}/a.png"}
        async with answering(http(200, task)) as server, asking(server.url, limits=limits) as mj:
            job = await mj.task("17").refresh()
            uses: dict[str, Any] = {"read": job.read, "images": job.images}
            words = (
                r"video is longer than 2 MiB" if kind == "video" else r"picture is longer than 1"
            )
            with pytest.raises(ReplyTooLarge, match=words):
                await (job.save(tmp_path) if use == "save" else uses[use]())
    assert not [*tmp_path.iterdir()]


async def test_an_answer_that_trickles_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """However small its pieces are, a whole exchange has twice its timeout."""
    loop, timers = asyncio.get_running_loop(), []
    call_later = loop.call_later

    def note(seconds: float, *what: Any) -> asyncio.TimerHandle:  # noqa: ANN401
        timers.append((seconds, what[0]))
        return call_later(seconds, *what)

    async with pouring(HEAD + b"\r\n[", b"") as server, asking(server.url, read_timeout=50) as mj:
        monkeypatch.setattr(loop, "call_later", note)
        reading = asyncio.create_task(mj.tasks())
        await eventually(lambda: server.asked == 1)
        ring = next(what for seconds, what in timers if seconds == 100)
        mj._context.api.transport._active_count = (
            1000  # it may be waiting for a connection: the same again
        )
        ring()
        assert [seconds for seconds, _ in timers].count(100) == 2
        mj._context.api.transport._active_count = 1
        ring()
        with pytest.raises(mjasync.RequestTimeout):
            await reading


async def test_a_submission_that_waits_for_a_connection_is_not_late(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who else uses the connections of a session that was given, nobody knows."""
    loop, timers = asyncio.get_running_loop(), []
    call_later = loop.call_later

    def note(seconds: float, *what: Any) -> asyncio.TimerHandle:  # noqa: ANN401
        timers.append(seconds)
        return call_later(seconds, *what)

    connector = aiohttp.TCPConnector(limit=1)
    receipt = http(200, {"code": 1, "result": "17"})
    async with (
        pouring(HEAD + b"\r\n[", b"") as slow,
        answering(receipt) as server,
        aiohttp.ClientSession(connector=connector) as session,
        asking(server.url, session=session, submit_timeout=50) as mj,
    ):
        monkeypatch.setattr(loop, "call_later", note)
        async with session.get(slow.url):  # has the only connection
            submitting = asyncio.create_task(mj.imagine("a fox").submit())
            await eventually(lambda: bool(connector._waiters))
            assert 100 not in timers
        assert (await submitting).id == "17"
    assert 100 in timers


@pytest.mark.parametrize("name", ["reply", "picture", "video"])
@pytest.mark.parametrize("size", [0, -1, None, 1.5, True, "1"])
def test_limits_that_make_no_sense(name: str, size: Any) -> None:  # noqa: ANN401
    """They are refused when they are made."""
    with pytest.raises(ConfigurationError, match=rf"Limits\({name}=…\)"):
        Limits(**{name: size})


async def test_a_picture_that_trickles_ends() -> None:
    """Less than a kilobyte a second, for ten times `read_timeout`, is too little."""
    found: list[TimedStream] = []

    async def consume(pieces: AsyncIterator[bytes]) -> None:
        assert isinstance(pieces, TimedStream)
        found.append(pieces)
        async for _ in pieces:
            pass

    start = b"HTTP/1.1 200 OK\r\n\r\n" + FILES["jpg"][:80]
    async with pouring(start, b"") as server, asking(server.url, read_timeout=50) as mj:
        reading = asyncio.create_task(mj._context.api.download(f"{server.url}/a.jpg", consume))
        await eventually(lambda: bool(found) and found[0]._awaited_since is not None)
        (pieces,), now = found, asyncio.get_running_loop().time()
        pieces._started_at = now - 499
        pieces._check_speed()
        assert pieces._limit.when() is None
        pieces.close()  # what the second look would have set again
        pieces._started_at = now - 501
        pieces._check_speed()
        with pytest.raises(mjasync.RequestTimeout):
            await reading


async def test_closing_does_not_wait_for_an_answer_without_an_end() -> None:
    """A submission on the wire is finished first; its answer ends at the limit."""
    async with pouring(HEAD + b"\r\n[", b" " * 65536) as server:
        mj = asking(server.url, limits=Limits(reply=MEGABYTE))
        submitting = asyncio.create_task(mj.imagine("a fox").submit())
        await eventually(lambda: server.sent > 0)
        await mj.close()
        with pytest.raises(SubmitUncertain):
            await submitting

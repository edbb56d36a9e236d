"""How many connections a client has, how long it keeps them, and what it says without any."""

from __future__ import annotations

import asyncio
import pickle
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import cast

import aiohttp
import pytest

import mjasync
from mjasync import Schedule
from mjasync._http.transport import PollDeadlines, TimedStream
from mjasync.simulator import Simulator
from support.clients import connect
from support.loopback import serving_streams
from support.scripted_server import answering, asking, http
from support.waiting import turns

resource = pytest.importorskip("resource", reason="this system has no such limits")

CROWDED = """
import asyncio, os, pickle, resource, sys

import mjasync


async def main(url):
    async with mjasync.Client(url, "sim-token", retries=mjasync.Retries.none()) as mj:
        task, files = mj.imagine("a fox"), []
        try:
            while True:
                files.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            pass
        outcomes = await asyncio.gather(task.submit(), mj.tasks(), return_exceptions=True)
        for file in files:
            os.close(file)
        assert len(await mj.fetch(["1", "2"])) == 0
    sys.stdout.buffer.write(pickle.dumps(outcomes))


resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
asyncio.run(main(sys.argv[1]))
"""


async def test_connections_outlive_the_pauses_between_looks(plain: Simulator) -> None:
    """An idle connection is kept for longer than any look is put off by default."""
    async with connect(plain) as mj:
        connector = mj._context.api.transport.sessions.for_server().connector
        assert connector is not None
        assert connector._keepalive_timeout > 3 * Schedule().max_interval


@pytest.mark.parametrize("files, connections", [(64, 32), (100_000, 500), (1, 1)])
async def test_connections_leave_files_to_others(
    files: int, connections: int, plain: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There are at most 500 connections, and at most half of what the process may open."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (files, files))
    async with connect(plain) as mj:
        connector = mj._context.api.transport.sessions.for_server().connector
        assert connector is not None
        assert connector.limit == mj._context.api.transport.connection_limit == connections


async def test_no_limit_of_files(plain: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where files are not limited, connections still are."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY,) * 2)
    async with connect(plain) as mj:
        assert mj._context.api.transport.connection_limit == 500


async def test_a_wait_for_a_connection_is_no_timeout(plain: Simulator) -> None:
    """Only silence on the wire times a request out: what waits for a connection just waits."""
    async with connect(plain) as mj:
        limits = mj._context.api.transport._limits(30.0)
        assert (limits.total, limits.connect, limits.sock_read) == (None, None, 30.0)


@pytest.mark.slow
async def test_out_of_files() -> None:
    """With no descriptor left it says how many there are and what to do; then it goes on."""
    async with Simulator(time_scale=0, draw=False, token="sim-token") as sim:
        run = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", CROWDED, sim.url],
            stdout=subprocess.PIPE,
            check=True,
        )
    for error in pickle.loads(run.stdout):  # noqa: S301 - our own
        assert type(error) is mjasync.TooManyOpenFiles
        assert error.retryable
        assert "this process (64) may have open" in str(error)
        assert "ulimit -n" in str(error)
    assert not sim.submissions


async def test_a_look_without_an_answer_ends_in_time() -> None:
    """Where the server is silent, a look at a waiting task is over after `read_timeout`."""
    async with (
        answering(http(200), hang=True) as server,
        asking(server.url, read_timeout=0.05) as mj,
    ):
        with pytest.raises(mjasync.RequestTimeout, match=r"0\.05 s"):
            await mj.task("1700000000000001")
        assert len(server.asked) <= 1  # it may end before the server has read the request


async def look(patience: PollDeadlines, begun: asyncio.Event) -> bool:
    """Wait for ever, with no patience at all; whether that is why it ended."""
    me = asyncio.current_task()
    assert me is not None
    patience.start(me, 0)
    begun.set()
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        if not patience.expired(me):
            raise
        return True
    finally:
        patience.stop(me)
    return False


async def test_a_look_that_is_cancelled_as_its_time_is_up_is_cancelled() -> None:
    """Somebody's wish to cancel counts for more than a look's own lateness."""
    patience, begun = PollDeadlines(lambda _: False), asyncio.Event()
    late = asyncio.create_task(look(patience, begun))
    assert await late
    assert not late.cancelling()
    begun.clear()
    both = asyncio.create_task(look(patience, begun))
    await begun.wait()
    patience._check(0)
    both.cancel()
    with pytest.raises(asyncio.CancelledError):
        await both
    patience.close()


async def test_looks_are_not_late_for_want_of_a_connection() -> None:
    """While looks may still be waiting for a free connection, none of them is cut off."""
    crowds = iter([True, True, False])
    assert await look(PollDeadlines(lambda looks: looks == 1 and next(crowds)), asyncio.Event())
    assert not [*crowds]


async def test_a_picture_that_stops_coming_ends_in_time() -> None:
    """A picture of which no more comes is given up after `read_timeout`, whatever came before."""
    go_on = asyncio.Event()

    async def handle(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, over: asyncio.Event
    ) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(http(200, b"\x89PNG\r\n\x1a\n" + bytes(1000))[:-500])
        await go_on.wait()
        writer.write(bytes(100))
        await over.wait()
        writer.close()

    async def consume(pieces: AsyncIterator[bytes]) -> None:
        async for _ in pieces:
            go_on.set()

    silent = "http://127.0.0.1:9"
    async with serving_streams(handle) as url, asking(silent, read_timeout=0.05) as mj:
        with pytest.raises(mjasync.RequestTimeout):
            await mj._context.api.download(f"{url}/fox.png", consume)


class Arriving:
    """An answer of which a piece comes whenever a test wants it."""

    connection = None

    def __init__(self) -> None:
        self.content = self
        self.pieces: asyncio.Queue[bytes] = asyncio.Queue()

    async def readany(self) -> bytes:
        """The next piece."""
        return await self.pieces.get()


async def test_each_piece_of_a_picture_has_its_time() -> None:
    """However long a picture takes: it is late when one piece is, and not while it is written."""
    arriving, loop = Arriving(), asyncio.get_running_loop()
    async with asyncio.timeout(None) as limit:
        pieces = TimedStream(cast("aiohttp.ClientResponse", arriving), limit, 1000)
        arriving.pieces.put_nowait(b"one" * 22)
        assert await pieces.read_head() == b"one" * 22
        assert await anext(pieces) == b"one" * 22
        assert pieces._awaited_since is None  # what was read is being written, for any time
        pieces._check_speed()
        assert limit.when() is None
        waiting = asyncio.create_task(anext(pieces, b""))
        await turns(2)
        pieces._awaited_since = loop.time() - 999
        pieces._check_speed()
        assert limit.when() is None
        pieces._awaited_since = loop.time() - 1001
        pieces._check_speed()
        assert limit.when() is not None
        limit.reschedule(None)
        arriving.pieces.put_nowait(b"")
        assert await waiting == b""
        pieces.close()

"""Pictures in and out: how fast they come to disk, in how much memory, and who waits meanwhile."""

from __future__ import annotations

import asyncio
import operator
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import aiohttp

from mjasync import Client, Task

from . import by_hand
from .harness import Rounds, alternate, in_processes, process, ratios, rounds_in, unpin
from .memory import forget_peak, peak_bytes
from .row import Row, row_of

__all__ = ["downloads", "stall"]

_MEGABYTES: Final = 64
_LARGE: Final = 200
_CHUNK: Final = 1 << 18
"""Bytes the loop written by hand takes at a time."""
_SMALL_ENOUGH: Final = 16.0
"""MB: what "a few chunks" may come to."""
_TICK: Final = 0.005
_INTERVAL: Final = 2.0
_STALL: Final = 50.0
_PNG: Final = b"\x89PNG\r\n\x1a\n%b\0\0\0\0IEND\xaeB`\x82"
_SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - no disk, no disk's moods


def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(dir=_SHARED_MEMORY if _SHARED_MEMORY.is_dir() else None)


# --- downloads ---


async def _stream_by_hand(session: aiohttp.ClientSession, url: str, path: Path) -> None:
    async with session.get(url) as response:
        with path.open("wb") as file:
            async for chunk in response.content.iter_chunked(_CHUNK):
                file.write(chunk)


async def _seconds(work: Callable[[], Awaitable[Any]]) -> float:
    begun = time.perf_counter()
    await work()
    return time.perf_counter() - begun


async def download_rounds(server: str, seconds: str) -> Rounds:
    """Seconds to get a file to its place, in one process."""
    unpin()
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(_folder()))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        mj = await stack.enter_async_context(Client(f"{server}/1-1x{_MEGABYTES}", ""))
        task = await mj.task(str(time.time_ns() // 1000))
        url = f"{server}/{_MEGABYTES}mb/by-hand.png"
        sides = {
            "raw": lambda: _seconds(lambda: _stream_by_hand(session, url, folder / "raw.png")),
            "sdk": lambda: _seconds(lambda: task.save(folder / "sdk.png")),
            "null": lambda: _seconds(lambda: _stream_by_hand(session, url, folder / "raw.png")),
        }
        return await alternate(sides, float(seconds))


async def download_peak(server: str) -> float:
    """MB that the process grows by when it saves a large file, after a small one."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(_folder()))
        small = await stack.enter_async_context(Client(f"{server}/1-1x1", ""))
        large = await stack.enter_async_context(Client(f"{server}/1-1x{_LARGE}", ""))
        task = await large.task(str(time.time_ns() // 1000))
        await (await small.task(str(time.time_ns() // 1000))).save(folder / "small.png")
        forget_peak()
        before = peak_bytes()
        await task.save(folder / "large.png")
        return (peak_bytes() - before) / (1 << 20)


def downloads(processes: int = 4, seconds: float = 5.0) -> list[Row]:
    """Throughput to a file, and peak memory for a large one."""
    with process("benchmarks.server") as server:
        found = rounds_in("pictures:download_rounds", processes, server, seconds)
        peaks = in_processes("pictures:download_peak", processes, server)
    speeds = {side: _MEGABYTES / min(costs[side] for costs in found) for side in ("raw", "sdk")}
    return [
        row_of(
            "throughput of a download to a file / aiohttp streaming by hand",
            ratios(found, "raw", "sdk"),
            nulls=ratios(found, "raw", "null"),
            bar=0.90,
            at_least=True,
            note=f"{speeds['sdk']:.0f} MB/s, by hand {speeds['raw']:.0f} MB/s",
        ),
        row_of(
            f"growth of peak memory for a file of {_LARGE} MB",
            peaks,
            bar=_SMALL_ENOUGH,
            unit="MB",
        ),
    ]


# --- stalls ---


def taken_by_others(ready: float, threads: float) -> float:
    """Of the seconds the loop stood ready, those that its own process did not take from it.

    Args:
        ready: Seconds that its thread waited for the one processor the process has.
        threads: CPU seconds that the other threads of the process took meanwhile.
    """
    return max(0.0, ready - threads)


class Heartbeat:
    """Notices how late the event loop is for an appointment every few milliseconds.

    Time the loop stood ready while other programs had its processor does not count, where the
    system tells (Linux): they are not its fault. The other threads of its own process are.
    """

    def __init__(self) -> None:
        self.worst = 0.0
        self._loop = asyncio.get_running_loop()
        self._schedstat = Path("/proc/thread-self/schedstat")
        self._handle = self._next()

    def _next(self) -> asyncio.TimerHandle:
        self._before = self._clocks()
        self._due = self._loop.time() + _TICK
        return self._loop.call_at(self._due, self._beat)

    def _beat(self) -> None:
        late = self._loop.time() - self._due
        ready, threads = map(operator.sub, self._clocks(), self._before)
        self.worst = max(self.worst, late - taken_by_others(ready, threads))
        self._handle = self._next()

    def _clocks(self) -> tuple[float, float]:
        """Seconds in all that this thread stood ready, and that other threads of ours ran."""
        threads = time.process_time() - time.thread_time()
        try:
            return int(self._schedstat.read_bytes().split()[1]) / 1e9, threads
        except OSError:
            return 0.0, threads

    def stop(self) -> float:
        """Milliseconds of the worst delay."""
        self._handle.cancel()
        return 1000 * self.worst


async def stall_sdk(server: str, tasks: str, jobs: str) -> dict[str, float]:
    """Worst stall while many Tasks wait, and some send and fetch pictures."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(_folder()))
        pictures = [folder / f"reference-{n}.png" for n in range(5)]
        for picture in pictures:
            picture.write_bytes(_PNG % bytes((8 << 20) - 20))
        mj = await stack.enter_async_context(Client(f"{server}/7-0-list", ""))
        ready = await stack.enter_async_context(Client(f"{server}/1-1-list", ""))
        ids = range(time.time_ns() // 1000, 1 << 60)
        waiting = [asyncio.create_task(mj.task(str(ids[n])).wait()) for n in range(int(tasks))]
        await asyncio.sleep(2 * _INTERVAL)
        heartbeat, begun = Heartbeat(), time.perf_counter()
        sends = (mj.imagine("a fox", images=pictures).submit() for _ in range(int(jobs)))
        finished = (ready.task(str(ids[1_000_000 + n])) for n in range(int(jobs)))
        saves = (_wait_and_save(task, folder) for task in finished)
        await asyncio.gather(*sends, *saves)
        took = time.perf_counter() - begun
        await asyncio.sleep(max(0.0, 2 * _INTERVAL - took))
        worst = heartbeat.stop()
        for one in waiting:
            one.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        return {"worst": worst, "seconds": max(took, 2 * _INTERVAL)}


async def _wait_and_save(task: Task, folder: Path) -> None:
    await task
    await task.save(folder / f"{task.id}.png")


async def stall_by_hand(server: str, tasks: str, seconds: str) -> float:
    """Worst stall of as many loops written by hand, as long, without a picture anywhere."""
    headers = {"mj-api-secret": by_hand.TOKEN}
    number = int(tasks)

    async def later(session: aiohttp.ClientSession, task_id: int) -> None:
        await asyncio.sleep(_INTERVAL * (task_id % number) / number)
        await by_hand.poll(session, f"{server}/7-0", str(task_id), interval=_INTERVAL)

    async with aiohttp.ClientSession(headers=headers) as session:
        first = time.time_ns() // 1000
        waiting = [asyncio.create_task(later(session, first + n)) for n in range(number)]
        await asyncio.sleep(2 * _INTERVAL)
        heartbeat = Heartbeat()
        await asyncio.sleep(float(seconds))
        worst = heartbeat.stop()
        for one in waiting:
            one.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        return worst


def stall(processes: int = 2, tasks: int = 2000, jobs: int = 20) -> list[Row]:
    """How long everybody waits for nothing while pictures are sent and fetched."""
    here, there = [], []
    with process("benchmarks.server") as server:
        for _ in range(processes):
            (sdk,) = in_processes("pictures:stall_sdk", 1, server, tasks, jobs)
            seconds = min(6.0, sdk["seconds"])
            there += in_processes("pictures:stall_by_hand", 1, server, tasks, seconds)
            here.append(sdk["worst"])
    base = statistics.fmean(there)
    extra, nulls = [one - base for one in here], [max(there) - min(there)]
    sides = (", ".join(f"{one:.0f}" for one in side) for side in (here, there))
    notes = "; by hand ".join(sides)
    return [
        row_of(
            f"worst stall of the event loop: {tasks:,} tasks wait, {jobs} send five pictures of "
            f"8 MB and {jobs} fetch one; beyond that of loops by hand without pictures",
            extra,
            nulls=nulls,
            bar=_STALL,
            unit="ms",
            note=f"ms: mjasync {notes}",
        )
    ]

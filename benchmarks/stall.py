"""The worst stall of the event loop while pictures are sent and saved."""

from __future__ import annotations

import asyncio
import operator
import statistics
import time
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Final

import aiohttp

from mjasync import Client, Task

from . import baselines
from .downloads import temporary_folder
from .harness import cancel, in_processes, process
from .row import Row, row_of

__all__ = ["stall"]

_TICK: Final = 0.005
_INTERVAL: Final = 2.0
"""Seconds between two polls of a loop by hand."""
_PNG: Final = b"\x89PNG\r\n\x1a\n%b\0\0\0\0IEND\xaeB`\x82" % bytes((8 << 20) - 20)


def taken_by_others(ready: float, threads: float) -> float:
    """Return how long other processes kept the event loop from its processor.

    Args:
        ready: Seconds that the thread of the loop waited for the processor.
        threads: CPU seconds of the other threads of this process meanwhile.
    """
    return max(0.0, ready - threads)


class Heartbeat:
    """Measures how late the event loop is for an appointment every few milliseconds.

    On Linux, time that other processes used the processor does not count. Time that other threads
    of this process used it does.
    """

    def __init__(self) -> None:
        self.worst = 0.0
        self._loop = asyncio.get_running_loop()
        self._schedule()

    def _schedule(self) -> None:
        self._clocks_before = self._clocks()
        self._due = self._loop.time() + _TICK
        self._handle = self._loop.call_at(self._due, self._beat)

    def _beat(self) -> None:
        late = self._loop.time() - self._due
        ready, threads = map(operator.sub, self._clocks(), self._clocks_before)
        self.worst = max(self.worst, late - taken_by_others(ready, threads))
        self._schedule()

    def _clocks(self) -> tuple[float, float]:
        """Return the seconds that this thread was ready, and that other threads of ours ran."""
        threads = time.process_time() - time.thread_time()
        try:
            schedstat = Path("/proc/thread-self/schedstat").read_bytes()
        except OSError:
            return 0.0, threads
        return int(schedstat.split()[1]) / 1e9, threads

    def stop(self) -> float:
        """Stop measuring; return the milliseconds of the worst delay."""
        self._handle.cancel()
        return 1000 * self.worst


async def sdk_stall(server: str, tasks: str, jobs: str) -> tuple[float, float]:
    """Return the worst stall while many Tasks wait and some transfer pictures, and its seconds."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(temporary_folder()))
        pictures = [folder / f"reference-{n}.png" for n in range(5)]
        for picture in pictures:
            picture.write_bytes(_PNG)
        mj = await stack.enter_async_context(Client(f"{server}/7-0-list", ""))
        finished = await stack.enter_async_context(Client(f"{server}/1-1-list", ""))
        ids = range(time.time_ns() // 1000, 1 << 60)
        waiting = [asyncio.create_task(mj.task(str(ids[n])).wait()) for n in range(int(tasks))]
        await asyncio.sleep(2 * _INTERVAL)
        heartbeat, start = Heartbeat(), time.monotonic()

        async def wait_and_save(task: Task) -> None:
            await (await task).save(folder / f"{task.id}.png")

        await asyncio.gather(
            *(mj.imagine("a fox", images=pictures).submit() for _ in range(int(jobs))),
            *(wait_and_save(finished.task(str(ids[1_000_000 + n]))) for n in range(int(jobs))),
        )
        await asyncio.sleep(start + 2 * _INTERVAL - time.monotonic())
        worst = heartbeat.stop()
        seconds = time.monotonic() - start
        await cancel(waiting)
        return worst, seconds


async def baseline_stall(server: str, tasks: str, seconds: str) -> float:
    """Return the worst stall of as many loops by hand, for as long, without pictures."""
    number, first = int(tasks), time.time_ns() // 1000

    async def poll(session: aiohttp.ClientSession, index: int) -> None:
        await asyncio.sleep(_INTERVAL * index / number)
        pause = partial(asyncio.sleep, _INTERVAL)
        await baselines.poll(session, f"{server}/7-0", str(first + index), pause)

    async with aiohttp.ClientSession(headers=baselines.HEADERS) as session:
        waiting = [asyncio.create_task(poll(session, index)) for index in range(number)]
        await asyncio.sleep(2 * _INTERVAL)
        heartbeat = Heartbeat()
        await asyncio.sleep(float(seconds))
        worst = heartbeat.stop()
        await cancel(waiting)
        return worst


def stall(processes: int = 2, tasks: int = 2000, jobs: int = 20) -> list[Row]:
    """Compare the worst stall with that of loops by hand that transfer no pictures."""
    sdk: list[float] = []
    baseline: list[float] = []
    with process("server") as server:
        for _ in range(processes):
            ((worst, seconds),) = in_processes("stall:sdk_stall", 1, server, tasks, jobs)
            sdk.append(worst)
            baseline += in_processes("stall:baseline_stall", 1, server, tasks, min(6.0, seconds))
    sides = (", ".join(f"{worst:.0f}" for worst in side) for side in (sdk, baseline))
    return [
        row_of(
            f"worst stall of the event loop: {tasks:,} tasks wait, {jobs} send five pictures of "
            f"8 MB and {jobs} fetch one; beyond that of loops by hand without pictures",
            [worst - statistics.fmean(baseline) for worst in sdk],
            nulls=[max(baseline) - min(baseline)],
            bar=50.0,
            unit="ms",
            note=f"ms: mjasync {'; by hand '.join(sides)}",
        )
    ]

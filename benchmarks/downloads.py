"""Throughput of a download to a file, and peak memory for a large file."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import aiohttp

from mjasync import Client

from .harness import Rounds, alternate, cores, process, ratios, rounds_in
from .imports import run_command
from .row import Row, row_of

__all__ = ["downloads", "temporary_folder"]

_MEGABYTES: Final = 64
_LARGE: Final = 200
_CHUNK: Final = 1 << 18
_SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - excludes the speed of the disk


def temporary_folder() -> tempfile.TemporaryDirectory[str]:
    """Return a new folder, in memory where the system has such folders."""
    return tempfile.TemporaryDirectory(dir=_SHARED_MEMORY if _SHARED_MEMORY.is_dir() else None)


async def _stream(session: aiohttp.ClientSession, url: str, path: Path) -> None:
    async with session.get(url) as response:
        with path.open("wb") as file:
            async for chunk in response.content.iter_chunked(_CHUNK):
                file.write(chunk)


async def _seconds(work: Callable[[], Awaitable[Any]]) -> float:
    start = time.perf_counter()
    await work()
    return time.perf_counter() - start


async def download_rounds(server: str, seconds: str) -> Rounds:
    """Measure the seconds of a download, in one process on all processors."""
    if cores():
        os.sched_setaffinity(0, range(os.cpu_count() or 1))
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(temporary_folder()))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        mj = await stack.enter_async_context(Client(f"{server}/1-1x{_MEGABYTES}", ""))
        task = await mj.task(str(time.time_ns() // 1000))
        url = f"{server}/{_MEGABYTES}mb/by-hand.png"

        async def baseline() -> float:
            return await _seconds(lambda: _stream(session, url, folder / "baseline.png"))

        async def sdk() -> float:
            return await _seconds(lambda: task.save(folder / "sdk.png"))

        sides = {"baseline": baseline, "sdk": sdk, "null": baseline}
        return await alternate(sides, float(seconds))


async def save(server: str, megabytes: str) -> None:
    """Save one file."""
    async with Client(f"{server}/1-1x{megabytes}", "") as mj:
        task = await mj.task(str(time.time_ns() // 1000))
        with temporary_folder() as folder:
            await task.save(Path(folder) / "picture.png")


def _peaks(server: str, megabytes: int, runs: int) -> list[float]:
    """Return the peak memory in MB of processes that save one file."""
    command = ("-m", "benchmarks.harness", "downloads:save", server, str(megabytes))
    return [run_command(*command)[1] / (1 << 20) for _ in range(runs)]


def downloads(processes: int = 4, seconds: float = 5.0) -> list[Row]:
    """Compare a download with aiohttp's streaming, and a large file with a small one."""
    with process("server") as server:
        rounds = rounds_in("downloads:download_rounds", processes, server, seconds)
        small, large = (_peaks(server, size, processes) for size in (1, _LARGE))
    speeds = {
        side: _MEGABYTES / min(costs[side] for costs in rounds) for side in ("baseline", "sdk")
    }
    return [
        row_of(
            "throughput of a download to a file / aiohttp streaming by hand",
            ratios(rounds, "baseline", "sdk"),
            nulls=ratios(rounds, "baseline", "null"),
            bar=0.90,
            at_least=True,
            note=f"{speeds['sdk']:.0f} MB/s, by hand {speeds['baseline']:.0f} MB/s",
        ),
        row_of(
            f"growth of peak memory for a file of {_LARGE} MB",
            [high - low for high, low in zip(large, small, strict=True)],
            bar=16.0,
            unit="MB",
        ),
    ]

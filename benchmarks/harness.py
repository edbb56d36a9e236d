"""Paired measurements: sides take turns in one process, beside a null control.

A benchmark is an async function in a process of its own. Every round runs its sides forwards and
then backwards (A B C C B A), so that a change of the machine's speed affects all of them. A ratio
is computed within a round. Sides that cannot share a process have one each.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import itertools
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeAlias

import aiohttp
import orjson

__all__ = [
    "ROOT",
    "Rounds",
    "Side",
    "alternate",
    "cancel",
    "cores",
    "counts",
    "cpu_of",
    "in_processes",
    "median",
    "pin",
    "process",
    "ratios",
    "rounds_in",
]

Side: TypeAlias = Callable[[], Awaitable[float]]
"""Does some work and returns the cost of one unit of it."""
Rounds: TypeAlias = list[dict[str, float]]
"""One mapping for each round: the name of a side, and the mean cost of its two turns."""
ROOT: Final = Path(__file__).resolve().parent.parent


def cores() -> list[int]:
    """Return the processors of this process; none if the system does not list them."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def pin(index: int) -> None:
    """Use one processor only: the client the first, the server the last."""
    if len(cores()) > 1:
        os.sched_setaffinity(0, {cores()[index]})


async def cpu_of(work: Awaitable[Any]) -> float:
    """Return the CPU seconds of some work, in all threads, after collecting earlier garbage."""
    gc.collect()
    start = time.process_time()
    await work
    return time.process_time() - start


async def counts(server: str, session: aiohttp.ClientSession) -> Mapping[str, int]:
    """Return the requests that the server counted since the last call."""
    async with session.get(f"{server}/counts") as response:
        counted: dict[str, int] = orjson.loads(await response.read())
        return counted


async def cancel(waiting: Sequence[asyncio.Future[Any]]) -> None:
    """Cancel what waits, and wait until it has ended."""
    for future in waiting:
        future.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def alternate(sides: Mapping[str, Side], seconds: float) -> Rounds:
    """Run the sides forwards and backwards for some time, after one turn that is not counted.

    Three rounds are the minimum; for 0 seconds, one round.
    """
    for side in sides.values():
        await side()
    rounds: Rounds = []
    deadline = time.monotonic() + seconds
    while len(rounds) < (3 if seconds else 1) or time.monotonic() < deadline:
        forwards = {name: await side() for name, side in sides.items()}
        backwards = {name: await sides[name]() for name in reversed(forwards)}
        rounds.append({name: (forwards[name] + backwards[name]) / 2 for name in sides})
    return rounds


def ratios(rounds: Rounds, side: str, base: str) -> list[float]:
    """Return the ratio of two sides in each round."""
    return [costs[side] / costs[base] for costs in rounds]


def median(rounds: Rounds, side: str) -> float:
    """Return the median cost of a side."""
    return statistics.median(costs[side] for costs in rounds)


@contextmanager
def process(module: str, *arguments: str) -> Iterator[str]:
    """Run a server in a process of its own; yield its address, the first line it prints."""
    command = [sys.executable, "-m", f"benchmarks.{module}", *arguments]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None  # noqa: S101 - for the type checker
        assert child.stdin is not None  # noqa: S101
        try:
            yield child.stdout.readline().strip()
        finally:
            child.stdin.close()
            child.wait(30)


def in_processes(name: str, times: int, *arguments: object) -> list[Any]:
    """Run a worker function in several new processes, one after the other; return its results.

    Args:
        name: `module:function` within this package; the function takes the arguments as strings.
        times: Number of processes.
        arguments: For the function.
    """
    command = [sys.executable, "-m", "benchmarks.harness", name, *map(str, arguments)]
    run = subprocess.run
    return [
        orjson.loads(run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout)
        for _ in range(times)
    ]


def rounds_in(name: str, processes: int, *arguments: object) -> Rounds:
    """Return the rounds of several new processes."""
    return list(itertools.chain.from_iterable(in_processes(name, processes, *arguments)))


def _main() -> None:
    """Run `module:function` with the arguments that follow, and print its result as JSON."""
    name, *arguments = sys.argv[1:]
    pin(0)
    module, _, function = name.partition(":")
    work = getattr(importlib.import_module(f"benchmarks.{module}"), function)(*arguments)
    sys.stdout.buffer.write(orjson.dumps(asyncio.run(work)))


if __name__ == "__main__":
    _main()

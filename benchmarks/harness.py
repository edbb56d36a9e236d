"""How everything here is measured: in turns, in fresh processes, beside a null control.

A benchmark is an async function in a process of its own that is given the address of the server. It
names its sides; every round runs them forwards and then backwards (A B C C B A), so that a machine
that grows slower or faster meanwhile does so for all of them. What is compared is always taken from
the same round. What cannot share a process (memory, imports, a whole run) has one for each side.
"""

from __future__ import annotations

import gc
import itertools
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any, Final, TypeAlias

import aiohttp
import orjson

__all__ = [
    "Rounds",
    "Side",
    "alternate",
    "cores",
    "counts",
    "cpu",
    "cpu_of",
    "in_processes",
    "pin",
    "process",
    "ratios",
    "rounds_in",
    "unpin",
]

Side: TypeAlias = Callable[[], Awaitable[float]]
"""Does some work and tells what a unit of it cost."""
Rounds: TypeAlias = list[dict[str, float]]
"""By name of the side, the mean of its two turns; one mapping for each round."""

_LEAST: Final = 3

ROOT: Final = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120


def cores() -> list[int]:
    """The processors this process may use; empty where the system does not tell."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def pin(which: int) -> None:
    """Keep to the first of the processors, or to the last: client and server, each on its own."""
    if len(cores()) > 1:
        os.sched_setaffinity(0, {cores()[which]})


def unpin() -> None:
    """Use every processor again: for what threads are part of, as they are wherever it is used."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, range(os.cpu_count() or 1))


def cpu() -> float:
    """CPU seconds of this process so far, user and system, all threads."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def cpu_of(work: Awaitable[Any]) -> float:
    """CPU seconds that some work takes, with the garbage of earlier work out of the way."""
    gc.collect()
    before = cpu()
    await work
    return cpu() - before


async def counts(server: str, session: aiohttp.ClientSession | None = None) -> Mapping[str, int]:
    """What the server has counted since it was last asked."""
    async with (
        nullcontext(session) if session else aiohttp.ClientSession() as asking,
        asking.get(f"{server}/counts") as response,
    ):
        found: dict[str, int] = orjson.loads(await response.read())
        return found


async def alternate(sides: Mapping[str, Side], seconds: float) -> Rounds:
    """Run the sides forwards and backwards for so many seconds, after once that does not count.

    A slow machine has fewer rounds in them, but three at least (of no seconds: one).
    """
    for side in sides.values():
        await side()
    found: Rounds = []
    until = time.monotonic() + seconds
    while len(found) < (_LEAST if seconds else 1) or time.monotonic() < until:
        taken: dict[str, list[float]] = {name: [] for name in sides}
        for name in [*sides, *reversed([*sides])]:
            taken[name].append(await sides[name]())
        found.append({name: statistics.fmean(costs) for name, costs in taken.items()})
    return found


def ratios(rounds: Rounds, side: str, base: str) -> list[float]:
    """One side against another, round by round."""
    return [costs[side] / costs[base] for costs in rounds]


@contextmanager
def process(module: str, *arguments: str) -> Iterator[str]:
    """Run a module beside us for a while; yield the first line it says: its address."""
    command = [sys.executable, "-m", module, *arguments]
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


def rounds_in(name: str, processes: int, *arguments: object) -> Rounds:
    """All rounds of several fresh processes."""
    return list(itertools.chain.from_iterable(in_processes(name, processes, *arguments)))


def in_processes(name: str, times: int, *arguments: object) -> list[Any]:
    """What a worker function says, in several fresh processes one after the other.

    Args:
        name: `module:function`, within this package; it takes the arguments as strings.
        times: How many processes.
        arguments: For the function.
    """
    command = [sys.executable, "-m", "benchmarks.worker", name, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": ROOT, "PYTHONHASHSEED": "0"}
    return [
        orjson.loads(
            subprocess.run(
                command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, check=True
            ).stdout
        )
        for _ in range(times)
    ]

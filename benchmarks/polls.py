"""CPU of waiting: one look at one task, alone and in lists, and how that grows.

The tasks of every side wait all the time. In its turn a side looks so many times at each, one
look after the other without a pause, and then stands still: turns of a tenth of a second, since
machines change their speed more often than that. Cost is the CPU time of a turn by its looks.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import math
import statistics
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, Final

import aiohttp
import attrs

from mjasync import Client, Clock, PollState, Schedule, Task

from . import by_hand
from .harness import (
    Rounds,
    Side,
    alternate,
    counts,
    cpu_of,
    in_processes,
    process,
    ratios,
    rounds_in,
)
from .row import Row, row_of

__all__ = ["growth", "lists", "polls"]

_AT_ONCE: Final = 50
_MANY: Final = 1000
_LOOKS: Final = 8
"""At each task in a turn, on average."""
_SELDOM: Final = "10-0"
"""Every tenth reply is new, and the job never ends."""
_ALWAYS: Final = "1-0"
_KEPT: Final = 60.0
"""Seconds that httpx keeps a connection, which aiohttp does for 15 of its own."""
_PARKED: Final = 60.0
"""Seconds by which the clock of a side jumps when its turn comes."""
_AFTERWARDS: Final = 3
"""Turns of the loop in which whoever has been told something hears of it."""


class Turns(Clock):
    """Clock and schedule of a side: so many looks at each of its tasks, then none for a while."""

    coalesce = 1e-6

    def __init__(self, tasks: int, looks: int) -> None:
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the next turn begins."""
        self.looks = tasks * looks
        """In a turn."""
        self.tasks = tasks
        self._schedule = Schedule()
        self._ahead = 0.0
        self._begin(tasks)

    def _begin(self, looks: int) -> None:
        self._left = looks
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def goes_on(self) -> bool:
        """Note a look; whether its task is looked at once more in this turn."""
        self._left -= 1
        if not self._left:
            self._over.set_result(None)
        return self._left >= self.tasks

    async def over(self) -> None:
        """Wait for the end of the turn."""
        await self._over
        for _ in range(_AFTERWARDS):
            await asyncio.sleep(0)

    async def take(self) -> None:
        """One turn, from its beginning to its end."""
        begun, self.opened = self.opened, asyncio.get_running_loop().create_future()
        self._ahead += _PARKED
        self._begin(self.looks)
        begun.set_result(None)
        await self.over()

    def now(self) -> float:
        """Seconds since whenever."""
        return super().now() + self._ahead

    async def sleep(self, seconds: float) -> None:
        """Wait a moment, or else for the next turn."""
        await (asyncio.shield(self.opened) if seconds > 1 else super().sleep(seconds))

    def next_delay(self, look: PollState) -> float:
        """At once, or in the next turn; the usual schedule works it out for nothing."""
        self._schedule.next_delay(look)
        return self.coalesce if self.goes_on() else _PARKED


class Bench:
    """What waits in one process: sides with connections of their own, and ids nobody used yet."""

    def __init__(self, server: str, stack: AsyncExitStack) -> None:
        self._server = server
        self._stack = stack
        self._ids: Iterator[str] = map(str, itertools.count(time.time_ns() // 1000))
        self._expected = 0

    async def raw(self, plan: str = _SELDOM, tasks: int = _AT_ONCE, looks: int = _LOOKS) -> Side:
        """The side written by hand with aiohttp and orjson: a session as it comes."""
        headers = {"mj-api-secret": by_hand.TOKEN}
        session = await self._stack.enter_async_context(aiohttp.ClientSession(headers=headers))
        turns, root = Turns(tasks, looks), f"{self._server}/{plan}"
        return await self._side(turns, lambda one: by_hand.poll(session, root, one, turns))

    async def httpx(self) -> Side:
        """The same with httpx, and a connection for every task."""
        import httpx

        limits = httpx.Limits(
            max_connections=_AT_ONCE, max_keepalive_connections=_AT_ONCE, keepalive_expiry=_KEPT
        )
        client = await self._stack.enter_async_context(
            httpx.AsyncClient(limits=limits, headers={"mj-api-secret": by_hand.TOKEN})
        )
        turns, root = Turns(_AT_ONCE, 1), f"{self._server}/{_SELDOM}"
        return await self._side(
            turns, lambda one: by_hand.poll_with_httpx(client, root, one, turns)
        )

    async def sdk(
        self,
        plan: str = _SELDOM,
        tasks: int = _AT_ONCE,
        looks: int = _LOOKS,
        wait: Callable[[Task], Coroutine[Any, Any, Any]] = Task.wait,
    ) -> Side:
        """The side that awaits Tasks of the SDK, or observes them."""
        turns = Turns(tasks, looks)
        mj = await self._stack.enter_async_context(
            Client(
                f"{self._server}/{plan}",
                by_hand.TOKEN,
                schedule=turns,
                clock=turns,
                auth="secret",
                timeout=math.inf,
                stall_timeout=math.inf,
            )
        )
        return await self._side(turns, lambda one: wait(mj.task(one)))

    async def _side(self, turns: Turns, work: Callable[[str], Coroutine[Any, Any, Any]]) -> Side:
        """Have as many tasks waited for as take turns, from now until the end."""
        ids = itertools.islice(self._ids, turns.tasks)
        waiting = [asyncio.ensure_future(work(one)) for one in ids]
        self._stack.push_async_callback(_leave, waiting)
        await turns.over()
        gc.collect()
        gc.freeze()  # what waits from now on, so that collecting between turns takes no time
        self._expected += turns.tasks

        async def turn() -> float:
            self._expected += turns.looks
            return await cpu_of(turns.take()) / turns.looks

        return turn

    async def alternate(self, sides: Mapping[str, Side], seconds: float) -> Rounds:
        """Run the sides in turns, and see that the server has counted the same looks."""
        found = await alternate(sides, seconds)
        await self.check()
        return found

    async def check(self) -> None:
        """See that the server has counted the looks that were asked for.

        Raises:
            RuntimeError: It has not.
        """
        counted, expected = (await counts(self._server))["polls"], self._expected
        self._expected = 0
        if counted != expected:
            raise RuntimeError(f"the server counted {counted} looks, not {expected}")


async def _leave(waiting: Sequence[asyncio.Future[Any]]) -> None:
    for one in waiting:
        one.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def _observe(task: Task) -> None:
    async for update in task.updates():
        _ = update.status, update.progress


async def poll_rounds(server: str, seconds: str) -> Rounds:
    """Single fetches, in one process."""
    async with AsyncExitStack() as stack:
        bench = Bench(server, stack)
        sides = {
            "raw": await bench.raw(),
            "unchanged": await bench.sdk(),
            "null": await bench.raw(),
            "changed": await bench.sdk(_ALWAYS, wait=_observe),
            "raw changed": await bench.raw(_ALWAYS),
        }
        return await bench.alternate(sides, float(seconds))


async def list_rounds(server: str, seconds: str) -> Rounds:
    """Lists against single fetches, in one process."""
    async with AsyncExitStack() as stack:
        bench = Bench(server, stack)
        sides = {
            "raw": await bench.raw(),
            "list": await bench.sdk(f"{_SELDOM}-list", _MANY),
            "null": await bench.raw(),
        }
        return await bench.alternate(sides, float(seconds))


async def httpx_rounds(server: str, seconds: str) -> Rounds:
    """Lists against single fetches of httpx, in one process."""
    async with AsyncExitStack() as stack:
        bench = Bench(server, stack)
        sides = {
            "httpx": await bench.httpx(),
            "list": await bench.sdk(f"{_SELDOM}-list", _MANY),
            "null": await bench.httpx(),
        }
        return await bench.alternate(sides, float(seconds))


async def growth_rounds(server: str, seconds: str, most: str, least: str) -> Rounds:
    """Few tasks and many, in one process; the few as often as it takes to measure them.

    What lies between is for the plot, and measured once.
    """
    async with AsyncExitStack() as stack:
        bench = Bench(server, stack)

        async def side(size: int) -> Side:
            return await bench.sdk(f"{_SELDOM}-list", size, max(1, int(least) // size))

        ends = {"100": await side(100), most: await side(int(most)), "null": await side(100)}
        found = await bench.alternate(ends, float(seconds))
        between = {}
        for size in (size for size in _SIZES if size < int(most)):
            turn = await side(size)
            await turn()
            between[str(size)] = await turn()
        await bench.check()
        return [{**between, **costs} for costs in found]


_SIZES: Final = 300, 1000, 3000


async def raw_growth(server: str, most: str, least: str) -> dict[str, float]:
    """CPU seconds of a look written by hand, by the number of tasks; for the plot.

    Not for ten thousand: a session has a hundred connections, for which they would queue.
    """
    found = {}
    for size in (size for size in (100, *_SIZES[:2]) if size <= int(most)):
        async with AsyncExitStack() as stack:
            bench = Bench(server, stack)
            turn = await bench.raw(tasks=size, looks=max(1, int(least) // size))
            await turn()
            found[str(size)] = await turn()
            await bench.check()
    return found


def _micros(rounds: Rounds, side: str) -> str:
    return f"{1e6 * _median(rounds, side):.1f} µs"


def _median(rounds: Rounds, side: str) -> float:
    return statistics.median(costs[side] for costs in rounds)


def polls(processes: int = 3, seconds: float = 26.0) -> list[Row]:
    """Waiting for tasks one by one."""
    with process("benchmarks.server") as server:
        found = rounds_in("polls:poll_rounds", processes, server, seconds)
    nulls = ratios(found, "null", "raw")
    by_hand_costs = f"by hand {_micros(found, 'raw')} a look"
    return [
        row_of(
            "one look, 9 in 10 replies unchanged / aiohttp + orjson by hand",
            ratios(found, "unchanged", "raw"),
            nulls=nulls,
            bar=1.10,
            note=f"{_micros(found, 'unchanged')}, {by_hand_costs}",
        ),
        row_of(
            "one look, every reply changed and observed / aiohttp + orjson by hand",
            ratios(found, "changed", "raw changed"),
            nulls=nulls,
            bar=1.25,
            note=f"{_micros(found, 'changed')}, by hand {_micros(found, 'raw changed')} a look",
        ),
    ]


def lists(processes: int = 2, seconds: float = 24.0) -> list[Row]:
    """Waiting for a thousand tasks together."""
    with process("benchmarks.server") as server:
        found = rounds_in("polls:list_rounds", processes, server, seconds)
        httpx = rounds_in("polls:httpx_rounds", 1, server, seconds / 4)
    return [
        row_of(
            "1,000 tasks together, a task and tick / aiohttp + orjson by hand, singly",
            ratios(found, "list", "raw"),
            nulls=ratios(found, "null", "raw"),
            bar=0.11,
            note=f"{_micros(found, 'list')}, by hand {_micros(found, 'raw')}",
        ),
        row_of(
            "1,000 tasks together, a task and tick / httpx by hand, singly",
            ratios(httpx, "list", "httpx"),
            nulls=ratios(httpx, "null", "httpx"),
            bar=0.02,
            note=f"{_micros(httpx, 'list')}, httpx {_micros(httpx, 'httpx')}",
        ),
    ]


def growth(
    processes: int = 1, seconds: float = 25.0, most: int = 10_000, least: int = 2000
) -> list[Row]:
    """What a task costs among a hundred times as many; a turn has `least` looks or more."""
    with process("benchmarks.server") as server:
        found = rounds_in("polls:growth_rounds", processes, server, seconds, most, least)
        (alone,) = in_processes("polls:raw_growth", 1, server, most, least)
    here = {
        size: _median(found, str(size))
        for size in sorted(int(one) for one in found[0] if one != "null")
    }
    row = row_of(
        f"a task and tick among {most:,} / among 100",
        ratios(found, str(most), "100"),
        nulls=ratios(found, "null", "100"),
        bar=1.2,
        note=f"{_micros(found, str(most))}, among 100 {_micros(found, '100')}",
    )
    lines = {
        "mjasync, lists": [(float(size), 1e6 * cost) for size, cost in here.items()],
        "aiohttp + orjson by hand": [(float(size), 1e6 * cost) for size, cost in alone.items()],
    }
    return [attrs.evolve(row, series=lines)]

"""CPU of waiting: one look at one task, alone and in lists, and how that grows.

CPU of everything between making the Tasks and having them finished, divided by the looks the server
counted. Looks follow one another without a pause; connections stay open from block to block.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import attrs

from mjasync import Client, Schedule

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

if TYPE_CHECKING:
    import httpx

__all__ = ["growth", "lists", "polls"]

_AT_ONCE: Final = 50
_MANY: Final = 1000
_SELDOM: Final = "20-30"
"""The first look, every 20th and the 30th, the end, find something new: about one in ten."""
_BRIEF: Final = "20-3"
"""For a tenth as long: what is slow is soon known."""
_ALWAYS: Final = "1-30"
_GROWING: Final = "10-5"
_KEPT: Final = 60.0
"""Seconds that httpx keeps a connection, which aiohttp does for 15 of its own."""
_NO_PAUSE: Final = Schedule(shortest=1e-6, longest=1e-6, first=1e-6)


class Bench:
    """The clients of one process, each with connections of its own, and ids nobody used yet."""

    def __init__(self, server: str, stack: AsyncExitStack) -> None:
        self._server = server
        self._stack = stack
        self._ids: Iterator[str] = map(str, itertools.count(time.time_ns() // 1000))

    async def client(self, plan: str) -> Client:
        """The SDK, at a server that behaves so."""
        return await self._stack.enter_async_context(
            Client(f"{self._server}/{plan}", by_hand.TOKEN, schedule=_NO_PAUSE, auth="secret")
        )

    async def session(self) -> aiohttp.ClientSession:
        """A session of aiohttp as it comes."""
        headers = {"mj-api-secret": by_hand.TOKEN}
        return await self._stack.enter_async_context(aiohttp.ClientSession(headers=headers))

    async def httpx(self) -> httpx.AsyncClient:
        """A client of httpx with a connection for every task."""
        import httpx

        limits = httpx.Limits(
            max_connections=_AT_ONCE, max_keepalive_connections=_AT_ONCE, keepalive_expiry=_KEPT
        )
        return await self._stack.enter_async_context(
            httpx.AsyncClient(limits=limits, headers={"mj-api-secret": by_hand.TOKEN})
        )

    async def per_look(
        self, work: Callable[[str], Awaitable[Any]], tasks: int, times: int = 1
    ) -> float:
        """CPU seconds per look of waiting for so many tasks side by side, so many times."""

        async def all_of_it() -> None:
            for _ in range(times):
                ids = itertools.islice(self._ids, tasks)
                await asyncio.gather(*map(work, ids))

        await counts(self._server)
        spent = await cpu_of(all_of_it())
        return spent / (await counts(self._server))["polls"]

    def raw(self, session: aiohttp.ClientSession, plan: str = _SELDOM) -> Side:
        """The side written by hand with aiohttp and orjson."""
        root = f"{self._server}/{plan}"
        return lambda: self.per_look(lambda one: by_hand.poll(session, root, one), _AT_ONCE)

    def sdk(self, mj: Client, tasks: int = _AT_ONCE, times: int = 1) -> Side:
        """The side that awaits Tasks of the SDK."""
        return lambda: self.per_look(lambda one: mj.task(one).wait(), tasks, times)


async def _observe(mj: Client, task_id: str) -> None:
    async for update in mj.task(task_id).updates():
        _ = update.status, update.progress


async def poll_rounds(server: str, seconds: str) -> Rounds:
    """Single fetches, in one process."""
    async with AsyncExitStack() as stack:
        bench = Bench(server, stack)
        session = await bench.session()
        seldom, always = await bench.client(_SELDOM), await bench.client(_ALWAYS)
        sides = {
            "raw": bench.raw(session),
            "unchanged": bench.sdk(seldom),
            "null": bench.raw(session),
            "changed": lambda: bench.per_look(lambda one: _observe(always, one), _AT_ONCE),
            "raw changed": bench.raw(session, _ALWAYS),
        }
        return await alternate(sides, float(seconds))


async def list_rounds(server: str, seconds: str) -> Rounds:
    """Lists against single fetches, in one process."""
    async with AsyncExitStack() as stack:
        bench = Bench(server, stack)
        session = await bench.session()
        mj = await bench.client(f"{_SELDOM}-list")
        sides = {
            "raw": bench.raw(session),
            "list": bench.sdk(mj, _MANY),
            "null": bench.raw(session),
        }
        return await alternate(sides, float(seconds))


async def httpx_rounds(server: str, seconds: str) -> Rounds:
    """Lists against single fetches of httpx, in one process."""
    async with AsyncExitStack() as stack:
        bench = Bench(server, stack)
        other = await bench.httpx()
        mj = await bench.client(f"{_SELDOM}-list")

        def by_httpx() -> Awaitable[float]:
            root = f"{server}/{_BRIEF}"
            return bench.per_look(lambda one: by_hand.poll_with_httpx(other, root, one), _AT_ONCE)

        sides = {"httpx": by_httpx, "list": bench.sdk(mj, _MANY), "null": by_httpx}
        return await alternate(sides, float(seconds))


async def growth_rounds(server: str, seconds: str, most: str, least: str) -> Rounds:
    """Few tasks and many, in one process; the few as often as it takes to measure them.

    What lies between is for the plot, and measured once.
    """
    async with AsyncExitStack() as stack:
        bench = Bench(server, stack)
        mj = await bench.client(f"{_GROWING}-list")
        sizes = [size for size in (100, 300, 1000, 3000, 10_000) if size <= int(most)]
        sides = {str(size): bench.sdk(mj, size, max(1, int(least) // size)) for size in sizes}
        ends = {size: sides[size] for size in ("100", str(most))}
        found = await alternate({**ends, "null": sides["100"]}, float(seconds))
        between = {size: await side() for size, side in sides.items() if size not in ends}
        return [{**between, **costs} for costs in found]


async def raw_growth(server: str, most: str, least: str) -> dict[str, float]:
    """CPU seconds of a look written by hand, by the number of tasks; for the plot.

    Looks as often at a task as the SDK does there; for ten thousand that would take a minute.
    """
    async with AsyncExitStack() as stack:
        bench = Bench(server, stack)
        session = await bench.session()
        root = f"{server}/{_GROWING}"
        await bench.raw(session)()
        return {
            str(size): await bench.per_look(
                lambda one: by_hand.poll(session, root, one), size, max(1, int(least) // 8 // size)
            )
            for size in (100, 300, 1000)
            if size <= int(most)
        }


def _micros(rounds: Rounds, side: str) -> str:
    return f"{1e6 * _median(rounds, side):.1f} µs"


def _median(rounds: Rounds, side: str) -> float:
    return statistics.median(costs[side] for costs in rounds)


def polls(processes: int = 3, seconds: float = 15.0) -> list[Row]:
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


def lists(processes: int = 2, seconds: float = 18.0) -> list[Row]:
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
    processes: int = 1, seconds: float = 30.0, most: int = 10_000, least: int = 2000
) -> list[Row]:
    """What a task costs among a hundred times as many; a block has `least` tasks or more."""
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

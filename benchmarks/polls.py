"""CPU of a poll: of one task, of tasks in lists, and by the number of tasks.

The tasks of every side wait during the whole measurement. In its turn, a side polls each of its
tasks several times without a pause, and then rests. A turn takes about a tenth of a second,
because machines change their speed more often than once a second. The cost of a poll is the CPU
time of a turn, divided by its polls.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import math
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack
from typing import Any, Final

import aiohttp
import attrs

from mjasync import Client, Clock, PollState, Schedule, Task

from . import baselines
from .harness import (
    Rounds,
    Side,
    alternate,
    cancel,
    counts,
    cpu_of,
    median,
    process,
    ratios,
    rounds_in,
)
from .row import Row, row_of

__all__ = ["growth", "lists", "polls"]

_TASKS: Final = 50
_MANY: Final = 1000
_POLLS: Final = 8
"""Of each task in a turn, on average."""
_SELDOM: Final = "10-0"
"""Plan of the server: every tenth reply is new, and the job never ends."""
_ALWAYS: Final = "1-0"
_LIST: Final = f"{_SELDOM}-list"
_PARKED: Final = 60.0
"""Seconds by which the clock of a side advances when its turn begins."""


class Turns(Clock):
    """Clock and schedule of a side: in each turn, some polls of each task."""

    coalesce = 1e-6

    def __init__(self, tasks: int, polls: int) -> None:
        self.tasks = tasks
        self.polls = tasks * polls
        """In a turn."""
        self._schedule = Schedule()
        self._advanced = 0.0
        self._start(tasks)

    def _start(self, polls: int) -> None:
        self._polls_left = polls
        self._next_turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._turn_over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def _has_more_polls(self) -> bool:
        """Count a poll; return whether its task is polled again in this turn."""
        self._polls_left -= 1
        if not self._polls_left:
            self._turn_over.set_result(None)
        return self._polls_left >= self.tasks

    async def wait_until_over(self) -> None:
        """Wait for the end of the turn, and for the loop to deliver its last replies."""
        await self._turn_over
        for _ in range(3):
            await asyncio.sleep(0)

    async def take(self) -> None:
        """Take one turn."""
        waiting = self._next_turn
        self._advanced += _PARKED
        self._start(self.polls)
        waiting.set_result(None)
        await self.wait_until_over()

    async def pause(self) -> None:
        """Count a poll by hand, and wait until the next."""
        if not self._has_more_polls():
            await self._next_turn

    def now(self) -> float:
        """Return the seconds of a clock that advances with every turn."""
        return super().now() + self._advanced

    async def sleep(self, seconds: float) -> None:
        """Sleep briefly, or until the next turn."""
        await (asyncio.shield(self._next_turn) if seconds > 1 else super().sleep(seconds))

    def next_delay(self, state: PollState) -> float:
        """Compute the usual delay, and return one for a poll now or in the next turn."""
        self._schedule.next_delay(state)
        return self.coalesce if self._has_more_polls() else _PARKED


class Bench:
    """The sides of one process, each with connections of its own and with new task ids."""

    def __init__(self, server: str, stack: AsyncExitStack) -> None:
        self._server = server
        self._stack = stack
        self._ids: Iterator[str] = map(str, itertools.count(time.time_ns() // 1000))
        self._expected = 0

    async def aiohttp(self, plan: str = _SELDOM, tasks: int = _TASKS, polls: int = _POLLS) -> Side:
        """Return the side by hand with aiohttp and orjson, in a default session."""
        session = await self._stack.enter_async_context(
            aiohttp.ClientSession(headers=baselines.HEADERS)
        )
        turns, root = Turns(tasks, polls), f"{self._server}/{plan}"
        return await self._side(
            turns, lambda task_id: baselines.poll(session, root, task_id, turns.pause)
        )

    async def httpx(self) -> Side:
        """Return the side by hand with httpx, with a connection for each task."""
        import httpx

        limits = httpx.Limits(
            max_connections=_TASKS, max_keepalive_connections=_TASKS, keepalive_expiry=60.0
        )
        client = await self._stack.enter_async_context(
            httpx.AsyncClient(limits=limits, headers=baselines.HEADERS)
        )
        turns, root = Turns(_TASKS, 1), f"{self._server}/{_SELDOM}"
        return await self._side(
            turns, lambda task_id: baselines.poll_with_httpx(client, root, task_id, turns.pause)
        )

    async def sdk(
        self,
        plan: str = _SELDOM,
        tasks: int = _TASKS,
        polls: int = _POLLS,
        wait: Callable[[Task], Coroutine[Any, Any, Any]] = Task.wait,
    ) -> Side:
        """Return the side that awaits Tasks of the SDK, or observes them."""
        turns = Turns(tasks, polls)
        mj = await self._stack.enter_async_context(
            Client(
                f"{self._server}/{plan}",
                baselines.TOKEN,
                schedule=turns,
                clock=turns,
                auth="secret",
                timeout=math.inf,
                stall_timeout=math.inf,
            )
        )
        return await self._side(turns, lambda task_id: wait(mj.task(task_id)))

    async def _side(self, turns: Turns, wait: Callable[[str], Coroutine[Any, Any, Any]]) -> Side:
        """Start waiting for the tasks of a side; return its turn."""
        ids = itertools.islice(self._ids, turns.tasks)
        waiting = [asyncio.create_task(wait(task_id)) for task_id in ids]
        self._stack.push_async_callback(cancel, waiting)
        await turns.wait_until_over()
        gc.collect()
        gc.freeze()  # what waits until the end, so that collecting garbage takes no time
        self._expected += turns.tasks

        async def turn() -> float:
            self._expected += turns.polls
            return await cpu_of(turns.take()) / turns.polls

        return turn

    async def alternate(self, sides: Mapping[str, Side], seconds: float) -> Rounds:
        """Run the sides in turns, and check the polls that the server counted.

        Raises:
            RuntimeError: The server counted more or fewer than the sides were to make.
        """
        rounds = await alternate(sides, seconds)
        async with aiohttp.ClientSession() as session:
            counted = (await counts(self._server, session))["polls"]
        if counted != self._expected:
            raise RuntimeError(f"the server counted {counted} polls, not {self._expected}")
        return rounds


async def _observe(task: Task) -> None:
    async for update in task.updates():
        _ = update.status, update.progress


async def poll_rounds(server: str, seconds: str) -> Rounds:
    """Measure single fetches in one process."""
    async with AsyncExitStack() as stack:
        bench = Bench(server, stack)
        sides = {
            "aiohttp": await bench.aiohttp(),
            "unchanged": await bench.sdk(),
            "null": await bench.aiohttp(),
            "changed": await bench.sdk(_ALWAYS, wait=_observe),
            "aiohttp changed": await bench.aiohttp(_ALWAYS),
        }
        return await bench.alternate(sides, float(seconds))


async def list_rounds(server: str, seconds: str, baseline: str) -> Rounds:
    """Measure lists beside single fetches with aiohttp or httpx, in one process."""
    async with AsyncExitStack() as stack:
        bench = Bench(server, stack)
        by_hand = bench.httpx if baseline == "httpx" else bench.aiohttp
        sides = {
            "baseline": await by_hand(),
            "list": await bench.sdk(_LIST, _MANY),
            "null": await by_hand(),
        }
        return await bench.alternate(sides, float(seconds))


async def growth_rounds(server: str, seconds: str, most: str, least: str) -> Rounds:
    """Measure lists and single fetches by hand, by the number of tasks, in one process.

    The loop by hand has at most a thousand tasks: in ten thousand, they would queue for the
    hundred connections of a session.
    """
    async with AsyncExitStack() as stack:
        bench = Bench(server, stack)
        sides = {"null": await bench.sdk(_LIST, 100, max(1, int(least) // 100))}
        for size in (100, _MANY, int(most)):
            polls = max(1, int(least) // size)
            sides[f"sdk {size}"] = await bench.sdk(_LIST, size, polls)
            if size <= _MANY:
                sides[f"aiohttp {size}"] = await bench.aiohttp(tasks=size, polls=polls)
        return await bench.alternate(sides, float(seconds))


def _micros(rounds: Rounds, side: str) -> str:
    return f"{1e6 * median(rounds, side):.1f} µs"


def polls(processes: int = 3, seconds: float = 26.0) -> list[Row]:
    """Compare the poll of one task with a fetch by hand."""
    with process("server") as server:
        rounds = rounds_in("polls:poll_rounds", processes, server, seconds)
    return [
        row_of(
            f"one look, {replies} / aiohttp + orjson by hand",
            ratios(rounds, side, baseline),
            nulls=ratios(rounds, "null", "aiohttp"),
            bar=bar,
            note=f"{_micros(rounds, side)}, by hand {_micros(rounds, baseline)} a look",
        )
        for replies, side, baseline, bar in (
            ("9 in 10 replies unchanged", "unchanged", "aiohttp", 1.10),
            ("every reply changed and observed", "changed", "aiohttp changed", 1.25),
        )
    ]


def lists(processes: int = 2, seconds: float = 24.0) -> list[Row]:
    """Compare polls of a thousand tasks in lists with single fetches by hand."""
    rows = []
    with process("server") as server:
        for baseline, name, times, share, bar in (
            ("aiohttp", "aiohttp + orjson", processes, 1.0, 0.11),
            ("httpx", "httpx", 1, 0.25, 0.02),
        ):
            rounds = rounds_in("polls:list_rounds", times, server, share * seconds, baseline)
            row = row_of(
                f"1,000 tasks together, a task and tick / {name} by hand, singly",
                ratios(rounds, "list", "baseline"),
                nulls=ratios(rounds, "null", "baseline"),
                bar=bar,
                note=f"{_micros(rounds, 'list')}, by hand {_micros(rounds, 'baseline')}",
            )
            rows.append(row)
    return rows


def growth(seconds: float = 30.0, most: int = 10_000, least: int = 2000) -> list[Row]:
    """Compare polls among many tasks with polls among a hundred.

    Args:
        seconds: Of the measurement.
        most: The number of tasks.
        least: Polls of a turn, if each task is polled several times in it.
    """
    with process("server") as server:
        rounds = rounds_in("polls:growth_rounds", 1, server, seconds, most, least)
    many = f"sdk {most}"
    row = row_of(
        f"a task and tick among {most:,} / among 100",
        ratios(rounds, many, "sdk 100"),
        nulls=ratios(rounds, "null", "sdk 100"),
        bar=1.2,
        note=f"{_micros(rounds, many)}, among 100 {_micros(rounds, 'sdk 100')}",
    )

    def line(side: str) -> list[tuple[float, float]]:
        return [
            (float(name.split()[1]), 1e6 * median(rounds, name))
            for name in rounds[0]
            if name.startswith(f"{side} ")
        ]

    lines = {"mjasync, lists": line("sdk"), "aiohttp + orjson by hand": line("aiohttp")}
    return [attrs.evolve(row, series=lines)]

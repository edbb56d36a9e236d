"""Ten thousand prompts from submission to picture, against the simulator: CPU of the client alone.

Jobs run ten times as fast as real ones, 3 to 9 seconds. The loop written by hand submits, then
fetches every second; the SDK has its default settings.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import aiohttp

from mjasync import Client

from . import by_hand
from .harness import cpu_of, in_processes, process
from .row import Row

__all__ = ["imagines"]

_TIME_SCALE: Final = 0.1
_INTERVAL: Final = 1.0


async def sdk_cpu(server: str, prompts: str, limit: str) -> float:
    """CPU seconds of the SDK."""

    async def everything() -> None:
        async with Client(server, by_hand.TOKEN) as mj:
            tasks = (mj.imagine(f"a fox, number {n}") for n in range(int(prompts)))
            async for task in mj.as_completed(tasks, limit=int(limit)):
                if task.error is not None:
                    raise task.error

    return await cpu_of(everything())


async def by_hand_cpu(server: str, prompts: str, limit: str) -> float:
    """CPU seconds of the loop."""
    places = asyncio.Semaphore(int(limit))

    async def one(session: aiohttp.ClientSession, number: int) -> dict[str, Any]:
        async with places:
            task_id = await by_hand.submit(session, server, f"a fox, number {number}")
            return await by_hand.poll(session, server, task_id, interval=_INTERVAL)

    async def everything() -> None:
        headers = {"mj-api-secret": by_hand.TOKEN}
        async with aiohttp.ClientSession(headers=headers) as session:
            ended = await asyncio.gather(*(one(session, n) for n in range(int(prompts))))
        if any(task["status"] != "SUCCESS" for task in ended):
            raise RuntimeError("a task failed")

    return await cpu_of(everything())


def imagines(prompts: int = 10_000, limit: int = 2000) -> list[Row]:
    """Each side in a fresh process against a fresh simulator: by hand, SDK, by hand.

    By hand it is half as many each time, which costs half as much: each is on its own there.
    """
    half = prompts // 2
    base = _cpu("by_hand_cpu", half, limit)
    here = _cpu("sdk_cpu", prompts, limit)
    again = _cpu("by_hand_cpu", half, limit)
    return [
        Row(
            name=f"{prompts:,} imagines, {limit:,} at once, all CPU of the client / by hand",
            ratio=here / (base + again),
            null=again / base,
            bar=0.5,
            note=f"{here:.1f} s, by hand {base + again:.1f} s",
        )
    ]


def _cpu(side: str, prompts: int, limit: int) -> float:
    with process("benchmarks.simulated", str(_TIME_SCALE)) as server:
        (spent,) = in_processes(f"imagines:{side}", 1, server, prompts, limit)
        return float(spent)

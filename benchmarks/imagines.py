"""CPU of the client for ten thousand prompts, from submission to picture, with the simulator.

Jobs run ten times as fast as real ones, 3 to 9 seconds. The baseline submits a prompt, then
fetches its task every second; the SDK has its default settings. Each side has a new process and a
new simulator.
"""

from __future__ import annotations

import asyncio
import sys
from functools import partial

import aiohttp

from mjasync import Client
from mjasync.simulator import Simulator

from . import baselines
from .harness import cpu_of, in_processes, pin, process
from .row import Row

__all__ = ["imagines"]


async def sdk_cpu(server: str, prompts: str, limit: str) -> float:
    """Return the CPU seconds of the SDK."""

    async def run() -> None:
        async with Client(server, baselines.TOKEN) as mj:
            tasks = (mj.imagine(f"a fox, number {n}") for n in range(int(prompts)))
            async for task in mj.as_completed(tasks, limit=int(limit)):
                if task.error is not None:
                    raise task.error

    return await cpu_of(run())


async def baseline_cpu(server: str, prompts: str, limit: str) -> float:
    """Return the CPU seconds of the loop by hand."""
    semaphore = asyncio.Semaphore(int(limit))

    async def imagine(session: aiohttp.ClientSession, number: int) -> None:
        async with semaphore:
            task_id = await baselines.submit(session, server, f"a fox, number {number}")
            await baselines.poll(session, server, task_id, partial(asyncio.sleep, 1.0))

    async def run() -> None:
        async with aiohttp.ClientSession(headers=baselines.HEADERS) as session:
            await asyncio.gather(*(imagine(session, n) for n in range(int(prompts))))

    return await cpu_of(run())


def imagines(prompts: int = 10_000, limit: int = 2000) -> list[Row]:
    """Compare all prompts by the SDK with twice half as many by hand, before and after."""

    def cpu(side: str, number: int) -> float:
        with process("imagines") as server:
            return float(in_processes(f"imagines:{side}", 1, server, number, limit)[0])

    before = cpu("baseline_cpu", prompts // 2)
    sdk = cpu("sdk_cpu", prompts)
    after = cpu("baseline_cpu", prompts // 2)
    return [
        Row(
            name=f"{prompts:,} imagines, {limit:,} at once, all CPU of the client / by hand",
            ratio=sdk / (before + after),
            null=after / before,
            bar=0.5,
            note=f"{sdk:.1f} s, by hand {before + after:.1f} s",
        )
    ]


async def _serve() -> None:
    """Run the simulator, without drawing pictures, until standard input ends."""
    async with Simulator(
        draw=False, time_scale=0.1, concurrency=100_000, queue_size=100_000
    ) as simulator:
        sys.stdout.write(f"{simulator.url}\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    pin(-1)
    asyncio.run(_serve())

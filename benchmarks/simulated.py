"""The simulator in a process of its own: its whole engine, but no pictures."""

from __future__ import annotations

import asyncio
import sys

from mjasync.simulator import Simulator

from .harness import pin


async def _serve(time_scale: float) -> None:
    async with Simulator(
        draw=False, time_scale=time_scale, concurrency=100_000, queue_size=100_000
    ) as simulator:
        sys.stdout.write(f"{simulator.url}\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)  # until whoever started it is gone


if __name__ == "__main__":
    pin(-1)
    asyncio.run(_serve(float(sys.argv[1])))

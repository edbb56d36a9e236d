"""Waiting in tests: for turns of the event loop, or for a condition."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

from mjasync import Task, TaskUpdate

MANY_TURNS = 1000  # of the loop, after which it takes a breath between them
PATIENCE = 20  # seconds that anything in a test may take


async def turns(count: int) -> None:
    """Let the event loop run for a number of iterations."""
    for _ in range(count):
        await asyncio.sleep(0)


async def eventually(holds: Callable[[], bool]) -> None:
    """Let the event loop run until a condition holds."""
    async with asyncio.timeout(PATIENCE):
        for turn in itertools.count():
            if holds():
                return
            # what takes so long is another process, which could do with the processor
            await asyncio.sleep(0 if turn < MANY_TURNS else 0.001)


def follow(task: Task, on_update: Callable[[TaskUpdate], object]) -> asyncio.Future[None]:
    """Begin to wait for a task; call a function with each of its updates."""

    async def call_with_updates() -> None:
        async for update in task.updates():
            on_update(update)

    return asyncio.ensure_future(call_with_updates())


async def leave(waiting: asyncio.Future[Any]) -> None:
    """Cancel what waits, and wait for its end."""
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)

"""A check that a test leaves no task, exception or resource behind."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from support.waiting import turns

LAST_TURNS = 20  # of the loop, in which callbacks of what a test has closed may still run
LONGEST = 120  # seconds that a test may take


@asynccontextmanager
async def nothing_left() -> AsyncIterator[None]:
    """Fail if a pending task, an unread exception or an unclosed resource is left.

    An unclosed session or socket is a ResourceWarning when it is collected, and every warning is
    an error; collecting here pins it on the test that leaked it.
    """
    complaints: list[str] = []
    loop, before = asyncio.get_running_loop(), asyncio.all_tasks()
    loop.set_exception_handler(lambda _, context: complaints.append(describe(context)))
    alarm = loop.call_later(LONGEST, give_up, complaints)
    yield
    alarm.cancel()
    await turns(LAST_TURNS)
    pending = asyncio.all_tasks() - before - {asyncio.current_task()}
    gc.collect()
    assert not pending, f"tasks still pending after the test: {pending}"
    assert not complaints, f"the event loop complained: {complaints}"


def give_up(complaints: list[str]) -> None:
    """End a test that has taken too long."""
    complaints.append(f"the test was given up after {LONGEST} s")
    for task in asyncio.all_tasks():
        task.cancel()


def describe(context: dict[str, Any]) -> str:
    """Return a complaint of the event loop in one line."""
    subject = context.get("task") or context.get("future") or context.get("handle")
    return f"{context['message']}: {context.get('exception')!r} in {subject!r}"

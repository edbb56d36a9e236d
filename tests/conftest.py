"""What every test shares: a simulator, a look for leaks, and the hypothesis profiles."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from mjasync.simulator import Simulator

settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("default"), derandomize=True, database=None)
settings.load_profile("ci" if os.environ.get("CI") else "default")

LAST_TURNS = 20  # of the loop, in which callbacks of what a test has closed may still run


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    """A Plus server on loopback whose jobs take milliseconds."""
    async with Simulator(dialect="plus", time_scale=0.001) as simulator:
        yield simulator


@pytest.fixture(autouse=True)
def look_for_leaks(request: pytest.FixtureRequest) -> None:
    """Set up `no_leaks` before every other fixture of an async test, so that it ends last."""
    if request.node.get_closest_marker("asyncio"):
        request.getfixturevalue("no_leaks")


@pytest.fixture
async def no_leaks() -> AsyncIterator[None]:
    """Fail a test that leaves a pending task, an unread exception or an unclosed resource.

    An unclosed session or socket is a ResourceWarning when it is collected, and every warning is
    an error; collecting here pins it on the test that leaked it.
    """
    complaints: list[str] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: complaints.append(describe(context)))
    yield
    for _ in range(LAST_TURNS):
        await asyncio.sleep(0)
    pending = asyncio.all_tasks() - {asyncio.current_task()}
    gc.collect()
    assert not pending, f"tasks still pending after the test: {pending}"
    assert not complaints, f"the event loop complained: {complaints}"


def describe(context: dict[str, Any]) -> str:
    """Say in one line what the event loop found wrong."""
    subject = context.get("task") or context.get("future") or context.get("handle")
    return f"{context['message']}: {context.get('exception')!r} in {subject!r}"


def pytest_collection_finish() -> None:
    """Set aside what exists before the first test, to make the collection after each one quick."""
    gc.collect()
    gc.freeze()

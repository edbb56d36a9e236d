"""What every test shares: a simulator, quick clients, a look for leaks, hypothesis profiles."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import traceback
from collections.abc import AsyncIterator

import pytest
from hypothesis import HealthCheck, settings

from mjasync import Client
from mjasync.simulator import Simulator
from support.clients import SMALL, connect
from support.clock import FakeClock
from support.leaks import nothing_left

settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("default"), derandomize=True, database=None)
settings.load_profile("ci" if os.environ.get("CI") else "default")

for name in ("SIGINT", "SIGQUIT"):  # a shell's `&` has them ignored, for children too
    number = getattr(signal, name, None)
    if number is not None and signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if name == "SIGINT" else signal.SIG_DFL)

pytest_plugins = ["support.command_line"]  # the fixtures that run the command line

# In debug mode asyncio and aiohttp note the stack on which each future and request is made. Their
# checks are wanted; but stacks down to the bottom, which nobody reads, take half of such a run.
traceback.extract_stack.__defaults__ = (None, 1)
asyncio.constants.DEBUG_STACK_DEPTH = 1


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    """A Plus server on loopback whose jobs take milliseconds."""
    async with Simulator(
        "plus", time_scale=0.001, token="sim-token", picture_size=SMALL
    ) as simulator:
        yield simulator


@pytest.fixture
async def mj(sim: Simulator) -> AsyncIterator[Client]:
    """A quick client of `sim`."""
    async with connect(sim) as client:
        yield client


@pytest.fixture
async def plain() -> AsyncIterator[Simulator]:
    """A Plus server whose jobs end at once and whose pictures are all the same."""
    async with Simulator(dialect="plus", time_scale=0, draw=False, token="sim-token") as simulator:
        yield simulator


@pytest.fixture
async def original() -> AsyncIterator[Simulator]:
    """The original server: six actions, no buttons."""
    async with Simulator(
        "original", time_scale=0.001, token="sim-token", picture_size=SMALL
    ) as simulator:
        yield simulator


@pytest.fixture
async def mj_plain(plain: Simulator) -> AsyncIterator[Client]:
    """A quick client of `plain`."""
    async with connect(plain) as client:
        yield client


@pytest.fixture
def clock() -> FakeClock:
    """A clock that the test moves on."""
    return FakeClock()


@pytest.fixture(autouse=True)
def look_for_leaks(request: pytest.FixtureRequest) -> None:
    """Set up `no_leaks` before every other fixture of an async test, so that it ends last."""
    if request.node.get_closest_marker("asyncio"):
        request.getfixturevalue("no_leaks")


@pytest.fixture
async def no_leaks() -> AsyncIterator[None]:
    """Fail a test that leaves something behind."""
    async with nothing_left():
        yield


@pytest.fixture(scope="module", autouse=True)
def set_aside() -> None:
    """Set aside what outlives the tests so far, to make the collection after each one quick."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    """Have what was set aside collected as well, at the very end."""
    gc.unfreeze()

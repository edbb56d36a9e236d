"""What every test shares: a simulator, quick clients, a look for leaks, hypothesis profiles."""

from __future__ import annotations

import asyncio
import gc
import heapq
import itertools
import os
import signal
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, settings

from mjasync import Client, Clock, PollState, Retries, RetryPolicy, Schedule
from mjasync.simulator import Simulator

settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("default"), derandomize=True, database=None)
settings.load_profile("ci" if os.environ.get("CI") else "default")

for name in ("SIGINT", "SIGQUIT"):  # a shell's `&` has them ignored, for children too
    number = getattr(signal, name, None)
    if number is not None and signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if name == "SIGINT" else signal.SIG_DFL)

pytest_plugins = ["shell"]  # what runs the command line

# In debug mode asyncio and aiohttp note the stack on which each future and request is made. Their
# checks are wanted; but stacks down to the bottom, which nobody reads, take half of such a run.
traceback.extract_stack.__defaults__ = (None, 1)
asyncio.constants.DEBUG_STACK_DEPTH = 1

LAST_TURNS = 20  # of the loop, in which callbacks of what a test has closed may still run
MANY_TURNS = 1000  # of the loop, after which it takes a breath between them
PATIENCE = 20  # seconds that anything in a test may take
SMALL = 96  # pixels of a grid whose size is no matter
LONGEST = 120  # seconds that a test may take


@attrs.frozen
class Every:
    """A schedule that looks at everything at the same intervals."""

    seconds: float
    coalesce: float = 0.5

    def next_delay(self, _: PollState) -> float:
        """Seconds until the next look."""
        return self.seconds


QUICK = Schedule(min_interval=0.002, max_interval=0.02, coalesce=0.002)
AT_ONCE = RetryPolicy(max_attempts=8, initial_delay=0.001, max_delay=0.004)
EAGER = Retries(
    read=AT_ONCE,
    poll=AT_ONCE,
    connect=AT_ONCE,
    overloaded=RetryPolicy(max_attempts=1000, initial_delay=0.002, max_delay=0.01),
    no_account=AT_ONCE,
    not_ready=AT_ONCE,
)


def connect(sim: Simulator, **changes: Any) -> Client:  # noqa: ANN401 - what Client takes
    """Make a client of a simulator that neither looks nor tries again at a human pace.

    With a clock of its own it looks every five seconds of that. It does not look for lost
    submissions unless told to, so that a test can see them.
    """
    pace = QUICK if sim.time_scale else Every(0.001, coalesce=0.0005)
    quick = {"schedule": pace, "timeout": PATIENCE}
    usual = {"schedule": Every(5)} if "clock" in changes else quick
    options = {"retries": EAGER, "reconcile": False, **usual, **changes}
    return Client(options.pop("base_url", sim.url), options.pop("token", sim.token), **options)


async def turns(count: int) -> None:
    """Let the event loop turn some times."""
    for _ in range(count):
        await asyncio.sleep(0)


async def eventually(holds: Callable[[], bool]) -> None:
    """Let the event loop turn until something holds."""
    async with asyncio.timeout(PATIENCE):
        for turn in itertools.count():
            if holds():
                return
            # what takes so long is another process, which could do with the processor
            await asyncio.sleep(0 if turn < MANY_TURNS else 0.001)


class FakeClock(Clock):
    """A clock that stands still until a test moves it on."""

    def __init__(self) -> None:
        self._now = 1000.0
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now(self) -> float:
        """Seconds since whenever."""
        return self._now

    def wall(self) -> float:
        """Seconds since the epoch."""
        return 1_700_000_000 + self._now

    async def sleep(self, seconds: float) -> None:
        """Wait until the test has let `seconds` pass."""
        awake = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + max(0.0, seconds), next(self._order), awake))
        await awake

    async def advance(self, seconds: float, mj: Client) -> None:
        """Let time pass, from one due moment to the next; each look ends before the next begins."""
        end = self._now + seconds
        await self._looked(mj)
        while self._sleepers and self._sleepers[0][0] <= end:
            when, _, awake = heapq.heappop(self._sleepers)
            if not awake.done():
                self._now = max(self._now, when)
                awake.set_result(None)
                await self._looked(mj)
        self._now = end

    async def until_done(self, waiting: asyncio.Future[Any], mj: Client) -> None:
        """Let as much time pass as something takes, whatever that is."""
        async with asyncio.timeout(PATIENCE):
            while not waiting.done():
                await self.advance(1, mj)
                await turns(10)

    @staticmethod
    async def _looked(mj: Client) -> None:
        """Let the watcher begin what is due, and finish it."""
        await turns(5)
        await eventually(lambda: not mj._context.poller._asyncio_tasks)
        await turns(5)


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


@asynccontextmanager
async def nothing_left() -> AsyncIterator[None]:
    """Fail where a pending task, an unread exception or an unclosed resource is left.

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
    """End a test that waits for what never comes."""
    complaints.append(f"the test was given up after {LONGEST} s")
    for task in asyncio.all_tasks():
        task.cancel()


def describe(context: dict[str, Any]) -> str:
    """Say in one line what the event loop found wrong."""
    subject = context.get("task") or context.get("future") or context.get("handle")
    return f"{context['message']}: {context.get('exception')!r} in {subject!r}"


@pytest.fixture(scope="module", autouse=True)
def set_aside() -> None:
    """Set aside what outlives the tests so far, to make the collection after each one quick."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    """Have what was set aside collected as well, at the very end."""
    gc.unfreeze()

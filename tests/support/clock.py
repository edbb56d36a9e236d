"""A clock that stands still until a test moves it on."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from typing import Any

from mjasync import Client, Clock
from support.internals import is_polling
from support.waiting import PATIENCE, eventually, turns


class FakeClock(Clock):
    """A clock that stands still until a test moves it on."""

    def __init__(self) -> None:
        self._now = 1000.0
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now(self) -> float:
        """Return seconds since an arbitrary moment."""
        return self._now

    def wall(self) -> float:
        """Return seconds since the epoch."""
        return 1_700_000_000 + self._now

    async def sleep(self, seconds: float) -> None:
        """Wait until the test has advanced the clock by `seconds`."""
        awake = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + max(0.0, seconds), next(self._order), awake))
        await awake

    async def advance(self, seconds: float, mj: Client) -> None:
        """Advance from one timer to the next; each poll ends before the next one begins."""
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
        """Advance second by second until a future is done."""
        async with asyncio.timeout(PATIENCE):
            while not waiting.done():
                await self.advance(1, mj)
                await turns(10)

    @staticmethod
    async def _looked(mj: Client) -> None:
        """Let the poller start the polls that are due, and finish them."""
        await turns(5)
        await eventually(lambda: not is_polling(mj))
        await turns(5)

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
        await eventually(lambda: not is_polling(mj))
        await turns(5)

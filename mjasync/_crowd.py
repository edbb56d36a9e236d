"""Many Tasks at once, so many and no more."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Collection, Iterable
from typing import Final

from ._task import Task

__all__ = ["Crowd"]

_log: Final = logging.getLogger("mjasync")


class Crowd:
    """Tasks under way: one is drawn whenever there is room, and each comes out when it ends."""

    def __init__(self, tasks: Iterable[Task] | AsyncIterable[Task], limit: int | None) -> None:
        if isinstance(tasks, Collection):
            for task in tasks:  # they exist already, and will be waited for
                task.adopt()
        self._source = _iterate(tasks) if isinstance(tasks, AsyncIterable) else None
        self._at_hand = iter(()) if isinstance(tasks, AsyncIterable) else iter(tasks)
        self._limit = limit
        self._running: set[asyncio.Task[Task | None]] = set()
        self._drawing: asyncio.Task[Task | None] | None = None
        self._is_drained = False
        self._news: asyncio.Queue[asyncio.Task[Task | None]] = asyncio.Queue()

    async def next_ended(self) -> Task | None:
        """The next Task that ends; None after the last one."""
        while True:
            if self._has_room():
                await self._draw()
                if self._drawing is None and self._news.empty():
                    continue
            if not (self._running or self._drawing):
                return None
            job = await self._news.get()
            if job is not self._drawing:
                self._running.discard(job)
                return job.result()
            self._drawing = None
            self._take(job.result())

    async def disperse(self) -> None:
        """Wait for none of them any longer; jobs the server accepted go on."""
        jobs = [*self._running, *filter(None, [self._drawing])]
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)
        if self._source is not None:
            await self._source.aclose()

    async def _draw(self) -> None:
        """Take what is at hand; one that must be waited for comes as news."""
        if self._source is not None:
            self._drawing = self._start(anext(self._source, None))
            return
        drawn = next(self._at_hand, None)
        if drawn is not None:
            drawn.adopt()  # ours from here on, even if nobody stays to see it begin
        await asyncio.sleep(0)  # one at a time: others have a turn in between
        self._take(drawn)

    def _take(self, drawn: Task | None) -> None:
        if drawn is None:
            self._is_drained = True
        else:
            self._running.add(self._start(_ended(drawn)))

    def _has_room(self) -> bool:
        if self._is_drained or self._drawing is not None:
            return False
        return self._limit is None or len(self._running) < self._limit

    def _start(self, what: Awaitable[Task | None]) -> asyncio.Task[Task | None]:
        job = asyncio.ensure_future(what)
        job.add_done_callback(self._news.put_nowait)
        return job


async def _ended(task: Task) -> Task:
    """Wait for a Task; what it raised stays on it."""
    try:
        await task.wait()
    except Exception:  # noqa: BLE001 - on task.error
        _log.debug("%r ended with an error", task)
    return task


async def _iterate(tasks: AsyncIterable[Task]) -> AsyncGenerator[Task, None]:
    async for task in tasks:
        task.adopt()  # ours from here on, even if nobody stays to see it begin
        yield task

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
        self._source = _iterate(tasks)
        self._limit = limit
        self._running: set[asyncio.Task[Task | None]] = set()
        self._drawing: asyncio.Task[Task | None] | None = None
        self._is_drained = False
        self._news: asyncio.Queue[asyncio.Task[Task | None]] = asyncio.Queue()

    async def next_ended(self) -> Task | None:
        """The next Task that ends; None after the last one."""
        while True:
            if self._has_room():
                self._drawing = self._start(anext(self._source, None))
            if not (self._running or self._drawing):
                return None
            job = await self._news.get()
            if job is not self._drawing:
                self._running.discard(job)
                return job.result()
            self._drawing = None
            drawn = job.result()
            if drawn is None:
                self._is_drained = True
            else:
                self._running.add(self._start(_ended(drawn)))

    async def disperse(self) -> None:
        """Wait for none of them any longer; jobs the server accepted go on."""
        jobs = [*self._running, *filter(None, [self._drawing])]
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)
        await self._source.aclose()

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


async def _iterate(tasks: Iterable[Task] | AsyncIterable[Task]) -> AsyncGenerator[Task, None]:
    if isinstance(tasks, AsyncIterable):
        async for task in tasks:
            task.adopt()  # ours from here on, even if nobody stays to see it begin
            yield task
    else:
        for task in tasks:
            task.adopt()
            yield task

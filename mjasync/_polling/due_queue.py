"""A queue of items that fall due: one heap, one timer."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable
from typing import Final, Generic, Protocol, TypeVar

from .._clock import Clock

NEVER: Final = float("inf")
_MIN_COMPACT_SIZE: Final = 1000
"""Entries that are not worth being searched for dead ones."""


class _Schedulable(Protocol):
    due_at: float
    """The time of the item, set by the queue; `NEVER` if it is not in the queue."""


T = TypeVar("T", bound=_Schedulable)


class DueQueue(Generic[T]):
    """Items by the time at which they are due, on the client's clock.

    Entries are deleted lazily: an entry is dead if its time is not the one of its item any more.
    """

    def __init__(
        self, clock: Clock, on_due: Callable[[list[T]], None], *, coalesce: float = 0.0
    ) -> None:
        """Make an empty queue.

        Args:
            clock: The client's clock.
            on_due: Receives the items that are due.
            coalesce: Seconds by which other items may be early if one is due.
        """
        self._clock = clock
        self._on_due = on_due
        self._coalesce = coalesce
        self._heap: list[tuple[float, int, T]] = []
        self._order = itertools.count()
        self._compact_size = _MIN_COMPACT_SIZE
        self._timer: asyncio.Task[None] | None = None
        self._timer_at = NEVER
        self._is_closed = False

    def schedule(self, item: T, when: float) -> None:
        """Add an item, or move it to another time; `NEVER` removes it."""
        item.due_at = when
        if when == NEVER:
            return
        heapq.heappush(self._heap, (when, next(self._order), item))
        if len(self._heap) > self._compact_size:
            self._heap = [entry for entry in self._heap if entry[2].due_at == entry[0]]
            heapq.heapify(self._heap)
            self._compact_size = 2 * len(self._heap) + _MIN_COMPACT_SIZE
        if when < self._timer_at:
            self._start_timer()

    def clear(self) -> None:
        """Remove all items, and stop the timer."""
        self._heap.clear()
        self._cancel_timer()

    async def close(self) -> None:
        """Stop the timer for good, and wait for its end."""
        timer, self._is_closed = self._timer, True
        self.clear()
        if timer is not None:
            await asyncio.gather(timer, return_exceptions=True)

    def _start_timer(self) -> None:
        self._cancel_timer()
        if self._heap and not self._is_closed:
            self._timer_at = self._heap[0][0]
            self._timer = asyncio.get_running_loop().create_task(self._run_timer())

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._timer_at = None, NEVER

    async def _run_timer(self) -> None:
        await self._clock.sleep(self._timer_at - self._clock.now())
        self._timer, self._timer_at = None, NEVER
        if due := self._pop_due():
            self._on_due(due)
        self._start_timer()

    def _pop_due(self) -> list[T]:
        """Remove and return the items that are due, and others that may be early with them."""
        now = horizon = self._clock.now()
        due: list[T] = []
        while self._heap and self._heap[0][0] <= horizon:
            when, _, item = heapq.heappop(self._heap)
            if item.due_at == when:
                item.due_at = NEVER
                due.append(item)
                horizon = now + self._coalesce
        return due

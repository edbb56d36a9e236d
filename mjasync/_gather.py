"""Many Tasks at once, within a limit."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Collection, Iterable, Iterator
from typing import Any, Final

from ._circuit_breaker import CircuitBreaker, CircuitState
from ._clock import Clock
from ._models import TaskPhase
from ._task import Task, suppress_unawaited_warning
from .errors import MJError, SubmitUncertain

__all__ = ["TaskGroupIterator", "flatten"]

_log: Final = logging.getLogger("mjasync")


def flatten(tasks: Iterable[object]) -> Iterator[Task]:
    """Yield Tasks that were given one by one, in lists, or by generators; they warn no more.

    Raises:
        TypeError: Something else is among them.
    """
    for item in tasks:
        if not isinstance(item, Task) and isinstance(item, Iterable) and not _is_text(item):
            yield from (suppress_unawaited_warning(_check_task(one)) for one in item)
        else:
            yield suppress_unawaited_warning(_check_task(item))


class TaskGroupIterator:
    """Tasks under way: one is drawn whenever there is room, and each comes out when it ends.

    With a limit, no further Task starts while submissions end without a definite outcome: see
    `CircuitBreaker`.
    """

    def __init__(
        self, tasks: Iterable[Task] | AsyncIterable[Task] | Task, limit: int | None, clock: Clock
    ) -> None:
        given: object = tasks
        if isinstance(given, Task):
            given = [suppress_unawaited_warning(given)]
        elif _is_text(given) or not isinstance(given, Iterable | AsyncIterable):
            _check_task(given)
        elif isinstance(given, Collection):
            given = list(flatten(given))
        self._all: list[Task] = given if isinstance(given, list) else []
        self._source = _iterate(given) if isinstance(given, AsyncIterable) else None
        self._pending = iter(given) if isinstance(given, Iterable) else iter(())
        self._limit = limit
        self._clock = clock
        self._breaker = None if limit is None else CircuitBreaker()
        self._number = 0
        self._started: set[Task] = set()
        self._running: set[asyncio.Task[Any]] = set()
        self._fetch_task: asyncio.Task[Any] | None = None
        self._timer: asyncio.Task[Any] | None = None
        self._is_exhausted = False
        self._completed: asyncio.Queue[asyncio.Task[Any] | None] = asyncio.Queue()

    async def next_completed(self) -> Task | None:
        """Return the next Task that ends; None after the last one."""
        while True:
            if self._has_room() and self._can_submit():
                await self._fetch_next_task()
                if self._fetch_task is None and self._completed.empty():
                    continue
            if not (self._running or self._fetch_task or self._timer):
                return None
            job = await self._completed.get()
            if job is None or job is self._timer:
                self._timer = self._timer if job is None else None
            elif job is self._fetch_task:
                self._fetch_task = None
                self._add_task(job.result())
            else:
                self._running.discard(job)
                ended: Task = job.result()
                return ended

    async def cancel_all(self, *, cancelled: bool) -> None:
        """Wait for none of them any longer; jobs the server accepted go on.

        Args:
            cancelled: Whether that is for good: Tasks not begun are closed.
        """
        jobs = [*self._running, *filter(None, [self._fetch_task, self._timer])]
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)
        for task in self._all if cancelled else ():
            if task not in self._started and task.phase is TaskPhase.NEW:
                task.close()
        if self._source is not None:
            await self._source.aclose()

    async def _fetch_next_task(self) -> None:
        """Take what is at hand; one that must be waited for comes as news."""
        if self._breaker is not None:  # announced first: the circuit may open meanwhile
            self._number = self._breaker.start_submission()
        if self._source is not None:
            self._fetch_task = self._start(anext(self._source, None))
            return
        drawn = next(self._pending, None)
        if drawn is not None:
            suppress_unawaited_warning(_check_task(drawn))
        await asyncio.sleep(0)  # one at a time: others have a turn in between
        self._add_task(drawn)

    def _add_task(self, task: Task | None) -> None:
        if task is None:
            self._is_exhausted = True
        elif self._breaker is None or task.id:
            self._running.add(self._start(self._on_done(task)))
        else:
            self._running.add(self._start(self._run_observed(task, self._breaker, self._number)))
            return
        if self._breaker is not None:
            self._breaker.record_not_taken(self._number)

    def _has_room(self) -> bool:
        if self._is_exhausted or self._fetch_task is not None:
            return False
        return self._limit is None or len(self._running) < self._limit

    def _can_submit(self) -> bool:
        """Return whether the circuit lets a submission through; else try again when it may."""
        delay = self._breaker.delay(self._clock.now()) if self._breaker else 0.0
        if delay and self._timer is None:
            self._timer = self._start(self._clock.sleep(delay))
        return delay == 0

    def _start(self, task: Awaitable[Any]) -> asyncio.Task[Any]:
        job = asyncio.ensure_future(task)
        job.add_done_callback(self._completed.put_nowait)
        return job

    async def _on_done(self, task: Task) -> Task:
        """Wait for a Task; what it raised stays on it."""
        self._started.add(task)
        try:
            await task.wait()
        except Exception:  # noqa: BLE001 - on task.error
            _log.debug("%r ended with an error", task)
        return task

    async def _run_observed(self, task: Task, breaker: CircuitBreaker, number: int) -> Task:
        """Wait for a Task, and report the outcome of its submission to the circuit breaker."""
        is_told = False

        def accepted(link: Task) -> None:
            nonlocal is_told
            if link.id and not is_told:
                was_open = breaker.state is not CircuitState.CLOSED
                breaker.record_accepted(number)
                is_told = True
                if was_open:  # there is room again
                    self._completed.put_nowait(None)

        try:
            with task._listening(accepted):  # noqa: SLF001 - a friend
                await self._on_done(task)
            accepted(task)
            if not is_told and isinstance(task.error, SubmitUncertain):
                self._record_uncertain(breaker, number, task.error)
                is_told = True
        finally:
            if not is_told:
                breaker.record_not_taken(number)
        return task

    def _record_uncertain(self, breaker: CircuitBreaker, number: int, error: MJError) -> None:
        was_closed = breaker.state is CircuitState.CLOSED
        breaker.record_uncertain(number, error, self._clock.now())
        if was_closed and breaker.state is not CircuitState.CLOSED:
            _log.warning("gather is held up: %s", breaker.reason)


async def _iterate(tasks: AsyncIterable[Task]) -> AsyncGenerator[Task, None]:
    async for task in tasks:
        suppress_unawaited_warning(_check_task(task))
        yield task


def _is_text(value: object) -> bool:
    return isinstance(value, str | bytes | bytearray)


def _check_task(given: object) -> Task:
    """Return a Task as it is.

    Raises:
        TypeError: It is none.
    """
    if isinstance(given, Task):
        return given
    if asyncio.iscoroutine(given):
        given.close()
        message = "Pass the Task itself, without .wait(): a coroutine was given instead of a Task."
        raise TypeError(message)
    message = f"Tasks are wanted, as in mj.gather(mj.imagine('a fox'), …), not {given!r}."
    raise TypeError(message)

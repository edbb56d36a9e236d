"""Runs many Tasks concurrently, within a limit."""

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

_log: Final = logging.getLogger("mjasync")


def flatten(tasks: Iterable[object]) -> Iterator[Task]:
    """Yield the Tasks of arguments that are Tasks or iterables of Tasks.

    Raises:
        TypeError: An argument is something else.
    """
    for item in tasks:
        if not isinstance(item, Task) and isinstance(item, Iterable) and not _is_text(item):
            yield from (suppress_unawaited_warning(_check_task(task)) for task in item)
        else:
            yield suppress_unawaited_warning(_check_task(item))


class TaskGroupIterator:
    """Starts Tasks while fewer than `limit` are running, and returns each when it has ended.

    With a limit, no further Task starts while submissions end without a definite response: see
    `CircuitBreaker`.
    """

    def __init__(
        self, tasks: Iterable[Task] | AsyncIterable[Task] | Task, limit: int | None, clock: Clock
    ) -> None:
        source: object = tasks
        if isinstance(source, Task):
            source = [suppress_unawaited_warning(source)]
        elif _is_text(source) or not isinstance(source, Iterable | AsyncIterable):
            _check_task(source)
        elif isinstance(source, Collection):
            source = list(flatten(source))
        self._all: list[Task] = source if isinstance(source, list) else []
        self._async_source = _iterate(source) if isinstance(source, AsyncIterable) else None
        self._pending = iter(source) if isinstance(source, Iterable) else iter(())
        self._limit = limit
        self._clock = clock
        self._breaker = None if limit is None else CircuitBreaker()
        self._submission_number = 0
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
            completed = await self._completed.get()
            if completed is None:  # the circuit was closed
                continue
            if completed is self._timer:
                self._timer = None
            elif completed is self._fetch_task:
                self._fetch_task = None
                self._add_task(completed.result())
            else:
                self._running.discard(completed)
                task: Task = completed.result()
                return task

    async def cancel_all(self, *, cancelled: bool) -> None:
        """Stop waiting; accepted tasks continue on the server.

        Args:
            cancelled: Whether to close the Tasks that were not submitted.
        """
        asyncio_tasks = [*self._running, *filter(None, [self._fetch_task, self._timer])]
        for asyncio_task in asyncio_tasks:
            asyncio_task.cancel()
        await asyncio.gather(*asyncio_tasks, return_exceptions=True)
        for task in self._all if cancelled else ():
            if task not in self._started and task.phase is TaskPhase.NEW:
                task.close()
        if self._async_source is not None:
            await self._async_source.aclose()

    async def _fetch_next_task(self) -> None:
        """Start the next Task; if the source is asynchronous, when it has yielded one."""
        if self._breaker is not None:  # before the source yields, since the circuit may open
            self._submission_number = self._breaker.start_submission()
        if self._async_source is not None:
            self._fetch_task = self._start(anext(self._async_source, None))
            return
        task = next(self._pending, None)
        if task is not None:
            suppress_unawaited_warning(_check_task(task))
        await asyncio.sleep(0)  # give other tasks a turn between two submissions
        self._add_task(task)

    def _add_task(self, task: Task | None) -> None:
        if task is None:
            self._is_exhausted = True
        elif self._breaker is None or task.id:
            self._running.add(self._start(self._wait_for(task)))
        else:
            observed = self._wait_observed(task, self._breaker, self._submission_number)
            self._running.add(self._start(observed))
            return
        if self._breaker is not None:
            self._breaker.record_not_taken(self._submission_number)

    def _has_room(self) -> bool:
        if self._is_exhausted or self._fetch_task is not None:
            return False
        return self._limit is None or len(self._running) < self._limit

    def _can_submit(self) -> bool:
        """Return whether the circuit allows a submission; else set a timer for the next try."""
        delay = self._breaker.delay(self._clock.now()) if self._breaker else 0.0
        if delay and self._timer is None:
            self._timer = self._start(self._clock.sleep(delay))
        return delay == 0

    def _start(self, awaitable: Awaitable[Any]) -> asyncio.Task[Any]:
        asyncio_task = asyncio.ensure_future(awaitable)
        asyncio_task.add_done_callback(self._completed.put_nowait)
        return asyncio_task

    async def _wait_for(self, task: Task) -> Task:
        """Wait for a Task; its error stays in `task.error`."""
        self._started.add(task)
        try:
            await task.wait()
        except Exception:  # noqa: BLE001 - it is in task.error
            _log.debug("%r ended with an error", task)
        return task

    async def _wait_observed(self, task: Task, breaker: CircuitBreaker, number: int) -> Task:
        """Wait for a Task, and report the outcome of its submission to the circuit breaker."""
        report = _SubmissionReport(breaker, number, self._completed)
        try:
            with task._listening(report.on_change):  # noqa: SLF001 - part of the package
                await self._wait_for(task)
            report.on_change(task)
            if isinstance(task.error, SubmitUncertain):
                report.on_uncertain(task.error, self._clock.now())
        finally:
            report.close()
        return task


class _SubmissionReport:
    """Reports the outcome of one submission to a circuit breaker, once."""

    def __init__(
        self,
        breaker: CircuitBreaker,
        number: int,
        completed: asyncio.Queue[asyncio.Task[Any] | None],
    ) -> None:
        self._breaker = breaker
        self._number = number
        self._completed = completed
        self._is_reported = False

    def on_change(self, task: Task) -> None:
        """Report that the submission was accepted, once the Task has an id."""
        if self._is_reported or not task.id:
            return
        self._is_reported = True
        was_closed = self._breaker.state is CircuitState.CLOSED
        self._breaker.record_accepted(self._number)
        if not was_closed:  # other Tasks may start
            self._completed.put_nowait(None)

    def on_uncertain(self, error: MJError, now: float) -> None:
        """Report that the outcome is uncertain, unless the submission was accepted before."""
        if self._is_reported:
            return
        self._is_reported = True
        was_closed = self._breaker.state is CircuitState.CLOSED
        self._breaker.record_uncertain(self._number, error, now)
        if was_closed and self._breaker.state is not CircuitState.CLOSED:
            _log.warning("gather is held up: %s", self._breaker.reason)

    def close(self) -> None:
        """Report that the submission proves nothing, if nothing was reported."""
        if not self._is_reported:
            self._breaker.record_not_taken(self._number)


async def _iterate(tasks: AsyncIterable[Task]) -> AsyncGenerator[Task, None]:
    async for task in tasks:
        suppress_unawaited_warning(_check_task(task))
        yield task


def _is_text(value: object) -> bool:
    return isinstance(value, str | bytes | bytearray)


def _check_task(task: object) -> Task:
    """Check that an argument is a Task, and return it.

    Raises:
        TypeError: It is not.
    """
    if isinstance(task, Task):
        return task
    if asyncio.iscoroutine(task):
        task.close()
        message = "Pass the Task itself, without .wait(): a coroutine was passed instead of a Task."
        raise TypeError(message)
    message = f"Pass Tasks, as in mj.gather(mj.imagine('a fox'), …), not {task!r}."
    raise TypeError(message)

"""A submission that is sent exactly once, however many callers wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from enum import Enum, auto
from typing import Final, Protocol

import attrs

from ._context import ClientContext
from ._error_base import copy_for_raising
from ._http.retry import Delay
from ._http.submission import SubmitRequest, cancelled_in_flight
from ._models import SubmitReceipt, TaskInfo, TaskPhase
from ._submission_queue import HeldUp, Ticket
from ._submission_tasks import SubmissionTask
from .errors import ClientClosed, MJError, TaskCancelled, TaskTimeout

SubmitLock = AbstractAsyncContextManager[None]


class RequestBuilder(Protocol):
    """Builds the request of a submission when it is about to be sent."""

    async def build(self, stall_timeout: float, /) -> SubmitRequest | TaskInfo:
        """Return the request, or the task if there is nothing to send because it runs already.

        Args:
            stall_timeout: Seconds without progress of the parent task before the wait for it fails.
        """
        ...


@attrs.frozen(kw_only=True)
class SubmissionCallbacks:
    """Callbacks for the outcome of a submission."""

    on_accepted: Callable[[SubmitReceipt, SubmitRequest], TaskInfo]
    """Stores the receipt of the server; returns the first state of the task."""
    on_already_running: Callable[[TaskInfo], None]
    """Stores the state of a task that needed no submission."""
    is_settled: Callable[[TaskInfo], bool]
    """Returns whether a task has ended, or waits for the answer to a modal."""
    on_held_up: Callable[[], None]
    """Called when the server refuses the submission for now."""


class SubmissionState(Enum):
    """The state of a submission.

    NEW → PREPARING → QUEUED → IN_FLIGHT → ACCEPTED or REFUSED. A retry leads from IN_FLIGHT back to
    QUEUED. A submission that nobody waits for any more, or that could not be prepared, is NEW
    again. Before it is in flight, it can be CLOSED.
    """

    NEW = auto()
    PREPARING = auto()
    """It waits for its parent task, or its images are read."""
    QUEUED = auto()
    """It waits for its turn or for a retry."""
    IN_FLIGHT = auto()
    """The request is sent, and the response is awaited."""
    ACCEPTED = auto()
    """The server has accepted it, or nothing had to be sent."""
    REFUSED = auto()
    """The server has refused it, or its outcome is uncertain: it is never sent again."""
    CLOSED = auto()
    """The caller closed it before it was sent."""


_PHASES: Final = {
    SubmissionState.NEW: TaskPhase.NEW,
    SubmissionState.PREPARING: TaskPhase.PREPARING,
    SubmissionState.QUEUED: TaskPhase.QUEUED,
    SubmissionState.IN_FLIGHT: TaskPhase.SENDING,
    SubmissionState.ACCEPTED: TaskPhase.SUBMITTED,
    SubmissionState.REFUSED: TaskPhase.FAILED,
    SubmissionState.CLOSED: TaskPhase.CLOSED,
}
_FINAL_STATES: Final = frozenset(
    {SubmissionState.ACCEPTED, SubmissionState.REFUSED, SubmissionState.CLOSED}
)


class PendingSubmission:
    """One submission: sent exactly once by an asyncio task of its own, its outcome remembered.

    A waiter that is cancelled never interrupts a request in flight. When the last waiter has left,
    nothing more is sent: neither a first attempt nor a retry. The next waiter starts again.
    """

    __slots__ = (
        "_asyncio_task",
        "_builder",
        "_context",
        "_error",
        "_lock",
        "_request",
        "_state",
        "_ticket",
        "_waiter_count",
    )

    def __init__(
        self, context: ClientContext, builder: RequestBuilder, lock: SubmitLock | None = None
    ) -> None:
        """Submissions that share a `lock` are prepared and sent one after the other."""
        self._context = context
        self._builder = builder
        self._request: SubmitRequest | None = None
        self._lock: SubmitLock = lock or nullcontext()
        self._asyncio_task: SubmissionTask | None = None
        self._waiter_count = 0
        self._state = SubmissionState.NEW
        self._ticket: Ticket | None = None
        self._error: MJError | None = None

    @property
    def is_accepted(self) -> bool:
        """Whether the server has accepted it, or nothing had to be sent."""
        return self._state is SubmissionState.ACCEPTED

    @property
    def phase(self) -> TaskPhase:
        """The phase of its Task until it is accepted."""
        self._detect_closed_loop()
        is_final = self._state in _FINAL_STATES
        return TaskPhase.HELD_UP if self.held_up and not is_final else _PHASES[self._state]

    @property
    def held_up(self) -> HeldUp | None:
        """The retries, while the server refuses the submission for now; else None."""
        return self._ticket.held_up if self._ticket and not self.is_accepted else None

    @property
    def refusal(self) -> MJError | None:
        """The final error, if there is one."""
        self._detect_closed_loop()
        return self._error

    def close(self) -> bool:
        """Close it unless it was sent; return whether it is closed."""
        if self._state is SubmissionState.IN_FLIGHT or self._state in _FINAL_STATES:
            return self._state is SubmissionState.CLOSED
        self._fail(TaskCancelled("This Task was closed before it was sent."), is_closed=True)
        if self._asyncio_task is not None:
            self._asyncio_task.cancel()
        return True

    async def wait_until_accepted(
        self, deadline: float, stall_timeout: float, callbacks: SubmissionCallbacks
    ) -> None:
        """Send it if necessary, and return once the server has accepted it.

        Args:
            deadline: The time on the client's clock at which the wait fails.
            stall_timeout: Seconds without progress of the parent task before its wait fails.
            callbacks: The callbacks of the first waiter. They are not stored here, so that a Task
                that is dropped before it was sent is deleted, and warns, at once.

        Raises:
            TaskTimeout: It was not accepted by the deadline.
            MJError: The final error, again each time.
        """
        if self._state is SubmissionState.ACCEPTED:
            return
        if self._error is not None:
            raise copy_for_raising(self._error)
        if self._asyncio_task is None:
            tasks = self._context.submission_tasks
            tasks.check_open()
            self._asyncio_task = tasks.spawn(self._run(stall_timeout, callbacks))
        asyncio_task = self._asyncio_task
        await self._wait_for(asyncio_task, deadline)
        if self.is_accepted:
            return
        if self._error is not None:
            raise copy_for_raising(self._error)
        if asyncio_task.cancelled():
            raise ClientClosed("The Client was closed before this was sent.")
        error = asyncio_task.exception()
        if error is not None:
            raise copy_for_raising(error)

    async def _wait_for(self, asyncio_task: SubmissionTask, deadline: float) -> None:
        self._waiter_count += 1
        try:
            await self._context.poller.wait_for(deadline, asyncio_task)
        except TaskTimeout as error:
            if self._state is SubmissionState.QUEUED:  # in flight, the outcome would be unknown
                error._mark_unsent(self.held_up.error if self.held_up else None)  # noqa: SLF001
            raise
        finally:
            self._waiter_count -= 1
            self._release(asyncio_task)

    def _release(self, asyncio_task: SubmissionTask) -> None:
        """Cancel a submission without waiters unless it is in flight; forget one that failed."""
        is_abandoned = not (asyncio_task.done() or self._waiter_count or asyncio_task.is_in_flight)
        if is_abandoned:
            asyncio_task.cancel()
        if self._asyncio_task is asyncio_task and (is_abandoned or _has_failed(asyncio_task)):
            self._asyncio_task = None

    async def _run(self, stall_timeout: float, callbacks: SubmissionCallbacks) -> None:
        """Prepare and send."""
        self._state = SubmissionState.PREPARING
        try:
            async with self._lock:
                request = self._request or await self._builder.build(stall_timeout)
                if isinstance(request, TaskInfo):
                    callbacks.on_already_running(request)
                    self._state = SubmissionState.ACCEPTED
                else:
                    self._request = request  # an open file can be read only once
                    await self._submit(request, callbacks)
        finally:
            is_current = self._asyncio_task in {None, asyncio.current_task()}
            if is_current and self._state not in _FINAL_STATES:  # else another run has begun
                self._state = SubmissionState.NEW

    async def _submit(self, request: SubmitRequest, callbacks: SubmissionCallbacks) -> None:
        context = self._context
        ticket = self._ticket = context.queue.create_ticket(request, callbacks.on_held_up)
        self._state = SubmissionState.QUEUED
        try:
            await ticket.acquire()
            receipt = await context.api.submit(request, context.submit_policy, self)
            self._state = SubmissionState.ACCEPTED
        except MJError as error:
            self._fail(error)
            raise
        except BaseException:
            if _current_submission_task().is_in_flight:  # cancelled, but not by this class
                self._fail(cancelled_in_flight(request))
            raise
        finally:
            if self._ticket is ticket:
                self._ticket = None
            ticket.leave_queue()
            if not self.is_accepted:
                ticket.release()
        info = callbacks.on_accepted(receipt, request)
        if ticket.is_holding:
            context.call_when_ended(info, callbacks.is_settled, ticket.release)

    def set_in_flight(self, is_in_flight: bool, /) -> None:  # noqa: FBT001 - a plain switch
        """Note that an attempt begins, or that it has ended without being cancelled."""
        asyncio_task = _current_submission_task()
        asyncio_task.is_in_flight = is_in_flight
        self._state = SubmissionState.IN_FLIGHT if is_in_flight else SubmissionState.QUEUED
        if not is_in_flight:  # later, when the outcome of the attempt is known
            asyncio.get_running_loop().call_soon(self._release, asyncio_task)

    async def wait_for_retry(self, delay: Delay, /) -> None:
        """Wait until the next attempt, unless the submission was to be cancelled in flight."""
        if _current_submission_task().is_stopping or self._ticket is None:
            raise asyncio.CancelledError
        await self._ticket.wait_for_retry(delay)

    def _fail(self, error: MJError, *, is_closed: bool = False) -> None:
        self._error = error
        self._state = SubmissionState.CLOSED if is_closed else SubmissionState.REFUSED

    def _detect_closed_loop(self) -> None:
        """Note that the event loop was closed during an attempt, which had no chance to end."""
        asyncio_task, request = self._asyncio_task, self._request
        if self._state is not SubmissionState.IN_FLIGHT or asyncio_task is None or request is None:
            return
        if asyncio_task.get_loop().is_closed():
            self._fail(cancelled_in_flight(request))


def _current_submission_task() -> SubmissionTask:
    asyncio_task = asyncio.current_task()
    assert isinstance(asyncio_task, SubmissionTask)  # noqa: S101 - `_run` runs in no other task
    return asyncio_task


def _has_failed(asyncio_task: SubmissionTask) -> bool:
    return asyncio_task.done() and (
        asyncio_task.cancelled() or asyncio_task.exception() is not None
    )

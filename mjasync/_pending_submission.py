"""A submission that is sent exactly once, however many callers wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any, Final

import attrs

from ._clock import Clock
from ._event_loop import EventLoopBinding
from ._http.api import ServerApi
from ._http.retry import Delay
from ._http.submission import SubmitRequest, cancelled_in_flight
from ._models import Speed, SubmitReceipt, TaskInfo, TaskPhase
from ._polling.poller import Poller
from ._polling.watch import Waiter
from ._submission_queue import HeldUp, SubmissionQueue, Ticket
from ._validation import CLIENT_DEFAULT, ClientDefault, check_seconds
from .errors import ClientClosed, MJError, TaskCancelled, TaskTimeout, copy_for_raising

__all__ = [
    "BuildRequest",
    "ClientContext",
    "PendingSubmission",
    "SubmissionCallbacks",
    "SubmissionTask",
    "SubmitLock",
    "cancel_in_flight_submissions",
]

BuildRequest = Callable[[float], Awaitable[SubmitRequest | TaskInfo]]
"""Waits for what must come first, with so many seconds' patience for no change at all, and makes
the request; or finds the job running already."""
SubmitLock = AbstractAsyncContextManager[None]
_SHUTDOWN_GRACE_SECONDS: Final = 10.0
"""Seconds that the end of a loop waits for submissions on the wire."""


@attrs.frozen(kw_only=True)
class SubmissionCallbacks:
    """Callbacks for the outcome of a submission."""

    on_accepted: Callable[[SubmitReceipt, SubmitRequest], TaskInfo]
    """Notes what the server accepted; returns the first snapshot of it."""
    on_already_running: Callable[[TaskInfo], None]
    """Notes that the job runs already."""
    is_settled: Callable[[TaskInfo], bool]
    """Tells whether a job has ended, or waits for something else than the server."""
    on_change: Callable[[], None]
    """Called when the server refuses the submission for now."""


class SubmissionTask(asyncio.Task[None]):
    """Carries one submission; while that is on the wire, the end of the loop waits for it.

    `asyncio.run` cancels all tasks at its end, also after an error or Ctrl-C. The loop is not
    running then, which distinguishes this from a timeout.
    """

    is_in_flight: bool = False
    is_stopping: bool = False
    """Whether nothing more may be sent: it was to be cancelled while it was on the wire."""
    cancels_at_once: bool = False
    """Whether the end of the loop tears it off the wire."""

    def cancel(self, msg: Any | None = None) -> bool:  # noqa: ANN401 - as asyncio has it
        """Cancel it; if the loop is ending and it is on the wire, only after a while."""
        loop = self.get_loop()
        if self.cancels_at_once or not self.is_in_flight or loop.is_running():
            return super().cancel(msg)
        self.is_stopping = True
        loop.call_later(_SHUTDOWN_GRACE_SECONDS, self.cancel)
        return False


def cancel_in_flight_submissions() -> None:
    """Let the end of the running loop tear submissions off the wire."""
    for task in asyncio.all_tasks():
        if isinstance(task, SubmissionTask):
            task.cancels_at_once = True


@attrs.define(kw_only=True)
class ClientContext:
    """What a Task needs of its client."""

    api: ServerApi
    poller: Poller
    clock: Clock
    timeout: float
    stall_timeout: float
    submissions: SubmissionQueue
    loop: EventLoopBinding = attrs.field(factory=EventLoopBinding)
    submission_tasks: set[SubmissionTask] = attrs.field(factory=set)
    """Submissions under way, each waiting for its parent, to be sent, or on the wire."""
    echoes_state: bool = False
    """Whether the server was seen to repeat the state that a submission carried."""
    speed: Speed | None = None
    speed_by_path: bool = True
    speed_by_prompt: bool = False
    """How a speed is asked for; by both, perhaps."""
    closed: bool = False

    @property
    def in_flight(self) -> set[SubmissionTask]:
        """Submissions that must be let finish."""
        return {job for job in self.submission_tasks if job.is_in_flight}

    def check_open(self) -> None:
        """Let no submission begin once the client is closing, or in another event loop.

        Raises:
            ClientClosed: It is closing.
            ConfigurationError: It belongs to another event loop.
        """
        self.loop.check()
        if self.closed:
            raise ClientClosed("This Client is closed.")

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> SubmissionTask:
        """Run a submission on its own, so that no waiter's cancellation tears it off the wire."""
        task = SubmissionTask(coroutine, loop=asyncio.get_running_loop())
        self.submission_tasks.add(task)
        task.add_done_callback(self._on_done)
        return task

    def call_when_ended(
        self, info: TaskInfo, is_settled: Callable[[TaskInfo], bool], release: Callable[[], None]
    ) -> None:
        """Watch a task for the submissions behind it; call `release` when it has ended.

        A job that cannot be seen to end lets go when a wait of its own would have given up.
        """
        try:
            waiter = self.poller.watch(
                info, is_settled, is_known=True, deadline=self.deadline(), stall=self.stall_timeout
            )
        except MJError:
            release()
            return

        def ended(waiter: Waiter) -> None:
            self.poller.unwatch(waiter)
            if not waiter.cancelled():
                waiter.exception()  # retrieved, so that asyncio does not log it
            release()

        waiter.add_done_callback(ended)

    async def close(self) -> None:
        """Let what is on the wire finish; drop every submission that is not."""
        self.closed = True
        self.api.stop_retrying()
        for job in self.submission_tasks - self.in_flight:
            job.cancel()
        if self.submission_tasks:
            await asyncio.wait(self.submission_tasks)

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self.submission_tasks.discard(task)
        if not task.cancelled():
            task.exception()  # waiters raise their own copy; there may be none left

    def deadline(self, timeout: float | ClientDefault | None = CLIENT_DEFAULT) -> float:
        """Return when a wait that begins now must end, on the client's clock.

        Raises:
            ConfigurationError: The timeout is no duration.
        """
        if isinstance(timeout, ClientDefault):
            return self.clock.now() + self.timeout
        return self.clock.now() + check_seconds("timeout", timeout)

    def stall(self, stall_timeout: float | ClientDefault | None) -> float:
        """Return the seconds a wait may see no change.

        Raises:
            ConfigurationError: The timeout is no duration.
        """
        if isinstance(stall_timeout, ClientDefault):
            return self.stall_timeout
        return check_seconds("stall_timeout", stall_timeout)


class PendingSubmission:
    """One submission: sent by a job of its own, exactly once, its outcome remembered.

    A waiter that leaves never takes a request off the wire. When the last one has left, nothing
    more goes out: neither a first attempt nor another one. The next waiter starts over.
    """

    __slots__ = (
        "_asyncio_task",
        "_build_request",
        "_context",
        "_is_accepted",
        "_lock",
        "_phase",
        "_refusal",
        "_request",
        "_ticket",
        "_waiter_count",
    )

    def __init__(
        self, context: ClientContext, build_request: BuildRequest, lock: SubmitLock | None = None
    ) -> None:
        """Launches that share a `lock` are prepared and sent one after the other."""
        self._context = context
        self._build_request = build_request
        self._request: SubmitRequest | None = None
        self._lock: SubmitLock = lock or nullcontext()
        self._asyncio_task: SubmissionTask | None = None
        self._waiter_count = 0
        self._phase = TaskPhase.NEW
        self._ticket: Ticket | None = None
        self._refusal: MJError | None = None
        self._is_accepted = False

    @property
    def is_accepted(self) -> bool:
        """Whether the server has it, or nothing had to be sent."""
        return self._is_accepted

    @property
    def phase(self) -> TaskPhase:
        """What happens to the submission."""
        if self.refusal is not None and self._phase is not TaskPhase.CLOSED:
            return TaskPhase.FAILED
        return TaskPhase.HELD_UP if self.held_up else self._phase

    @property
    def held_up(self) -> HeldUp | None:
        """What the server refused it for; None while it did not, and once it is accepted."""
        return self._ticket.held_up if self._ticket and not self._is_accepted else None

    @property
    def refusal(self) -> MJError | None:
        """What became of it for good, where that is an error."""
        job, prepared = self._asyncio_task, self._request
        is_on_wire = job is not None and job.is_in_flight
        if self._refusal is None and job is not None and is_on_wire and prepared is not None:
            was_torn_off = job.get_loop().is_closed()  # with no chance to end
            self._refusal = cancelled_in_flight(prepared) if was_torn_off else None
        return self._refusal

    def close(self) -> bool:
        """Send it never; return whether that could be had: it is not on the wire, nor was sent."""
        is_on_wire = self._asyncio_task is not None and self._asyncio_task.is_in_flight
        if self._phase is TaskPhase.CLOSED:
            return True
        if self._is_accepted or is_on_wire or self._refusal is not None:
            return False
        self._refusal = TaskCancelled("This Task was closed before it was sent.")
        self._phase = TaskPhase.CLOSED
        if self._asyncio_task is not None:
            self._asyncio_task.cancel()
        return True

    async def wait_until_accepted(
        self, deadline: float, stall: float, callbacks: SubmissionCallbacks
    ) -> None:
        """Return once the server has accepted it.

        The `callbacks` is not kept, so that a Task dropped before it was sent is gone, and warns,
        at once.

        Raises:
            TaskTimeout: Not by the deadline.
            MJError: What became of it instead; a refusal is raised again each time.
        """
        if self._is_accepted:
            return
        if self._refusal is not None:
            raise copy_for_raising(self._refusal)
        if self._asyncio_task is None:
            self._context.check_open()
            self._asyncio_task = self._context.spawn(self._run(stall, callbacks))
        job = self._asyncio_task
        await self._wait_for(job, deadline)
        if self.is_accepted:
            return
        if self._refusal is not None:
            raise copy_for_raising(self._refusal)
        if job.cancelled():
            raise ClientClosed("The Client was closed before this was sent.")
        error = job.exception()
        if error is not None:
            raise copy_for_raising(error)

    async def _wait_for(self, asyncio_task: SubmissionTask, deadline: float) -> None:
        self._waiter_count += 1
        try:
            await self._context.poller.wait_for(deadline, asyncio_task)
        except TaskTimeout as error:
            is_queued = self._phase is TaskPhase.QUEUED and not self._is_accepted
            if is_queued and self._refusal is None:  # in flight, the outcome would be unknown
                error._mark_unsent(self.held_up.error if self.held_up else None)  # noqa: SLF001
            raise
        finally:
            self._waiter_count -= 1
            self._release(asyncio_task)

    def _release(self, asyncio_task: SubmissionTask) -> None:
        """Cancel a submission without waiters unless it is in flight; forget a failed one."""
        abandoned = not (asyncio_task.done() or self._waiter_count or asyncio_task.is_in_flight)
        if abandoned:
            asyncio_task.cancel()
        if self._asyncio_task is asyncio_task and (abandoned or _failed(asyncio_task)):
            self._asyncio_task = None

    async def _run(self, stall: float, callbacks: SubmissionCallbacks) -> None:
        """Prepare and send; whatever comes of sending is remembered."""
        self._phase = TaskPhase.PREPARING
        try:
            async with self._lock:
                prepared = self._request or await self._build_request(stall)
                if isinstance(prepared, TaskInfo):
                    callbacks.on_already_running(prepared)
                else:
                    self._request = prepared  # an open file gives its bytes only once
                    await self._submit(prepared, callbacks)
                self._is_accepted = True
        finally:
            if not self._is_accepted and self._phase is not TaskPhase.CLOSED:
                self._phase = TaskPhase.NEW

    async def _submit(self, request: SubmitRequest, callbacks: SubmissionCallbacks) -> None:
        runtime, job = self._context, _current_submission_task()
        ticket = self._ticket = runtime.submissions.create_ticket(request, callbacks.on_change)
        self._phase = TaskPhase.QUEUED

        async def wait(delay: Delay) -> None:
            if job.is_stopping:
                raise asyncio.CancelledError
            await ticket.wait_for_retry(delay)

        try:
            await ticket.acquire()
            receipt = await runtime.api.submit(request, self._set_in_flight, wait)
            self._is_accepted = True
            info = callbacks.on_accepted(receipt, request)
        except MJError as error:
            self._refusal = error
            raise
        except BaseException:
            if job.is_in_flight:  # stopped by others: here it is let finish
                self._refusal = cancelled_in_flight(request)
            raise
        finally:
            if self._ticket is ticket:
                self._ticket = None
            ticket.leave_queue()
            if not self._is_accepted:
                ticket.release()
        if ticket.is_holding:
            runtime.call_when_ended(info, callbacks.is_settled, ticket.release)

    def _set_in_flight(self, is_in_flight: bool) -> None:  # noqa: FBT001 - a plain switch
        job = _current_submission_task()
        job.is_in_flight = is_in_flight
        self._phase = TaskPhase.SENDING if is_in_flight else TaskPhase.QUEUED
        if not is_in_flight:  # soon: first it ends, or sets out to try again
            asyncio.get_running_loop().call_soon(self._release, job)


def _current_submission_task() -> SubmissionTask:
    job = asyncio.current_task()
    assert isinstance(job, SubmissionTask)  # noqa: S101 - only such a task gets here
    return job


def _failed(job: SubmissionTask) -> bool:
    return job.done() and (job.cancelled() or job.exception() is not None)

"""Sending a submission exactly once, whoever waits for it and whoever stops waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any, Final

import attrs

from ._clock import Clock
from ._event_loop import EventLoopBinding
from ._http.api import Calls
from ._http.retry import Delay
from ._http.submission import Submission, torn_off
from ._models import Speed, SubmitReceipt, TaskInfo, TaskPhase
from ._polling.poller import Watcher
from ._polling.watch import Waiter
from ._submission_queue import HeldUp, SubmissionQueue, Ticket
from ._validation import CLIENT_DEFAULT, ClientDefault, seconds
from .errors import ClientClosed, MJError, TaskCancelled, TaskTimeout, twin_of

__all__ = ["Launch", "Prepare", "Receiver", "Runtime", "SubmissionTask", "Turn", "stop_at_once"]

Prepare = Callable[[float], Awaitable[Submission | TaskInfo]]
"""Waits for what must come first, with so many seconds' patience for no change at all, and makes
the request; or finds the job running already."""
Turn = AbstractAsyncContextManager[None]
_LAST_SECONDS: Final = 10.0
"""Seconds that the end of a loop waits for submissions on the wire."""


@attrs.frozen(kw_only=True)
class Receiver:
    """Who is told what becomes of a submission."""

    take: Callable[[SubmitReceipt, Submission], TaskInfo]
    """Notes what the server accepted; returns the first snapshot of it."""
    adopt: Callable[[TaskInfo], None]
    """Notes that the job runs already."""
    settles: Callable[[TaskInfo], bool]
    """Tells whether a job has ended, or waits for something else than the server."""
    notify: Callable[[], None]
    """Tells whoever listens that the submission is held up."""


class SubmissionTask(asyncio.Task[None]):
    """Carries one submission; while that is on the wire, the end of the loop waits for it.

    `asyncio.run` cancels every task at its end, be it for an error, for Ctrl-C or for a second one.
    It does so while the loop stands still, which tells that from a timeout.
    """

    is_on_wire: bool = False
    is_stopping: bool = False
    """Whether nothing more may be sent: it was to be cancelled while it was on the wire."""
    stops_at_once: bool = False
    """Whether the end of the loop tears it off the wire."""

    def cancel(self, msg: Any | None = None) -> bool:  # noqa: ANN401 - as asyncio has it
        """Cancel it; if the loop is ending and it is on the wire, only after a while."""
        loop = self.get_loop()
        if self.stops_at_once or not self.is_on_wire or loop.is_running():
            return super().cancel(msg)
        self.is_stopping = True
        loop.call_later(_LAST_SECONDS, self.cancel)
        return False


def stop_at_once() -> None:
    """Let the end of the running loop tear submissions off the wire."""
    for task in asyncio.all_tasks():
        if isinstance(task, SubmissionTask):
            task.stops_at_once = True


@attrs.define(kw_only=True)
class Runtime:
    """What a Task needs of its client."""

    calls: Calls
    watcher: Watcher
    clock: Clock
    timeout: float
    stall_timeout: float
    submissions: SubmissionQueue
    loop: EventLoopBinding = attrs.field(factory=EventLoopBinding)
    jobs: set[SubmissionTask] = attrs.field(factory=set)
    """Submissions under way, each waiting for its parent, to be sent, or on the wire."""
    echoes_state: bool = False
    """Whether the server was seen to repeat the state that a submission carried."""
    speed: Speed | None = None
    speed_by_path: bool = True
    speed_by_prompt: bool = False
    """How a speed is asked for; by both, perhaps."""
    closed: bool = False

    @property
    def on_wire(self) -> set[SubmissionTask]:
        """Submissions that must be let finish."""
        return {job for job in self.jobs if job.is_on_wire}

    def check_open(self) -> None:
        """Let no submission begin once the client is closing, or in another event loop.

        Raises:
            ClientClosed: It is closing.
            ConfigurationError: It belongs to another event loop.
        """
        self.loop.check()
        if self.closed:
            raise ClientClosed("This Client is closed.")

    def spawn(self, job: Coroutine[Any, Any, None]) -> SubmissionTask:
        """Run a submission on its own, so that no waiter's cancellation tears it off the wire."""
        task = SubmissionTask(job, loop=asyncio.get_running_loop())
        self.jobs.add(task)
        task.add_done_callback(self._ended)
        return task

    def when_ended(
        self, info: TaskInfo, settles: Callable[[TaskInfo], bool], release: Callable[[], None]
    ) -> None:
        """Watch a job that others wait for, whoever else does; call `release` when it has ended.

        A job that cannot be seen to end lets go when a wait of its own would have given up.
        """
        try:
            waiter = self.watcher.until(
                info, settles, known=True, deadline=self.deadline(), stall=self.stall_timeout
            )
        except MJError:
            release()
            return

        def ended(waiter: Waiter) -> None:
            self.watcher.leave(waiter)
            if not waiter.cancelled():
                waiter.exception()  # nobody else asks for it
            release()

        waiter.add_done_callback(ended)

    async def close(self) -> None:
        """Let what is on the wire finish; drop every submission that is not."""
        self.closed = True
        self.calls.stop_retrying()
        for job in self.jobs - self.on_wire:
            job.cancel()
        if self.jobs:
            await asyncio.wait(self.jobs)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.jobs.discard(task)
        if not task.cancelled():
            task.exception()  # waiters raise their own copy; nobody may be left to do so

    def deadline(self, timeout: float | ClientDefault | None = CLIENT_DEFAULT) -> float:
        """Return when a wait that begins now must end, on the client's clock.

        Raises:
            ConfigurationError: The timeout is no duration.
        """
        if isinstance(timeout, ClientDefault):
            return self.clock.now() + self.timeout
        return self.clock.now() + seconds("timeout", timeout)

    def stall(self, stall_timeout: float | ClientDefault | None) -> float:
        """Return the seconds a wait may see no change.

        Raises:
            ConfigurationError: The timeout is no duration.
        """
        if isinstance(stall_timeout, ClientDefault):
            return self.stall_timeout
        return seconds("stall_timeout", stall_timeout)


class Launch:
    """One submission: sent by a job of its own, exactly once, its outcome remembered.

    A waiter that leaves never takes a request off the wire. When the last one has left, nothing
    more goes out: neither a first attempt nor another one. Whoever comes next starts over.
    """

    __slots__ = (
        "_is_accepted",
        "_job",
        "_phase",
        "_prepare",
        "_prepared",
        "_refusal",
        "_runtime",
        "_ticket",
        "_turn",
        "_waiting",
    )

    def __init__(self, runtime: Runtime, prepare: Prepare, turn: Turn | None = None) -> None:
        """Launches that share a `turn` are prepared and sent one after the other."""
        self._runtime = runtime
        self._prepare = prepare
        self._prepared: Submission | None = None
        self._turn: Turn = turn or nullcontext()
        self._job: SubmissionTask | None = None
        self._waiting = 0
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
        job, prepared = self._job, self._prepared
        is_on_wire = job is not None and job.is_on_wire
        if self._refusal is None and job is not None and is_on_wire and prepared is not None:
            was_torn_off = job.get_loop().is_closed()  # with no chance to end
            self._refusal = torn_off(prepared) if was_torn_off else None
        return self._refusal

    def close(self) -> bool:
        """Send it never; return whether that could be had: it is not on the wire, nor was sent."""
        is_on_wire = self._job is not None and self._job.is_on_wire
        if self._phase is TaskPhase.CLOSED:
            return True
        if self._is_accepted or is_on_wire or self._refusal is not None:
            return False
        self._refusal = TaskCancelled("This Task was closed before it was sent.")
        self._phase = TaskPhase.CLOSED
        if self._job is not None:
            self._job.cancel()
        return True

    async def accepted(self, deadline: float, stall: float, receiver: Receiver) -> None:
        """Return once the server has accepted it.

        The `receiver` is not kept, so that a Task dropped before it was sent is gone, and warns,
        at once.

        Raises:
            TaskTimeout: Not by the deadline.
            MJError: What became of it instead; a refusal is raised again each time.
        """
        if self._is_accepted:
            return
        if self._refusal is not None:
            raise twin_of(self._refusal)
        if self._job is None:
            self._runtime.check_open()
            self._job = self._runtime.spawn(self._send(stall, receiver))
        job = self._job
        await self._follow(job, deadline)
        if self.is_accepted:
            return
        if self._refusal is not None:
            raise twin_of(self._refusal)
        if job.cancelled():
            raise ClientClosed("The Client was closed before this was sent.")
        error = job.exception()
        if error is not None:
            raise twin_of(error)

    async def _follow(self, job: SubmissionTask, deadline: float) -> None:
        self._waiting += 1
        try:
            await self._runtime.watcher.within(deadline, job)
        except TaskTimeout as error:
            is_queued = self._phase is TaskPhase.QUEUED and not self._is_accepted
            if is_queued and self._refusal is None:  # on the wire, nobody could tell
                error._not_sent(self.held_up.error if self.held_up else None)  # noqa: SLF001
            raise
        finally:
            self._waiting -= 1
            self._let_go(job)

    def _let_go(self, job: SubmissionTask) -> None:
        """Stop a job that nobody waits for and that is not on the wire; forget one that failed."""
        abandoned = not (job.done() or self._waiting or job.is_on_wire)
        if abandoned:
            job.cancel()
        if self._job is job and (abandoned or _failed(job)):
            self._job = None

    async def _send(self, stall: float, receiver: Receiver) -> None:
        """Prepare and send; whatever comes of sending is remembered."""
        self._phase = TaskPhase.PREPARING
        try:
            async with self._turn:
                prepared = self._prepared or await self._prepare(stall)
                if isinstance(prepared, TaskInfo):
                    receiver.adopt(prepared)
                else:
                    self._prepared = prepared  # an open file gives its bytes only once
                    await self._submit(prepared, receiver)
                self._is_accepted = True
        finally:
            if not self._is_accepted and self._phase is not TaskPhase.CLOSED:
                self._phase = TaskPhase.NEW

    async def _submit(self, prepared: Submission, receiver: Receiver) -> None:
        runtime, job = self._runtime, _this_job()
        ticket = self._ticket = runtime.submissions.ticket(prepared, receiver.notify)
        self._phase = TaskPhase.QUEUED

        async def hold(delay: Delay) -> None:
            if job.is_stopping:
                raise asyncio.CancelledError
            await ticket.hold(delay)

        try:
            await ticket.enter()
            receipt = await runtime.calls.submit(prepared, self._switch_wire, hold)
            self._is_accepted = True
            info = receiver.take(receipt, prepared)
        except MJError as error:
            self._refusal = error
            raise
        except BaseException:
            if job.is_on_wire:  # stopped by others: here it is let finish
                self._refusal = torn_off(prepared)
            raise
        finally:
            if self._ticket is ticket:
                self._ticket = None
            ticket.leave_line()
            if not self._is_accepted:
                ticket.release()
        if ticket.is_holding:
            runtime.when_ended(info, receiver.settles, ticket.release)

    def _switch_wire(self, on_wire: bool) -> None:  # noqa: FBT001 - a plain switch
        job = _this_job()
        job.is_on_wire = on_wire
        self._phase = TaskPhase.SENDING if on_wire else TaskPhase.QUEUED
        if not on_wire:  # soon: first it ends, or sets out to try again
            asyncio.get_running_loop().call_soon(self._let_go, job)


def _this_job() -> SubmissionTask:
    job = asyncio.current_task()
    assert isinstance(job, SubmissionTask)  # noqa: S101 - only such a task gets here
    return job


def _failed(job: SubmissionTask) -> bool:
    return job.done() and (job.cancelled() or job.exception() is not None)

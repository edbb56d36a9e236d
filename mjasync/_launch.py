"""Sending a submission exactly once, whoever waits for it and whoever stops waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any

import attrs

from ._clock import Clock
from ._event_loop import EventLoopBinding
from ._models import Speed, SubmitReceipt, TaskInfo
from ._settings import CLIENT_DEFAULT, ClientDefault, seconds
from ._watcher import Watcher
from ._wire.calls import Calls, Submission, torn_off
from .errors import ClientClosed, MJError

__all__ = ["Launch", "Prepare", "Runtime", "Turn"]

Prepare = Callable[[float], Awaitable[Submission | TaskInfo]]
"""Waits for what must come first, with so many seconds' patience for no change at all, and makes
the request; or finds the job running already."""
Take = Callable[[SubmitReceipt, Submission], None]
Adopt = Callable[[TaskInfo], None]
Turn = AbstractAsyncContextManager[None]


@attrs.define(kw_only=True)
class Runtime:
    """What a Task needs of its client."""

    calls: Calls
    watcher: Watcher
    clock: Clock
    timeout: float
    stall_timeout: float
    loop: EventLoopBinding = attrs.field(factory=EventLoopBinding)
    jobs: set[asyncio.Task[None]] = attrs.field(factory=set)
    """Submissions under way, each waiting for its parent, to be sent, or on the wire."""
    on_wire: set[asyncio.Task[None]] = attrs.field(factory=set)
    speed: Speed | None = None
    speed_by_path: bool = True
    speed_by_prompt: bool = False
    """How a speed is asked for; by both, perhaps."""
    closed: bool = False

    def check_open(self) -> None:
        """Let no submission begin once the client is closing, or in another event loop.

        Raises:
            ClientClosed: It is closing.
            ConfigurationError: It belongs to another event loop.
        """
        self.loop.check()
        if self.closed:
            raise ClientClosed("This Client is closed.")

    def spawn(self, job: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a submission on its own, so that no waiter's cancellation tears it off the wire."""
        task = asyncio.get_running_loop().create_task(job)
        self.jobs.add(task)
        task.add_done_callback(self._ended)
        return task

    def mark(self, job: asyncio.Task[None] | None, on_wire: bool) -> None:  # noqa: FBT001
        """Note whether a submission is on the wire: there it must be let finish."""
        if job is not None:
            (self.on_wire.add if on_wire else self.on_wire.discard)(job)

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
        self.on_wire.discard(task)
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
        "_job",
        "_on_wire",
        "_prepare",
        "_prepared",
        "_refusal",
        "_runtime",
        "_turn",
        "_waiting",
    )

    def __init__(self, runtime: Runtime, prepare: Prepare, turn: Turn | None = None) -> None:
        """Launches that share a `turn` are prepared and sent one after the other."""
        self._runtime = runtime
        self._prepare = prepare
        self._prepared: Submission | None = None
        self._turn: Turn = turn or nullcontext()
        self._job: asyncio.Task[None] | None = None
        self._waiting = 0
        self._on_wire = False
        self._refusal: MJError | None = None

    async def accepted(self, deadline: float, stall: float, take: Take, adopt: Adopt) -> None:
        """Return once the server has accepted it.

        `take` is told what the server accepted, `adopt` of a job that runs already. They are not
        kept, so that a Task dropped before it was sent is gone, and warns, at once.

        Raises:
            TaskTimeout: Not by the deadline.
            MJError: What became of it instead; a refusal is raised again each time.
        """
        if self._refusal is not None:
            raise self._refusal._again()  # noqa: SLF001 - a twin for each waiter
        if self._job is None:
            self._runtime.check_open()
            self._job = self._runtime.spawn(self._send(stall, take, adopt))
        job = self._job
        await self._follow(job, deadline)
        if job.cancelled():
            if self._refusal is not None:
                raise self._refusal._again()  # noqa: SLF001 - as above
            raise ClientClosed("The Client was closed before this was sent.")
        error = job.exception()
        if isinstance(error, MJError):
            raise error._again() from error.__cause__  # noqa: SLF001 - a twin for each waiter
        if error is not None:
            raise error

    async def _follow(self, job: asyncio.Task[None], deadline: float) -> None:
        self._waiting += 1
        try:
            await self._runtime.watcher.within(deadline, job)
        finally:
            self._waiting -= 1
            self._let_go(job)

    def _let_go(self, job: asyncio.Task[None]) -> None:
        """Stop a job that nobody waits for and that is not on the wire; forget one that failed."""
        abandoned = not (job.done() or self._waiting or self._on_wire)
        if abandoned:
            job.cancel()
        if self._job is job and (abandoned or _failed(job)):
            self._job = None

    async def _send(self, stall: float, take: Take, adopt: Adopt) -> None:
        """Prepare and send; whatever comes of sending is remembered."""
        async with self._turn:
            prepared = self._prepared or await self._prepare(stall)
            if isinstance(prepared, TaskInfo):
                adopt(prepared)
                return
            self._prepared = prepared  # an open file gives its bytes only once
            try:
                receipt = await self._runtime.calls.submit(prepared, self._switch_wire)
            except MJError as error:
                self._refusal = error
                raise
            except asyncio.CancelledError:
                if self._on_wire:  # by others: here it is let finish
                    self._refusal = torn_off(prepared)
                raise
            take(receipt, prepared)

    def _switch_wire(self, on_wire: bool) -> None:  # noqa: FBT001 - a plain switch
        self._on_wire = on_wire
        job = asyncio.current_task()
        self._runtime.mark(job, on_wire)
        if job is not None and not on_wire:  # soon: first it ends, or sets out to try again
            asyncio.get_running_loop().call_soon(self._let_go, job)


def _failed(job: asyncio.Task[None]) -> bool:
    return job.done() and (job.cancelled() or job.exception() is not None)

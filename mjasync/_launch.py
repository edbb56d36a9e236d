"""Sending a submission exactly once, whoever waits for it and whoever stops waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import attrs

from ._clock import Clock
from ._models import SubmitReceipt, TaskInfo
from ._watcher import Watcher
from ._wire.calls import Calls, Submission
from .errors import ClientClosed, MJError

__all__ = ["Launch", "Prepare", "Runtime"]

Prepare = Callable[[], Awaitable[Submission | TaskInfo]]
"""Waits for what must come first and makes the request; or finds the job running already."""
Take = Callable[[SubmitReceipt, Submission], None]


@attrs.define(kw_only=True)
class Runtime:
    """What a Task needs of its client."""

    calls: Calls
    watcher: Watcher
    clock: Clock
    timeout: float
    stall_timeout: float
    jobs: set[asyncio.Task[None]] = attrs.field(factory=set)
    """Submissions under way, each waiting for its parent, to be sent, or on the wire."""
    on_wire: set[asyncio.Task[None]] = attrs.field(factory=set)

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
        self.calls.stop_retrying()
        for job in self.jobs - self.on_wire:
            job.cancel()
        await asyncio.gather(*self.jobs, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.jobs.discard(task)
        if not task.cancelled():
            task.exception()  # waiters raise their own copy; nobody may be left to do so

    def deadline(self, timeout: float | None) -> float:
        """When a wait that begins now must end, on the client's clock."""
        return self.clock.now() + (self.timeout if timeout is None else timeout)


class Launch:
    """One submission: sent by a job of its own, exactly once, its outcome remembered.

    A waiter that leaves never takes a request off the wire. When the last one leaves before
    anything went out, nothing goes out, and whoever comes next starts over.
    """

    __slots__ = (
        "_adopt",
        "_job",
        "_on_wire",
        "_prepare",
        "_refusal",
        "_runtime",
        "_take",
        "_waiting",
    )

    def __init__(
        self, runtime: Runtime, prepare: Prepare, *, take: Take, adopt: Callable[[TaskInfo], None]
    ) -> None:
        """`take` is told what the server accepted, `adopt` of a job that runs already."""
        self._runtime = runtime
        self._prepare = prepare
        self._take = take
        self._adopt = adopt
        self._job: asyncio.Task[None] | None = None
        self._waiting = 0
        self._on_wire = False
        self._refusal: MJError | None = None

    async def accepted(self, deadline: float) -> None:
        """Return once the server has accepted it.

        Raises:
            TaskTimeout: Not by the deadline.
            MJError: What became of it instead; a refusal is raised again each time.
        """
        if self._refusal is not None:
            raise self._refusal._again()  # noqa: SLF001 - a twin for each waiter
        if self._job is None:
            self._job = self._runtime.spawn(self._send())
        job = self._job
        await self._follow(job, deadline)
        if job.cancelled():
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
            abandoned = not (job.done() or self._waiting or self._on_wire)
            if abandoned:
                job.cancel()
            if self._job is job and (abandoned or _failed(job)):
                self._job = None

    async def _send(self) -> None:
        """Prepare and send; whatever comes of sending is remembered."""
        prepared = await self._prepare()
        if isinstance(prepared, TaskInfo):
            self._adopt(prepared)
            return
        try:
            receipt = await self._runtime.calls.submit(prepared, self._switch_wire)
        except MJError as error:
            self._refusal = error
            raise
        self._take(receipt, prepared)

    def _switch_wire(self, on_wire: bool) -> None:  # noqa: FBT001 - a plain switch
        self._on_wire = on_wire
        self._runtime.mark(asyncio.current_task(), on_wire)


def _failed(job: asyncio.Task[None]) -> bool:
    return job.done() and (job.cancelled() or job.exception() is not None)

"""Tasks carried to their end: submitted, watched, saved, and none of them lost from sight."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import attrs

from .. import Client, Task, TaskInfo
from ..errors import MJError, RequestTimeout, SubmitUncertain, TaskTimeout

__all__ = ["ProgressListener", "TaskRun", "resolve_in_flight", "run_all"]


@attrs.define(kw_only=True, eq=False)
class TaskRun:
    """One task of a command, from before it is sent until it is delivered."""

    create_task: Callable[[Client], Task]
    prompt: str = ""
    save: str | None = None
    """Where its picture goes: anything `Task.save` takes."""
    task: Task | None = None
    file: Path | None = None
    error: Exception | None = None
    uncertain: SubmitUncertain | None = None
    """It was being submitted when its wait ended, and perhaps the server took it."""
    delivered: bool = False
    """Whether it ended and, if wanted, was saved."""
    attached: bool = False
    """Whether it was named by its id, so that the server may not have it."""

    @property
    def info(self) -> TaskInfo | None:
        """What is known of its task; None before it was begun."""
        return self.task.info if self.task else None

    @property
    def id(self) -> str:
        """The server's id; "" until it was accepted."""
        return self.task.id if self.task else ""

    @property
    def title(self) -> str:
        """What it is about: its prompt, or its id."""
        return self.prompt or (self.info and self.info.prompt) or self.id or "task"

    @property
    def is_open(self) -> bool:
        """Whether there is something on the server that was not delivered."""
        ended_badly = self.task is not None and self.task.done and self.task.status != "SUCCESS"
        return bool(self.id) and not self.delivered and not ended_badly

    @property
    def is_seen(self) -> bool:
        """Whether the server is known to have it."""
        return not self.attached or (self.info is not None and bool(self.info.raw))

    @property
    def is_unsaved(self) -> bool:
        """Whether its picture is drawn and paid, was wanted, and is not here."""
        is_drawn = self.task is not None and self.task.status == "SUCCESS"
        return is_drawn and bool(self.save) and not self.delivered

    @property
    def is_submitting(self) -> bool:
        """Whether its submission is on the wire at this moment."""
        return self.task is not None and self.task.phase in {"sending", "held-up"}

    @property
    def is_in_flight(self) -> bool:
        """Whether it was begun, and it is not known yet whether the server took it."""
        undecided = self.error is None or isinstance(self.error, TaskTimeout)
        return self.task is not None and not self.id and undecided


class ProgressListener(Protocol):
    """Somebody who is told how the jobs go."""

    def task_started(self, job: TaskRun) -> None:
        """A job is about to be sent."""

    def task_changed(self, job: TaskRun) -> None:
        """Something about it changed."""

    def task_ended(self, job: TaskRun) -> None:
        """It was delivered, or failed with `job.error`."""


async def run_all(
    runs: Sequence[TaskRun], mj: Client, listener: ProgressListener, timeout: float | None = None
) -> None:
    """Carry every job to its end, all at once; what fails stays on its job.

    Args:
        runs: The tasks.
        mj: The client, which ends each wait for a task by itself.
        listener: Told how they go.
        timeout: Seconds for all of it, the saving of pictures included.
    """
    deadline = None if timeout is None else asyncio.get_running_loop().time() + timeout
    async with asyncio.TaskGroup() as group:
        for job in runs:
            group.create_task(_run_one(job, mj, listener, deadline))


async def _run_one(
    run: TaskRun, mj: Client, listener: ProgressListener, deadline: float | None
) -> None:
    """Send a job, wait until it is finished, and save what it has to show."""
    listener.task_started(run)
    try:
        run.task = run.create_task(mj)
        async for _ in run.task:
            listener.task_changed(run)
        if run.save and not run.task.text:
            run.file = await _save(run.task, run.save, deadline)
        run.delivered = True
    except Exception as error:  # noqa: BLE001 - shown, and the others go on
        run.error = error
    listener.task_ended(run)


async def _save(task: Task, target: str, deadline: float | None) -> Path:
    """Save what a task has to show.

    Raises:
        RequestTimeout: The deadline has passed.
        MJError: As `Task.save` does.
    """
    limit = asyncio.timeout_at(deadline)
    try:
        async with limit:
            return await task.save(target)
    except TimeoutError:
        if not limit.expired():
            raise
        message = "The picture is drawn and paid, but it did not arrive in time."
        raise RequestTimeout(message, task=task) from None


async def resolve_in_flight(jobs: Sequence[TaskRun]) -> None:
    """Find out, once the client is closed, what became of what was left on the wire."""
    for job in jobs:
        if job.task is not None and job.is_in_flight:
            try:
                await job.task.wait()
            except SubmitUncertain as error:
                job.uncertain = error
            except MJError:
                continue  # refused, or never sent: nothing was paid

"""The tasks of a command: submitted, watched and saved."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import attrs

from .. import Client, Task, TaskInfo
from ..errors import MJError, RequestTimeout, SubmitUncertain, TaskTimeout


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
    """The error of a submission in flight at the end of the wait; it may have been accepted."""
    delivered: bool = False
    """Whether it has ended and, if requested, was saved."""
    attached: bool = False
    """Whether the user named it by its id, so that the server may not have it."""

    @property
    def info(self) -> TaskInfo | None:
        """The last state of its task; None before it was created."""
        return self.task.info if self.task else None

    @property
    def id(self) -> str:
        """The id of its task; "" until the server accepts it."""
        return self.task.id if self.task else ""

    @property
    def title(self) -> str:
        """Its prompt, or its id."""
        return self.prompt or (self.info and self.info.prompt) or self.id or "task"

    @property
    def is_open(self) -> bool:
        """Whether the server has a task whose result was not delivered."""
        ended_badly = self.task is not None and self.task.done and self.task.status != "SUCCESS"
        return bool(self.id) and not self.delivered and not ended_badly

    @property
    def is_seen(self) -> bool:
        """Whether the server has returned its task."""
        return not self.attached or (self.info is not None and bool(self.info.raw))

    @property
    def is_unsaved(self) -> bool:
        """Whether its picture is finished and paid for, but could not be saved."""
        is_drawn = self.task is not None and self.task.status == "SUCCESS"
        return is_drawn and bool(self.save) and not self.delivered

    @property
    def is_submitting(self) -> bool:
        """Whether its submission is in flight."""
        return self.task is not None and self.task.phase in {"sending", "held-up"}

    @property
    def is_in_flight(self) -> bool:
        """Whether it was started, and it is not known whether the server accepted it."""
        undecided = self.error is None or isinstance(self.error, TaskTimeout)
        return self.task is not None and not self.id and undecided


class ProgressListener(Protocol):
    """Receives the progress of tasks."""

    def task_started(self, run: TaskRun) -> None:
        """Show a task that is about to be sent."""

    def task_changed(self, run: TaskRun) -> None:
        """Show a change."""

    def task_ended(self, run: TaskRun) -> None:
        """Show the end: delivered, or failed with `run.error`."""


async def run_all(
    runs: Sequence[TaskRun], mj: Client, listener: ProgressListener, timeout: float | None = None
) -> None:
    """Run all tasks concurrently; errors are stored in `TaskRun.error`.

    Args:
        runs: The tasks.
        mj: The client, whose timeout limits the wait for each task.
        listener: Receives their progress.
        timeout: Seconds for all of them, including the saving of pictures.
    """
    deadline = None if timeout is None else asyncio.get_running_loop().time() + timeout
    async with asyncio.TaskGroup() as group:
        for run in runs:
            group.create_task(_run_one(run, mj, listener, deadline))


async def _run_one(
    run: TaskRun, mj: Client, listener: ProgressListener, deadline: float | None
) -> None:
    """Submit a task, wait for it, and save its picture."""
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
    """Save the picture of a task.

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


async def resolve_in_flight(runs: Sequence[TaskRun]) -> None:
    """Wait for the outcome of submissions that were in flight when the client was closed."""
    for run in runs:
        if run.task is not None and run.is_in_flight:
            try:
                await run.task.wait()
            except SubmitUncertain as error:
                run.uncertain = error
            except MJError:
                continue  # refused, or never sent: nothing was paid

"""The awaitable handle of one job."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, NoReturn, Self

import attrs

from ._models import TaskInfo, TaskPhase
from ._submission_queue import HeldUp
from ._task_followups import TaskFollowUps
from ._text import printable

_UNSENT_HINT: Final = "not submitted (await it; where a coroutine is wanted, pass its .wait())"
"""How a Task shows itself in asyncio's "a coroutine was expected, got …"."""


class Task(TaskFollowUps):
    """An awaitable handle of one task. It is submitted when first awaited, exactly once.

    `await task` submits the task if necessary, waits until it has finished, and returns the same
    Task or raises. `async for update in task` does the same and yields a `TaskUpdate` for each
    change. `task.action(…)`, `task.modal(…)` and the verbs create the Task that follows. Awaiting a
    finished Task returns at once; awaiting a failed one raises its error again.

    A Task remembers the outcome of its submission: after a refusal, awaiting it again raises the
    same error and sends nothing. To submit again, create a new Task.
    """

    __slots__ = ("__weakref__",)

    def __aiter__(self) -> AsyncIterator[TaskUpdate]:
        return self.updates()

    async def updates(self) -> AsyncIterator[TaskUpdate]:
        """Submit if necessary, and yield an update for each change, the final one last.

        Updates of unfinished Tasks earlier in the chain are included: `update.task` is the Task
        that changed. A submission that the server refuses for now is an update, too.

        Raises:
            MJError: As `wait` does, after the last snapshot.
        """
        self._is_awaited = True
        self._context.loop.check()
        queue: asyncio.Queue[TaskUpdate | None] = asyncio.Queue()
        if self._is_seen:
            queue.put_nowait(TaskUpdate.from_task(self))
        with self._listening(lambda task: queue.put_nowait(TaskUpdate.from_task(task))):
            waiting = asyncio.ensure_future(self.wait())
            waiting.add_done_callback(lambda _: queue.put_nowait(None))
            try:
                while (update := await queue.get()) is not None:
                    yield update
                await waiting
            finally:
                waiting.cancel()
                await asyncio.gather(waiting, return_exceptions=True)

    @contextmanager
    def _listening(self, listener: Callable[[Task], None]) -> Iterator[None]:
        """Call `listener` for each change of this Task and of unfinished Tasks before it."""
        chain = [self, *self._unfinished_parents()]
        for task in chain:
            task._listeners += (listener,)  # noqa: SLF001 - a Task, too
        try:
            yield
        finally:
            for task in chain:
                listeners = task._listeners  # noqa: SLF001 - a Task, too
                task._listeners = tuple(each for each in listeners if each is not listener)  # noqa: SLF001

    def _unfinished_parents(self) -> Iterator[Task]:
        parent = self._parent
        while parent is not None and not parent.done:
            yield parent
            parent = parent._parent  # noqa: SLF001 - a Task, too

    def close(self) -> None:
        """Close a Task that was not submitted, so that it never is.

        Awaiting it then raises `TaskCancelled`. A submitted Task is left alone: see `cancel`.
        """
        self._is_awaited = True
        if self._pending is not None:
            self._pending.close()

    async def cancel(self) -> Self:
        """Cancel the task on the server, and fetch its new state.

        A Task that was not submitted yet is closed instead.

        Raises:
            UnsupportedEndpoint: The server cannot cancel tasks.
            MJError: The server refused.
        """
        self._is_awaited = True
        context = self._context
        context.loop.check()
        if self._pending is not None:
            if self._pending.close():
                return self
            await self._wait_until_accepted(context.deadline(), context.stall_timeout())
        with self._attaching_errors():
            await context.api.cancel(self._require_id())
        return await self.refresh()

    async def seed(self) -> int:
        """Return the seed of the images. The first request may take the server a minute.

        Raises:
            TaskNotReady: The task has not finished, or the server cannot look up the seed yet.
            UnsupportedEndpoint: The server has no seeds.
            MJError: The read failed.
        """
        self._context.loop.check()
        if self._seed is None:
            self._seed = self._info.seed
        if self._seed is None:
            with self._attaching_errors():
                self._seed = await self._context.api.seed(self._require_id())
        return self._seed

    def __repr__(self) -> str:
        progress = "" if self.progress is None else f" {self.progress}%"
        stands = f"{self.status}{progress}" if self.id else self._describe_unsent()
        return printable(f"<Task {self.id or '-'} {self._label}: {stands}>", None)

    def _describe_unsent(self) -> str:
        """Describe a Task without an id, for `repr`."""
        if self.phase is TaskPhase.CLOSED:
            return "closed"
        refusal = None if self._pending is None else self._pending.refusal
        error = self._error if self._is_orphaned else refusal
        return _UNSENT_HINT if error is None else f"failed ({type(error).__name__})"

    def __reduce__(self) -> NoReturn:
        message = (
            "A Task belongs to a running Client and cannot be pickled or copied: pickle task.id, "
            "and attach to it with mj.task(id)."
        )
        raise TypeError(message)

    def __del__(self) -> None:
        if getattr(self, "_seen_by_server", False):
            self._context.poller.expect_no_more(self._info.id)
        if not getattr(self, "_is_awaited", True):
            warnings.warn(
                f"<Task - {self._label}: not submitted> was never awaited: nothing was sent",
                RuntimeWarning,
                stacklevel=2,
                source=self,
            )


def suppress_unawaited_warning(task: Task) -> Task:
    """Suppress the warning of a Task that is dropped before it is submitted; return the Task."""
    task._is_awaited = True  # noqa: SLF001 - it has no public name
    return task


@attrs.frozen(kw_only=True, eq=False)
class TaskUpdate(TaskInfo):
    """The state of a Task at one change, as `async for` yields it."""

    task: Task = attrs.field(repr=False)
    """The Task that changed: the one iterated over, or one before it in the chain."""
    phase: TaskPhase = TaskPhase.NEW
    """The phase of the Task, on the client and on the server."""
    held_up: HeldUp | None = None
    """The retries of the submission, while the server refuses it for now."""

    @classmethod
    def from_task(cls, task: Task) -> Self:
        """Return an update with the current state of a Task."""
        fields = _fields_of(task.info)
        return cls(task=task, phase=task.phase, held_up=task.held_up, **fields)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as a plain `TaskInfo`, since a Task cannot be pickled."""
        return partial(TaskInfo, **_fields_of(self)), ()


def _fields_of(info: TaskInfo) -> dict[str, Any]:
    """Return the fields of a state by the arguments that set them."""
    fields = attrs.fields(TaskInfo)
    return {str(field.alias): getattr(info, field.name) for field in fields}

"""The asyncio tasks that send submissions, which a cancellation must not tear off the wire."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

from ._event_loop import EventLoopBinding
from .errors import ClientClosed

_SHUTDOWN_GRACE_SECONDS: Final = 10.0
"""How long a closing event loop waits for submissions in flight."""


class SubmissionTask(asyncio.Task[None]):
    """Sends one submission; a closing event loop waits for it while it is in flight.

    `asyncio.run` cancels all tasks at its end, also after an error or Ctrl-C. The loop is not
    running then, which distinguishes this from a timeout.
    """

    is_in_flight: bool = False
    is_stopping: bool = False
    """Whether it was cancelled in flight, so that nothing more may be sent."""
    cancels_at_once: bool = False
    """Whether a closing event loop cancels it in flight."""

    def cancel(self, msg: Any | None = None) -> bool:  # noqa: ANN401 - the signature of asyncio
        """Cancel the task; later if the event loop is closing and the request is in flight."""
        loop = self.get_loop()
        if self.cancels_at_once or not self.is_in_flight or loop.is_running():
            return super().cancel(msg)
        self.is_stopping = True
        loop.call_later(_SHUTDOWN_GRACE_SECONDS, self.cancel)
        return False


class SubmissionTasks:
    """The submissions of one client: waiting for a parent, queued or in flight."""

    def __init__(self, loop: EventLoopBinding) -> None:
        self._loop = loop
        self._tasks: set[SubmissionTask] = set()
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._tasks)

    @property
    def in_flight(self) -> set[SubmissionTask]:
        """The submissions in flight, which must finish."""
        return {task for task in self._tasks if task.is_in_flight}

    def check_open(self) -> None:
        """Check that a submission may begin.

        Raises:
            ClientClosed: The client is closing.
            ConfigurationError: The client belongs to another event loop.
        """
        self._loop.check()
        if self._is_closed:
            raise ClientClosed("This Client is closed.")

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> SubmissionTask:
        """Run a submission in a task of its own, independent of the tasks that wait for it."""
        task = SubmissionTask(coroutine, loop=asyncio.get_running_loop())
        self._tasks.add(task)
        task.add_done_callback(self._on_done)
        return task

    async def close(self) -> None:
        """Wait for the submissions in flight; cancel the others."""
        self._is_closed = True
        for task in self._tasks - self.in_flight:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # retrieved here, since no waiter may be left to do so


def cancel_in_flight_submissions() -> None:
    """Cancel submissions at once when the running event loop closes, even in flight.

    By default, the loop waits for them up to 10 s. The server may accept a cancelled submission.
    """
    for task in asyncio.all_tasks():
        if isinstance(task, SubmissionTask):
            task.cancels_at_once = True

"""A watched task, and the waiters for its changes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

import attrs

from .._http.retry import RetryState
from .._models import TaskInfo, TaskStatus
from .._text import printable
from .due_queue import NEVER

_STATUS_RANKS: Final = {
    TaskStatus.NOT_START: 1,
    TaskStatus.SUBMITTED: 2,
    TaskStatus.IN_PROGRESS: 3,
}
"""The order of statuses; a task never goes back to an earlier one."""
_log: Final = logging.getLogger("mjasync")


class Waiter(asyncio.Future[TaskInfo]):
    """A future for a change of a task or, without a watch, for a deadline."""

    __slots__ = ("deadline", "due_at", "on_update", "stall", "started_at", "watch")

    started_at: float
    deadline: float
    stall: float
    on_update: Callable[[TaskInfo], bool]
    """Receives each snapshot that differs; returns whether it is the one that is waited for."""
    watch: Watch | None
    due_at: float

    def expires(self) -> float:
        """Return the time at which this waiter gives up."""
        if self.watch is None:
            return self.deadline
        return min(self.deadline, max(self.watch.changed_at, self.started_at) + self.stall)


@attrs.define(eq=False)
class Watch:
    """A task that is polled."""

    id: str
    info: TaskInfo
    started_at: float
    changed_at: float
    was_seen: bool
    """Whether the server is known to have the task."""
    last_poll_at: float
    """When the last successful poll was sent."""
    seen_from_start: bool
    """Whether the watch began together with the job."""
    due_at: float = NEVER
    """When the next poll is due."""
    modal_answered: bool = False
    """Whether the task is the answer to a modal."""
    webhook_pending: bool = False
    """Whether a webhook came since the last poll was sent."""
    webhook_poll: bool = False
    """Whether a webhook caused the current poll."""
    last_webhook_at: float | None = None
    """When a webhook last announced a change."""
    running_since: float | None = None
    """When the task was first seen in progress."""
    body: bytes | None = None
    """The body of the last response."""
    missing_since: float | None = None
    """Since when the server does not know the task."""
    retry_state: RetryState | None = None
    """The failures since the last successful poll."""
    waiters: tuple[Waiter, ...] = ()

    def record_progress(self, now: float) -> None:
        """Note that the status or the progress changed."""
        self.changed_at = now
        if self.webhook_poll:
            self.last_webhook_at = now
        if self.running_since is None and self.info.status is TaskStatus.IN_PROGRESS:
            self.running_since = now


def update_waiter(waiter: Waiter, info: TaskInfo) -> None:
    """Pass a snapshot to a waiter."""
    if waiter.on_update(info) and not waiter.done():
        waiter.set_result(info)


def fail_waiter(waiter: Waiter, error: BaseException) -> None:
    """Fail a waiter, unless it is done."""
    if not waiter.done():
        waiter.set_exception(error)


def warn_if_older(before: TaskInfo, info: TaskInfo) -> bool:
    """Warn if a snapshot is older than the one before, as from a cache; return whether it is."""
    old_rank, new_rank = (_STATUS_RANKS.get(i.status, 0) for i in (before, info))
    is_running = before.status is info.status is TaskStatus.IN_PROGRESS
    has_less = is_running and (info.progress or 0) < (before.progress or 0)
    if not (has_less or 0 < new_rank < old_rank):
        return False
    _log.warning(
        "task %s went back from %s to %s: a cache in front of the server answers, or "
        "several servers do that do not share their tasks",
        printable(info.id),
        _describe_state(before),
        _describe_state(info),
    )
    return True


def _describe_state(info: TaskInfo) -> str:
    percent = "" if info.progress is None else f" {info.progress}%"
    return f"{printable(info.status, 40)}{percent}"

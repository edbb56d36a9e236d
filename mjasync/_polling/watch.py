"""A watched task and those who wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import attrs

from .._http.retry import RetryState
from .._models import TaskInfo

__all__ = ["NEVER", "Waiter", "Watch", "fail_waiter", "update_waiter"]


NEVER: Final = float("inf")


class Waiter(asyncio.Future[TaskInfo]):
    """A future for a change of a task or, without a watch, for a deadline."""

    __slots__ = ("deadline", "deadline_bucket", "on_update", "stall", "started_at", "watch")

    started_at: float
    deadline: float
    stall: float
    on_update: Callable[[TaskInfo], bool]
    """Takes a snapshot that differs; whether that is what is waited for."""
    watch: Watch | None
    deadline_bucket: set[Waiter] | None
    """The alarms of the second in which this one gives up, while that is to come."""

    def expires(self) -> float:
        """Return the time at which this waiter gives up."""
        if self.watch is None:
            return self.deadline
        return min(self.deadline, max(self.watch.changed_at, self.started_at) + self.stall)


@attrs.define(eq=False)
class Watch:
    """One task under watch."""

    id: str
    info: TaskInfo
    started_at: float
    changed_at: float
    was_seen: bool
    last_poll_at: float
    """When the last look that worked was sent."""
    seen_from_start: bool
    """Whether watching began when the job did."""
    next_poll_at: float = NEVER
    modal_answered: bool = False
    """Whether it is the answer to a modal."""
    webhook_pending: bool = False
    """Whether a webhook came since the last look was sent."""
    webhook_poll: bool = False
    """Whether the look under way is for a webhook."""
    last_webhook_at: float | None = None
    """When a webhook last turned out to be news."""
    running_since: float | None = None
    """When it was first seen in progress."""
    body: bytes | None = None
    """What the last look brought."""
    missing_since: float | None = None
    retry_state: RetryState | None = None
    """The failures since the last look that worked."""
    waiters: tuple[Waiter, ...] = ()


def update_waiter(waiter: Waiter, info: TaskInfo) -> None:
    if waiter.on_update(info) and not waiter.done():
        waiter.set_result(info)


def fail_waiter(waiter: Waiter, error: BaseException) -> None:
    if not waiter.done():
        waiter.set_exception(error)

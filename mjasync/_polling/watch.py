"""A watched task and those who wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import attrs

from .._http.retry import Pace
from .._models import TaskInfo

__all__ = ["_NEVER", "Waiter", "_Watch", "_fail", "_tell"]


_NEVER: Final = float("inf")


class Waiter(asyncio.Future[TaskInfo]):
    """Somebody who waits: for a task to get somewhere, or (without a watch) just for a deadline."""

    __slots__ = ("alarms", "begun", "deadline", "stall", "tell", "watch")

    begun: float
    deadline: float
    stall: float
    tell: Callable[[TaskInfo], bool]
    """Takes a snapshot that differs; whether that is what is waited for."""
    watch: _Watch | None
    alarms: set[Waiter] | None
    """The alarms of the second in which this one gives up, while that is to come."""

    def expires(self) -> float:
        """When this waiter gives up, as things stand."""
        if self.watch is None:
            return self.deadline
        return min(self.deadline, max(self.watch.changed, self.begun) + self.stall)


@attrs.define(eq=False)
class _Watch:
    """One task under watch."""

    id: str
    info: TaskInfo
    begun: float
    changed: float
    was_seen: bool
    asked: float
    """When the last look that worked was sent."""
    from_birth: bool
    """Whether watching began when the job did."""
    due: float = _NEVER
    answered: bool = False
    """Whether it is the answer to a modal."""
    hinted: bool = False
    """Whether a webhook came since the last look was sent."""
    checking: bool = False
    """Whether the look under way is for a webhook."""
    told: float | None = None
    """When a webhook last turned out to be news."""
    running: float | None = None
    """When it was first seen in progress."""
    body: bytes | None = None
    """What the last look brought."""
    missing_since: float | None = None
    pace: Pace | None = None
    """The failures since the last look that worked."""
    waiters: tuple[Waiter, ...] = ()


def _tell(waiter: Waiter, info: TaskInfo) -> None:
    if waiter.tell(info) and not waiter.done():
        waiter.set_result(info)


def _fail(waiter: Waiter, error: BaseException) -> None:
    if not waiter.done():
        waiter.set_exception(error)

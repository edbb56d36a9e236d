"""Time limits of whole exchanges, not counting the wait for a free connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self


class Deadline:
    """The time limit of an exchange: a response that trickles in would never end.

    It runs from `restart` on, and starts over while the exchange may be waiting for a connection.
    """

    def __init__(
        self, limit: asyncio.Timeout, seconds: float, is_saturated: Callable[[], bool]
    ) -> None:
        self._limit = limit
        self._seconds = seconds
        self._is_saturated = is_saturated
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def restart(self) -> None:
        """Start the time limit anew."""
        self.stop()
        self._timer = self._loop.call_later(self._seconds, self._on_timeout)

    def stop(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()

    def _on_timeout(self) -> None:
        if self._is_saturated():
            self.restart()
        else:
            self._limit.reschedule(self._loop.time())


class PollDeadlines:
    """The time limits of polls: one timer for all of them, which is hardly ever set."""

    def __init__(self, is_saturated: Callable[[int], bool]) -> None:
        self._is_saturated = is_saturated
        self._expires_at: dict[asyncio.Task[Any], float] = {}
        self._expired: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def start(self, asyncio_task: asyncio.Task[Any], seconds: float) -> None:
        """Limit a poll to some seconds, extended while it may be waiting for a connection."""
        loop = asyncio_task.get_loop()
        self._expires_at[asyncio_task] = expires_at = loop.time() + seconds
        if self._timer is None:
            self._timer = loop.call_at(expires_at, self._check, seconds)

    def stop(self, asyncio_task: asyncio.Task[Any]) -> None:
        """Stop the deadline of a poll."""
        self._expires_at.pop(asyncio_task, None)
        self._expired.discard(asyncio_task)

    def expired(self, asyncio_task: asyncio.Task[Any]) -> bool:
        """Return whether only the deadline cancelled the poll, and undo the cancellation."""
        return asyncio_task in self._expired and asyncio_task.uncancel() == 0

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()

    def _check(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        now, self._timer = loop.time(), None
        late = [task for task, expires_at in self._expires_at.items() if expires_at <= now]
        if self._is_saturated(len(self._expires_at)):
            self._expires_at.update(dict.fromkeys(late, now + seconds))
        else:
            for asyncio_task in late:
                del self._expires_at[asyncio_task]
                self._expired.add(asyncio_task)
                asyncio_task.cancel()
        if self._expires_at:
            self._timer = loop.call_at(min(self._expires_at.values()), self._check, seconds)

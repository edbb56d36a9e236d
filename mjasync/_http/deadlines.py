"""Time limits of whole exchanges, as long as they are not waiting for a free connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

__all__ = ["Deadline", "PollDeadlines"]


class Deadline:
    """Ends an exchange that takes too long in all: an answer that trickles in never ends.

    It runs from `restart` on. While the exchange may be waiting for a free connection it gets the
    same time again.
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
        """Give it all the time from now on."""
        self.stop()
        self._timer = self._loop.call_later(self._seconds, self._on_timeout)

    def stop(self) -> None:
        """Leave no timer behind."""
        if self._timer is not None:
            self._timer.cancel()

    def _on_timeout(self) -> None:
        if self._is_saturated():
            self.restart()
        else:
            self._limit.reschedule(self._loop.time())


class PollDeadlines:
    """Cancels looks that take too long. One timer for all of them, which is hardly ever set."""

    def __init__(self, is_saturated: Callable[[int], bool]) -> None:
        self._is_saturated = is_saturated
        self._expires_at: dict[asyncio.Task[Any], float] = {}
        self._expired: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def start(self, asyncio_task: asyncio.Task[Any], seconds: float) -> None:
        """Limit a poll to some seconds, extended while it may be waiting for a connection."""
        loop = asyncio_task.get_loop()
        self._expires_at[asyncio_task] = late_at = loop.time() + seconds
        if self._timer is None:
            self._timer = loop.call_at(late_at, self._check, seconds)

    def stop(self, asyncio_task: asyncio.Task[Any]) -> None:
        """Stop the deadline of a poll."""
        self._expires_at.pop(asyncio_task, None)
        self._expired.discard(asyncio_task)

    def expired(self, asyncio_task: asyncio.Task[Any]) -> bool:
        """Return whether only the deadline cancelled the poll, and undo the cancellation."""
        return asyncio_task in self._expired and asyncio_task.uncancel() == 0

    def close(self) -> None:
        """Leave no timer behind."""
        if self._timer is not None:
            self._timer.cancel()

    def _check(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        now, self._timer = loop.time(), None
        late = [look for look, at in self._expires_at.items() if at <= now]
        if self._is_saturated(len(self._expires_at)):
            self._expires_at.update(dict.fromkeys(late, now + seconds))
        else:
            for look in late:
                del self._expires_at[look]
                self._expired.add(look)
                look.cancel()
        if self._expires_at:
            self._timer = loop.call_at(min(self._expires_at.values()), self._check, seconds)

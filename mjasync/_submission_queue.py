"""The order of submissions: first come, first served, within the limit of the client."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Sequence
from datetime import UTC, datetime
from typing import Final
from weakref import WeakValueDictionary

import attrs

from ._clock import Clock
from ._http.retry import Delay
from ._http.submission import SubmitRequest
from ._json import dump_json
from .errors import MJError, QueueFull, RateLimited, ServerError

Condition = asyncio.Lock | asyncio.Semaphore
_OVERLOAD_ERRORS: Final = (QueueFull, RateLimited, ServerError)
"""Refusals that may end when another task of the server ends."""


@attrs.frozen(kw_only=True)
class HeldUp:
    """The retries of a submission that the server refuses for now."""

    since: datetime
    """Time of the first failure, with time zone."""
    until: datetime | None
    """Time of the last retry, with time zone; None without a limit. A wait may end earlier."""
    attempts: int
    """Number of failures so far."""
    error: MJError
    """The last error: a refusal of the server, or a failed connection."""


class SubmissionQueue:
    """The order in which the submissions of one client are sent.

    Submissions that a busy server refused are retried in the order of their refusals, one at a
    time, and later submissions of the same kind wait behind them. With random delays alone, the
    order would be random, too. Whenever a task ends, the first of them is retried.
    """

    def __init__(self, limit: int | None, clock: Clock) -> None:
        self.clock = clock
        self._limit = None if limit is None else asyncio.Semaphore(limit)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._waiting: dict[Hashable, list[Ticket]] = {}

    def create_ticket(self, submission: SubmitRequest, notify: Callable[[], None]) -> Ticket:
        """Return a ticket for a submission.

        Args:
            submission: The submission.
            notify: Called when the submission is refused for now.
        """
        lock = None
        if submission.exclusive_key:
            lock = self._locks.setdefault(submission.exclusive_key, asyncio.Lock())
        gates = [gate for gate in (lock, self._limit) if gate is not None]
        accounts = dump_json(submission.payload.get("accountFilter"))
        kind = submission.url, submission.endpoint, accounts  # what servers refuse together
        return Ticket(self, kind, gates, notify)

    def on_task_ended(self) -> None:
        """Retry the first submission of each line: the server may have capacity."""
        for line in self._waiting.values():
            line[0].admit()

    def join(self, ticket: Ticket) -> None:
        """Append a ticket to the line of its kind, unless it is in it."""
        line = self._waiting.setdefault(ticket.kind, [])
        if ticket not in line:
            line.append(ticket)

    def leave(self, ticket: Ticket) -> None:
        """Remove a ticket from its line; the next one may be retried at once."""
        line = self._waiting.get(ticket.kind, [])
        if ticket not in line:
            return
        was_first = line[0] is ticket
        line.remove(ticket)
        if not line:
            del self._waiting[ticket.kind]
        elif was_first:
            line[0].admit()

    def has_waiting(self, kind: Hashable) -> bool:
        """Return whether submissions of a kind wait for a retry."""
        return kind in self._waiting

    def is_first(self, ticket: Ticket) -> bool:
        """Return whether no other submission of this kind has waited longer."""
        return self._waiting[ticket.kind][0] is ticket


class Ticket:
    """The place of a submission in the queue, and the locks it holds until its task ends."""

    def __init__(
        self,
        queue: SubmissionQueue,
        kind: Hashable,
        gates: Sequence[Condition],
        notify: Callable[[], None],
    ) -> None:
        self.kind = kind
        self.held_up: HeldUp | None = None
        self._queue = queue
        self._clock = queue.clock
        self._missing = gates
        self._acquired: list[Condition] = []
        self._notify = notify
        self._admitted = asyncio.Event()

    @property
    def is_holding(self) -> bool:
        """Whether it holds locks until its task ends."""
        return bool(self._acquired)

    async def acquire(self) -> None:
        """Wait for the first attempt."""
        for gate in self._missing:
            await gate.acquire()
            self._acquired.append(gate)
        if self._queue.has_waiting(self.kind):
            self._queue.join(self)
            await self._wait_until_first()

    async def wait_for_retry(self, delay: Delay) -> None:
        """Wait for the next attempt."""
        self._set_held_up(delay)
        if not isinstance(delay.error, _OVERLOAD_ERRORS):
            await self._clock.sleep(delay.seconds)
            return
        self._queue.join(self)
        self._admitted.clear()
        if delay.error.retry_after is not None:
            await self._clock.sleep(delay.seconds)  # the server requested it
        else:
            await self._wait_admitted(delay.seconds)
        await self._wait_until_first()

    def admit(self) -> None:
        """Let it be sent now, if it is the first of its line."""
        self._admitted.set()

    def leave_queue(self) -> None:
        """Leave the line: the submission is accepted, or is not sent any more."""
        self.held_up = None
        self._queue.leave(self)

    def release(self) -> None:
        """Release its locks: its task has ended, or there is none."""
        while self._acquired:
            self._acquired.pop().release()

    def _set_held_up(self, delay: Delay) -> None:
        wall = self._clock.wall()
        previous = self.held_up
        remaining = delay.give_up_at - self._clock.now()
        self.held_up = HeldUp(
            since=previous.since if previous else datetime.fromtimestamp(wall, UTC),
            until=_to_datetime(wall + remaining),
            attempts=delay.attempts,
            error=delay.error,
        )
        if previous is None:
            self._notify()

    async def _wait_until_first(self) -> None:
        while not self._queue.is_first(self):
            self._admitted.clear()
            await self._admitted.wait()

    async def _wait_admitted(self, seconds: float) -> None:
        futures = [
            asyncio.ensure_future(self._clock.sleep(seconds)),
            asyncio.ensure_future(self._admitted.wait()),
        ]
        try:
            await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for future in futures:
                future.cancel()


def _to_datetime(wall: float) -> datetime | None:
    try:
        return datetime.fromtimestamp(wall, UTC)
    except (OverflowError, ValueError, OSError):
        return None

"""Which submission goes out next: first come, first served, and within the client's limit."""

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

__all__ = ["HeldUp", "SubmissionQueue", "Ticket"]

Condition = asyncio.Lock | asyncio.Semaphore
_OVERLOAD_ERRORS: Final = (QueueFull, RateLimited, ServerError)
"""Refusals that end when the server has done something else."""


@attrs.frozen(kw_only=True)
class HeldUp:
    """A submission that did not get through for now, and that is tried again."""

    since: datetime
    """When it was refused, or found no server, first (aware)."""
    until: datetime | None
    """Time of the last retry, with time zone; None without a limit. A wait may end earlier."""
    attempts: int
    """How often that was so."""
    error: MJError
    """What was wrong last: what the server said, or that no connection came about."""


class SubmissionQueue:
    """The order in which the submissions of one client go out.

    Submissions that a busy server refused are tried again in the order in which they were refused,
    one at a time, and later ones of their kind wait behind them: were each left to its own random
    delay, the luckiest would be served first. Whenever a job ends, the first of them is tried.
    """

    def __init__(self, limit: int | None, clock: Clock) -> None:
        self.clock = clock
        self._limit = None if limit is None else asyncio.Semaphore(limit)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._waiting: dict[Hashable, list[Ticket]] = {}

    def create_ticket(self, submission: SubmitRequest, notify: Callable[[], None]) -> Ticket:
        """Return what a submission goes out with.

        Args:
            submission: What is to be sent.
            notify: Called when it is held up.
        """
        lock = None
        if submission.exclusive_key:
            lock = self._locks.setdefault(submission.exclusive_key, asyncio.Lock())
        gates = [gate for gate in (lock, self._limit) if gate is not None]
        return Ticket(self, _queue_kind(submission), gates, notify)

    def on_task_ended(self) -> None:
        """Try the first of those held up: a place may be free."""
        for line in self._waiting.values():
            line[0].admit()

    def join(self, ticket: Ticket) -> None:
        """Put a ticket at the end of the line of its kind, unless it is in it."""
        line = self._waiting.setdefault(ticket.kind, [])
        if ticket not in line:
            line.append(ticket)

    def leave(self, ticket: Ticket) -> None:
        """Take a ticket out of its line; the next one may be tried at once."""
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
    """One submission on its way out: what it waits for, and what it holds until its job ends."""

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
        """Whether others wait until its job ends."""
        return bool(self._acquired)

    async def acquire(self) -> None:
        """Wait until it may be sent for the first time."""
        for gate in self._missing:
            await gate.acquire()
            self._acquired.append(gate)
        if self._queue.has_waiting(self.kind):
            self._queue.join(self)
            await self._wait_until_first()

    async def wait_for_retry(self, delay: Delay) -> None:
        """Wait until it may be sent again."""
        self._set_held_up(delay)
        if not isinstance(delay.error, _OVERLOAD_ERRORS):
            await self._clock.sleep(delay.seconds)
            return
        self._queue.join(self)
        self._admitted.clear()
        if delay.error.retry_after is not None:
            await self._clock.sleep(delay.seconds)  # to the second, whatever ends meanwhile
        else:
            await self._wait_admitted(delay.seconds)
        await self._wait_until_first()

    def admit(self) -> None:
        """Let it be tried now, if it is the first."""
        self._admitted.set()

    def leave_queue(self) -> None:
        """Let the next one go: this one is accepted, or is not sent any more."""
        self.held_up = None
        self._queue.leave(self)

    def release(self) -> None:
        """Let go of what it holds: its job has ended, or there is none."""
        while self._acquired:
            self._acquired.pop().release()

    def _set_held_up(self, delay: Delay) -> None:
        wall = self._clock.wall()
        before = self.held_up
        patience = delay.give_up_at - self._clock.now()
        self.held_up = HeldUp(
            since=before.since if before else datetime.fromtimestamp(wall, UTC),
            until=_to_datetime(wall + patience),
            attempts=delay.attempts,
            error=delay.error,
        )
        if before is None:
            self._notify()

    async def _wait_until_first(self) -> None:
        while not self._queue.is_first(self):
            self._admitted.clear()
            await self._admitted.wait()

    async def _wait_admitted(self, seconds: float) -> None:
        ways = [
            asyncio.ensure_future(self._clock.sleep(seconds)),
            asyncio.ensure_future(self._admitted.wait()),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()


def _queue_kind(submission: SubmitRequest) -> Hashable:
    """Return a key for submissions that a server refuses together: speed, accounts, operation."""
    accounts = dump_json(submission.payload.get("accountFilter"))
    return submission.url, submission.endpoint, accounts


def _to_datetime(wall: float) -> datetime | None:
    try:
        return datetime.fromtimestamp(wall, UTC)
    except (OverflowError, ValueError, OSError):
        return None

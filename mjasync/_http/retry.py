"""When to try again, and how soon: one budget per kind of trouble, never nested.

The first attempt runs bare; only a failure that may be tried again brings in `backoff`, so that a
call that works pays nothing. Only what `backoff` shares with its maintained fork is used.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Final, TypeVar

import attrs
import backoff

from .._validation import validate_at_least
from ..errors import ConfigurationError, MJError

__all__ = ["Delay", "Retries", "RetryPolicy", "RetryState", "retry_call"]

T = TypeVar("T")
WaitForRetry = Callable[["Delay"], Awaitable[None]]
PolicyForError = Callable[[MJError], "RetryPolicy | None"]

_log: Final = logging.getLogger("mjasync")


@attrs.frozen(kw_only=True)
class RetryPolicy:
    """Full-jitter exponential backoff: the n-th wait is random in 0 … min(longest, first·2ⁿ).

    Raises:
        ConfigurationError: A number makes no sense.
    """

    max_attempts: int = attrs.field(default=8, validator=validate_at_least(1, whole=True))
    """Attempts in all, the first one included."""
    initial_delay: float = attrs.field(default=0.5, validator=validate_at_least(0))
    """Seconds: upper bound of the first wait."""
    max_delay: float = attrs.field(default=15.0, validator=validate_at_least(0))
    """Seconds: upper bound of any wait."""
    max_elapsed: float = attrs.field(default=120.0, validator=validate_at_least(0, finite=False))
    """Seconds of waiting in all; a Retry-After beyond it is not waited for."""


@attrs.frozen(kw_only=True)
class Retries:
    """The policies of one client, one for each kind of trouble.

    Each kind counts its attempts by itself, also where several are given the same policy.

    Raises:
        ConfigurationError: Something else than a `RetryPolicy` is given.
    """

    read: RetryPolicy = RetryPolicy()
    """Any read the caller waits for: fetch, list, picture."""
    poll: RetryPolicy = RetryPolicy(max_attempts=1000, max_elapsed=600.0)
    """A read on behalf of waiting tasks: it outlives a restart of the server."""
    connect: RetryPolicy = RetryPolicy(
        max_attempts=100, initial_delay=0.5, max_delay=4.0, max_elapsed=30.0
    )
    """A submission for which no connection came about: a restart takes a server 5 to 13 s."""
    overloaded: RetryPolicy = RetryPolicy(
        max_attempts=10_000, initial_delay=1.0, max_delay=20.0, max_elapsed=3600.0
    )
    """A submission the server refused for now: queue full, rate limit, its own overload. The clock
    of whoever waits ends it sooner."""
    no_account: RetryPolicy = RetryPolicy(
        max_attempts=5, initial_delay=1.0, max_delay=8.0, max_elapsed=30.0
    )
    """A submission refused for want of an account."""
    not_ready: RetryPolicy = RetryPolicy(
        max_attempts=20, initial_delay=1.0, max_delay=4.0, max_elapsed=45.0
    )
    """A follow-up whose parent the server does not see as finished yet: gateways lag 15 s."""

    def __attrs_post_init__(self) -> None:
        for field in attrs.fields(type(self)):
            policy: object = getattr(self, field.name)
            if not isinstance(policy, RetryPolicy):
                message = f"Retries: {field.name} must be a RetryPolicy(…), not {policy!r}."
                raise ConfigurationError(message)
            # a copy for each, so that `RetryState` tells kinds of trouble apart that share a policy
            object.__setattr__(self, field.name, attrs.evolve(policy))

    @classmethod
    def none(cls) -> Retries:
        """No second attempt at anything."""
        once = RetryPolicy(max_attempts=1)
        return cls(
            read=once, poll=once, connect=once, overloaded=once, no_account=once, not_ready=once
        )


@attrs.frozen
class Delay:
    """What lies between a failed attempt and the next one."""

    error: MJError
    """Why the attempt failed."""
    attempts: int
    """Attempts so far."""
    seconds: float
    """Until the next one."""
    give_up_at: float
    """When such failures are not tried again any more, on the client's clock."""


async def retry_call(
    function: Callable[[], Awaitable[T]],
    policy_for: PolicyForError,
    now: Callable[[], float],
    *,
    wait: WaitForRetry | None = None,
    name: str = "",
) -> T:
    """Call until it succeeds, or fails in a way or for a time that `policy_for` does not cover.

    Args:
        function: One attempt.
        policy_for: Which policy a failure comes under; None for those not tried again.
        now: The client's clock.
        wait: Lets the time between two attempts pass; by default it is slept through.
        name: What is attempted, for the log.

    Raises:
        MJError: The last failure.
    """
    pace = RetryState(policy_for, now)
    try:
        return await function()
    except MJError as error:
        if pace.is_exhausted(error):
            raise
        first = error

    async def again() -> T:
        if pace.retry_count == 0:
            raise first  # the attempt already made, so that backoff waits before the next
        if wait is not None:
            await wait(delays.pop())
        return await function()

    delays: list[Delay] = []

    def next_wait(error: MJError) -> float:
        seconds = pace.next_delay(error)
        about = f"{name}: " if name else ""
        _log.info(
            "%sattempt %d failed, the next in %.2f s: %s", about, pace.retry_count, seconds, error
        )
        if wait is None:
            return seconds
        delays.append(Delay(error, pace.retry_count, seconds, pace.exhausted_at(error)))
        return 0.0

    patient = backoff.on_exception(
        backoff.runtime,
        MJError,
        value=next_wait,
        giveup=pace.is_exhausted,
        jitter=None,
        logger=None,
    )(again)
    return await patient()


@attrs.define
class _SpentBudget:
    """What one kind of trouble has cost so far."""

    since: float
    max_delay: Iterator[float]
    waits: int = 0


class RetryState:
    """Counts the failures of one call, each kind of trouble by itself, and decides what follows."""

    __slots__ = ("_now", "_policy_for", "_spent", "retry_count")

    def __init__(self, policy_for: PolicyForError, now: Callable[[], float]) -> None:
        self._policy_for = policy_for
        self._now = now
        self._spent: dict[int, _SpentBudget] = {}
        self.retry_count: int = 0

    def is_exhausted(self, error: Exception) -> bool:
        """Whether there is to be no other attempt after this failure."""
        policy = self._policy_for(error) if isinstance(error, MJError) else None
        if policy is None or not isinstance(error, MJError):
            return True
        spent = self._spent_for(policy)
        took = self._now() - spent.since + (error.retry_after or 0.0)
        return spent.waits + 1 >= policy.max_attempts or took > policy.max_elapsed

    def exhausted_at(self, error: MJError) -> float:
        """When failures of this kind are not tried again any more, on the clock given."""
        policy = self._policy_for(error) or RetryPolicy()
        return self._spent_for(policy).since + policy.max_elapsed

    def next_delay(self, error: MJError) -> float:
        """Seconds until the next attempt: what the server asked for exactly, else jittered."""
        spent = self._spent_for(self._policy_for(error) or RetryPolicy())
        self.retry_count += 1
        spent.waits += 1
        if error.retry_after is not None:
            return error.retry_after
        return float(backoff.full_jitter(next(spent.max_delay)))

    def _spent_for(self, policy: RetryPolicy) -> _SpentBudget:
        kind = id(policy)  # two kinds of trouble may have equal policies
        if kind not in self._spent:
            bounds = backoff.expo(base=2, factor=policy.initial_delay, max_value=policy.max_delay)
            next(bounds)  # backoff's generators are primed once; the first yield is of no use
            self._spent[kind] = _SpentBudget(self._now(), bounds)
        return self._spent[kind]

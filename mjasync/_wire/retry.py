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

from ..errors import MJError

__all__ = ["Retries", "RetryPolicy", "persist"]

T = TypeVar("T")
PolicyFor = Callable[[MJError], "RetryPolicy | None"]

_log: Final = logging.getLogger("mjasync")


@attrs.frozen(kw_only=True)
class RetryPolicy:
    """Full-jitter exponential backoff: the n-th wait is random in 0 … min(longest, first·2ⁿ)."""

    tries: int = 8
    """Attempts in all, the first one included."""
    first: float = 0.5
    """Seconds: upper bound of the first wait."""
    longest: float = 15.0
    """Seconds: upper bound of any wait."""
    budget: float = 120.0
    """Seconds of waiting in all; a Retry-After beyond it is not waited for."""


@attrs.frozen(kw_only=True)
class Retries:
    """The policies of one client, one for each kind of trouble."""

    read: RetryPolicy = RetryPolicy()
    """Any read the caller waits for: fetch, list, picture."""
    watch: RetryPolicy = RetryPolicy(tries=1000, budget=600.0)
    """A read on behalf of waiting tasks: it outlives a restart of the server."""
    connect: RetryPolicy = RetryPolicy(tries=5, first=0.25, longest=4.0, budget=30.0)
    """A submission for which no connection came about."""
    busy: RetryPolicy = RetryPolicy(tries=1000, first=1.0, longest=20.0, budget=600.0)
    """A submission the server did not take for now: queue full, rate limit, 503."""
    absent: RetryPolicy = RetryPolicy(tries=5, first=1.0, longest=8.0, budget=30.0)
    """A submission refused for want of an account."""
    lagging: RetryPolicy = RetryPolicy(tries=20, first=1.0, longest=4.0, budget=45.0)
    """A follow-up whose parent the server does not see as finished yet: gateways lag 15 s."""

    @classmethod
    def none(cls) -> Retries:
        """No second attempt at anything."""
        once = RetryPolicy(tries=1)
        return cls(read=once, watch=once, connect=once, busy=once, absent=once, lagging=once)


async def persist(
    call: Callable[[], Awaitable[T]], policy_for: PolicyFor, now: Callable[[], float]
) -> T:
    """Call until it succeeds, or fails in a way or for a time that `policy_for` does not cover.

    Raises:
        MJError: The last failure.
    """
    pace = _Pace(policy_for, now)
    try:
        return await call()
    except MJError as error:
        if pace.gives_up(error):
            raise
        first = error

    async def again() -> T:
        if pace.waits == 0:
            raise first  # the attempt already made, so that backoff waits before the next
        return await call()

    patient = backoff.on_exception(
        backoff.runtime,
        MJError,
        value=pace.next_wait,
        giveup=pace.gives_up,
        jitter=None,
        logger=None,
    )(again)
    return await patient()


class _Pace:
    """Counts the waits of one call and decides on the next attempt."""

    def __init__(self, policy_for: PolicyFor, now: Callable[[], float]) -> None:
        self._policy_for = policy_for
        self._now = now
        self._begun = now()
        self._series: dict[RetryPolicy, Iterator[float]] = {}
        self.waits = 0

    def gives_up(self, error: Exception) -> bool:
        """Whether there is to be no other attempt after this failure."""
        policy = self._policy_for(error) if isinstance(error, MJError) else None
        if policy is None or self.waits + 1 >= policy.tries:
            return True
        asked = error.retry_after if isinstance(error, MJError) else None
        return self._now() - self._begun + (asked or 0.0) > policy.budget

    def next_wait(self, error: MJError) -> float:
        """Seconds until the next attempt: what the server asked for exactly, else jittered."""
        self.waits += 1
        seconds = error.retry_after
        if seconds is None:
            seconds = backoff.full_jitter(self._bound(error))
        _log.info("attempt %d failed, the next in %.2f s: %s", self.waits, seconds, error)
        return seconds

    def _bound(self, error: MJError) -> float:
        policy = self._policy_for(error) or RetryPolicy()
        if policy not in self._series:
            series = backoff.expo(base=2, factor=policy.first, max_value=policy.longest)
            next(series)  # backoff's generators are primed once; the first yield is of no use
            self._series[policy] = series
        return next(self._series[policy])

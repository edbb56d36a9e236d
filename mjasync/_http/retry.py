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
    """Exponential backoff with full jitter.

    The n-th delay is random between 0 and `min(max_delay, initial_delay * 2**n)`.

    Raises:
        ConfigurationError: A value is out of range.
    """

    max_attempts: int = attrs.field(default=8, validator=validate_at_least(1, whole=True))
    """Maximum number of attempts, the first one included."""
    initial_delay: float = attrs.field(default=0.5, validator=validate_at_least(0))
    """Upper bound of the first delay, in seconds."""
    max_delay: float = attrs.field(default=15.0, validator=validate_at_least(0))
    """Upper bound of any delay, in seconds."""
    max_elapsed: float = attrs.field(default=120.0, validator=validate_at_least(0, finite=False))
    """Maximum seconds spent on retries; a longer `Retry-After` is not waited for."""


@attrs.frozen(kw_only=True)
class Retries:
    """The retry policies of a client, one for each kind of error.

    Attempts are counted separately for each kind, even if kinds share a policy.

    Raises:
        ConfigurationError: A value is not a `RetryPolicy`.
    """

    read: RetryPolicy = RetryPolicy()
    """Reads that the caller waits for: fetches, lists, downloads."""
    poll: RetryPolicy = RetryPolicy(max_attempts=1000, max_elapsed=600.0)
    """Polls of waiting tasks; the default outlives a restart of the server."""
    connect: RetryPolicy = RetryPolicy(
        max_attempts=100, initial_delay=0.5, max_delay=4.0, max_elapsed=30.0
    )
    """Submissions without a connection; a server needs 5 to 13 seconds to restart."""
    overloaded: RetryPolicy = RetryPolicy(
        max_attempts=10_000, initial_delay=1.0, max_delay=20.0, max_elapsed=3600.0
    )
    """Submissions refused for now: full queue, rate limit, overload. The timeout of the wait
    may end the retries earlier."""
    no_account: RetryPolicy = RetryPolicy(
        max_attempts=5, initial_delay=1.0, max_delay=8.0, max_elapsed=30.0
    )
    """Submissions refused because no account is available."""
    not_ready: RetryPolicy = RetryPolicy(
        max_attempts=20, initial_delay=1.0, max_delay=4.0, max_elapsed=45.0
    )
    """Follow-ups of a task that the server does not see as finished yet; gateways lag 15 s."""

    def __attrs_post_init__(self) -> None:
        for field in attrs.fields(type(self)):
            policy: object = getattr(self, field.name)
            if not isinstance(policy, RetryPolicy):
                message = f"Retries: {field.name} must be a RetryPolicy(…), not {policy!r}."
                raise ConfigurationError(message)
            # a copy for each, so that `RetryState` counts kinds separately that share a policy
            object.__setattr__(self, field.name, attrs.evolve(policy))

    @classmethod
    def none(cls) -> Retries:
        """Return policies that retry nothing."""
        once = RetryPolicy(max_attempts=1)
        return cls(
            read=once, poll=once, connect=once, overloaded=once, no_account=once, not_ready=once
        )


@attrs.frozen
class Delay:
    """The delay between a failed attempt and the next one."""

    error: MJError
    """The error of the failed attempt."""
    attempts: int
    """Number of attempts so far."""
    seconds: float
    """Seconds until the next attempt."""
    give_up_at: float
    """Time on the client's clock after which such errors are not retried."""


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
    state = RetryState(policy_for, now)
    try:
        return await function()
    except MJError as error:
        if state.is_exhausted(error):
            raise
        first = error

    async def retry() -> T:
        if state.retry_count == 0:
            raise first  # the attempt already made, so that backoff waits before the next
        if wait is not None:
            await wait(delays.pop())
        return await function()

    delays: list[Delay] = []

    def next_wait(error: MJError) -> float:
        seconds = state.next_delay(error)
        about = f"{name}: " if name else ""
        _log.info(
            "%sattempt %d failed, the next in %.2f s: %s", about, state.retry_count, seconds, error
        )
        if wait is None:
            return seconds
        delays.append(Delay(error, state.retry_count, seconds, state.exhausted_at(error)))
        return 0.0

    patient = backoff.on_exception(
        backoff.runtime,
        MJError,
        value=next_wait,
        giveup=state.is_exhausted,
        jitter=None,
        logger=None,
    )(retry)
    return await patient()


@attrs.define
class _SpentBudget:
    """The retries that one kind of error has used so far."""

    since: float
    delay_bounds: Iterator[float]
    waits: int = 0


class RetryState:
    """The retry state of one call; kinds of errors are counted separately."""

    __slots__ = ("_now", "_policy_for", "_spent", "retry_count")

    def __init__(self, policy_for: PolicyForError, now: Callable[[], float]) -> None:
        self._policy_for = policy_for
        self._now = now
        self._spent: dict[int, _SpentBudget] = {}
        self.retry_count: int = 0

    def is_exhausted(self, error: Exception) -> bool:
        """Return whether there is no further attempt after this failure."""
        policy = self._policy_for(error) if isinstance(error, MJError) else None
        if policy is None or not isinstance(error, MJError):
            return True
        spent = self._spent_for(policy)
        took = self._now() - spent.since + (error.retry_after or 0.0)
        return spent.waits + 1 >= policy.max_attempts or took > policy.max_elapsed

    def exhausted_at(self, error: MJError) -> float:
        """Return the time after which failures of this kind are not retried."""
        policy = self._policy_for(error) or RetryPolicy()
        return self._spent_for(policy).since + policy.max_elapsed

    def next_delay(self, error: MJError) -> float:
        """Return the seconds until the next attempt: those of the server, or a jittered delay."""
        spent = self._spent_for(self._policy_for(error) or RetryPolicy())
        self.retry_count += 1
        spent.waits += 1
        if error.retry_after is not None:
            return error.retry_after
        return float(backoff.full_jitter(next(spent.delay_bounds)))

    def _spent_for(self, policy: RetryPolicy) -> _SpentBudget:
        kind = id(policy)  # two kinds of trouble may have equal policies
        if kind not in self._spent:
            bounds = backoff.expo(base=2, factor=policy.initial_delay, max_value=policy.max_delay)
            next(bounds)  # backoff's generators are primed once; the first yield is of no use
            self._spent[kind] = _SpentBudget(self._now(), bounds)
        return self._spent[kind]

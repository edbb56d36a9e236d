"""Retries of a call: one budget for each kind of error, never nested.

`backoff` drives them; only what it shares with its maintained fork, `python-backoff`, is used.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, Final, Generic, TypeVar, cast

import attrs
import backoff

from .._clock import Clock
from .._validation import validate_at_least
from ..errors import ConfigurationError, MJError

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
        return cls(**{field.name: SINGLE_ATTEMPT for field in attrs.fields(cls)})


SINGLE_ATTEMPT: Final = RetryPolicy(max_attempts=1)
"""The policy of errors that are not retried."""


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


@attrs.define
class _SpentBudget:
    """The retries that one kind of error has used so far."""

    since: float
    delay_bounds: Iterator[float]
    waits: int = 0


class RetryState:
    """The retry state of one call; kinds of errors are counted separately."""

    __slots__ = ("_now", "_policy_for", "_retry_count", "_spent")

    def __init__(self, policy_for: PolicyForError, now: Callable[[], float]) -> None:
        self._policy_for = policy_for
        self._now = now
        self._spent: dict[int, _SpentBudget] = {}
        self._retry_count = 0

    def is_exhausted(self, error: MJError) -> bool:
        """Return whether there is no further attempt after this failure."""
        policy = self._policy_for(error)
        if policy is None:
            return True
        spent = self._spent_for(policy)
        elapsed = self._now() - spent.since + (error.retry_after or 0.0)
        return spent.waits + 1 >= policy.max_attempts or elapsed > policy.max_elapsed

    def next_delay(self, error: MJError) -> Delay:
        """Return the delay until the next attempt: that of the server, or a jittered one."""
        policy = self._policy_for(error) or RetryPolicy()
        spent = self._spent_for(policy)
        self._retry_count += 1
        spent.waits += 1
        seconds = error.retry_after
        if seconds is None:
            seconds = float(backoff.full_jitter(next(spent.delay_bounds)))
        return Delay(error, self._retry_count, seconds, spent.since + policy.max_elapsed)

    def _spent_for(self, policy: RetryPolicy) -> _SpentBudget:
        kind = id(policy)  # two kinds of errors may have equal policies
        if kind not in self._spent:
            bounds = backoff.expo(base=2, factor=policy.initial_delay, max_value=policy.max_delay)
            next(bounds)  # the first value of backoff's generators is of no use
            self._spent[kind] = _SpentBudget(self._now(), bounds)
        return self._spent[kind]


async def retry_call(
    function: Callable[[], Awaitable[T]],
    policy_for: PolicyForError,
    clock: Clock,
    *,
    wait: WaitForRetry | None = None,
    name: str = "",
) -> T:
    """Call until it succeeds, or fails in a way or for a time that `policy_for` does not cover.

    Args:
        function: One attempt.
        policy_for: Returns the policy that covers an error; None if it must not be retried.
        clock: The client's clock.
        wait: Lets the delay between two attempts pass; sleeps through it by default.
        name: What is attempted, for the log.

    Raises:
        MJError: The last failure.
    """
    state = RetryState(policy_for, clock.now)
    return cast("T", await _attempt(_RetriedCall(function, state, clock, wait, name)))


@attrs.frozen
class _RetriedCall(Generic[T]):
    """A call under way, and how it is retried."""

    function: Callable[[], Awaitable[T]]
    state: RetryState
    clock: Clock
    wait: WaitForRetry | None
    name: str


async def _wait_for_retry(details: Mapping[str, Any]) -> None:
    (call,) = details["args"]
    delay: Delay = details["value"]
    _log.info(
        "%sattempt %d failed, the next in %.2f s: %s",
        f"{call.name}: " if call.name else "",
        delay.attempts,
        delay.seconds,
        delay.error,
    )
    await (call.wait(delay) if call.wait else call.clock.sleep(delay.seconds))


def _is_delay(result: object) -> bool:
    return isinstance(result, Delay)


# backoff can sleep only by the clock of the loop: its interval is 0, and its hook waits instead
@backoff.on_predicate(
    backoff.constant, _is_delay, interval=0, on_backoff=_wait_for_retry, jitter=None, logger=None
)
async def _attempt(call: _RetriedCall[T]) -> T | Delay:
    """Make an attempt; return its result, or the delay after which backoff makes the next one."""
    try:
        return await call.function()
    except MJError as error:
        if call.state.is_exhausted(error):
            raise
        return call.state.next_delay(error)

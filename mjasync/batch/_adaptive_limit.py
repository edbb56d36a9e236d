"""A limit of concurrency: it grows with acceptances and is halved by refusals."""

from __future__ import annotations

from typing import Final

from .._http.retry import RetryPolicy
from ..errors import MJError

_MAX_STEP: Final = 60
"""The maximum exponent of a delay: larger ones exceed every limit."""


class AdaptiveLimit:
    """Additive increase, multiplicative decrease, and a pause after each refusal."""

    def __init__(self, limit: int, policy: RetryPolicy, now: float) -> None:
        self._limit = limit
        self._policy = policy
        self._allowed = float(limit)
        self._refusals = 0
        self._budget_started_at = now
        self.paused_until = now
        """The time of the next submission, on the client's clock."""

    @property
    def allowed(self) -> int:
        """How many tasks may be unfinished now."""
        return int(self._allowed)

    def on_accepted(self) -> None:
        """Raise the limit after an acceptance."""
        self._refusals = 0
        self._allowed = min(float(self._limit), self._allowed + 1 / self._allowed)

    def on_task_finished(self, now: float) -> None:
        """Restart the retry budget: the server has room again."""
        self._budget_started_at = now

    def on_refused(self, error: MJError, now: float, special: RetryPolicy | None = None) -> bool:
        """Halve the limit after a refusal; return whether the retry budget allows to continue.

        Submissions that were in flight when a pause began count as one refusal. `special` replaces
        the retry policy for this refusal.
        """
        effective_policy = special or self._policy
        if not self._refusals:
            self._budget_started_at = now
        delay = error.retry_after or 0.0
        if now >= self.paused_until:
            self._refusals += 1
            self._allowed = max(1.0, self._allowed / 2)
            delay = delay or min(
                effective_policy.max_delay,
                effective_policy.initial_delay * 2.0 ** min(self._refusals, _MAX_STEP),
            )
        self.paused_until = max(self.paused_until, now + delay)
        is_within_budget = (
            self.paused_until - self._budget_started_at <= effective_policy.max_elapsed
        )
        return is_within_budget and (special is None or self._refusals < special.max_attempts)

    def remaining_budget(self, now: float, policy: RetryPolicy | None = None) -> float:
        """Return the remaining seconds of the retry budget."""
        return max(0.0, self._budget_started_at + (policy or self._policy).max_elapsed - now)

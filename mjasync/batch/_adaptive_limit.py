"""How many at once: one more for each that is accepted, half as many when the server says no."""

from __future__ import annotations

from typing import Final

from .._http.retry import RetryPolicy
from ..errors import MJError

__all__ = ["AdaptiveLimit"]

_MAX_STEP: Final = 60
"""Of the exponents of a wait: any larger one is beyond every bound."""


class AdaptiveLimit:
    """Additive increase, multiplicative decrease, and a pause after each refusal."""

    def __init__(self, limit: int, policy: RetryPolicy, now: float) -> None:
        self._limit = limit
        self._policy = policy
        self._allowed = float(limit)
        self._refusals = 0
        self._budget_started_at = now
        self.paused_until = now
        """When the next submission may go out, on the client's clock."""

    @property
    def allowed(self) -> int:
        """How many unfinished tasks there may be."""
        return int(self._allowed)

    def on_accepted(self) -> None:
        """The server accepted one."""
        self._refusals = 0
        self._allowed = min(float(self._limit), self._allowed + 1 / self._allowed)

    def on_task_finished(self, now: float) -> None:
        """A task has ended: there is room, and reason to be patient again."""
        self._budget_started_at = now

    def on_refused(self, error: MJError, now: float, special: RetryPolicy | None = None) -> bool:
        """The server refused one for now; return whether it is worth going on.

        What was on the wire when a pause began is refused on the same occasion, and counts once.
        `special` is for a refusal that is not worth the usual patience.
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
        """For how many seconds it is worth going on at most, while the server takes nothing."""
        return max(0.0, self._budget_started_at + (policy or self._policy).max_elapsed - now)

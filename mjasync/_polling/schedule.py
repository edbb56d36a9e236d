"""When to look at a waiting task again: a pure function of what is known. PROTOCOL §7.4."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final, Protocol

import attrs

from .._models import TaskInfo, TaskStatus
from .._validation import validate_at_least
from ..errors import ConfigurationError

__all__ = ["PollSchedule", "PollState", "Schedule"]


@attrs.define(kw_only=True)
class PollState:
    """What is known when the next look at a task is planned."""

    info: TaskInfo
    waited: float
    """Seconds since watching began."""
    since_change: float
    """Seconds since anything changed."""
    since_start: float | None = None
    """Seconds since it was first seen in progress; None before that."""
    speed: str | None = None
    """The client's speed, where the task itself does not tell."""
    typical_duration: float | None = None
    """Seconds such jobs took here of late; None until some have ended."""
    gateway_refresh_in: float | None = None
    """Seconds until a server that asks another every so often does so next; None for others."""
    webhook_pending: float | None = None
    """Seconds since a webhook last brought true news of it; None where none has."""


class PollSchedule(Protocol):
    """A schedule: anything with these two."""

    @property
    def coalesce(self) -> float:
        """Looks due within so many seconds of one another share a request."""
        ...

    def next_delay(self, state: PollState, /) -> float:
        """Seconds until the next look."""
        ...


_TYPICAL_DURATIONS: Final[Mapping[str, float]] = {
    "UPSCALE": 3.0,
    "DESCRIBE": 10.0,
    "SHORTEN": 8.0,
    "VIDEO": 120.0,
}
_DEFAULT_TYPICAL_DURATION: Final = 50.0
_SPEED_FACTORS: Final[Mapping[str, float]] = {"turbo": 0.4, "fast": 1.0, "relax": 3.0}
_CONFIDENCE: Final = 6.0
"""How closely jobs keep to what such jobs take: the shape of a log-logistic distribution."""
_CONFIDENCE_RUNNING: Final = (4.0, 16.0)
"""The same for an estimate from progress: to begin with, and gained by the time of 100 %."""
_IN_PROGRESS: Final = TaskStatus.IN_PROGRESS
"""Read once: a member of an enumeration is slow to find."""
_INSTANT_ACTIONS: Final = 1e-3
_BRIEF_SECONDS: Final = 0.1
_MIN_REMAINING: Final = 0.001
"""Seconds: an interval below this would look without end."""


@attrs.frozen(kw_only=True)
class Schedule:
    """Look more often the likelier it is that a job ends any moment.

    The fewest looks for the least delay are those at a rate that follows the square root of the
    hazard. A job's duration is taken as log-logistic around what its progress foretells, else
    around what such jobs take. So backing off would be the wrong way round, but for a job that
    outlives every estimate (a long queue): that one is looked at less and less often again.

    Raises:
        ConfigurationError: A number makes no sense, or `max_interval` is less than `min_interval`.
    """

    min_interval: float = attrs.field(default=1.0, validator=validate_at_least(_MIN_REMAINING))
    """Seconds: no task is looked at more often, but for the first looks."""
    max_interval: float = attrs.field(default=5.0, validator=validate_at_least(_MIN_REMAINING))
    """Seconds: no task is looked at less often, but for `idle_factor`.

    Idle connections are kept for 30: above that every look opens one.
    """
    initial_delay: float = attrs.field(default=0.5, validator=validate_at_least(_MIN_REMAINING))
    """Seconds until the first look, and each of the next ones at most doubles the time watched;
    but not once it is known what such jobs take."""
    seconds_per_poll: float = attrs.field(default=0.1, validator=validate_at_least(0))
    """Seconds of delay that are worth one look: the higher, the fewer looks."""
    idle_factor: float = attrs.field(default=3.0, validator=validate_at_least(1))
    """Factor of `max_interval` for tasks that webhooks report, and for those behind a gateway
    whose own copy has not been refreshed."""
    coalesce: float = attrs.field(default=0.5, validator=validate_at_least(0))
    """Looks due within so many seconds of one another share a request."""

    def __attrs_post_init__(self) -> None:
        if self.max_interval < self.min_interval:
            message = (
                f"Schedule: longest ({self.max_interval:g}) must not be less than shortest "
                f"({self.min_interval:g})."
            )
            raise ConfigurationError(message)

    def next_delay(self, state: PollState, /) -> float:
        """Seconds until the next look: `max_interval` at most, or `idle_factor` times that."""
        rarely = self.idle_factor * self.max_interval
        if state.webhook_pending is not None and state.webhook_pending < rarely:
            return rarely
        if state.gateway_refresh_in is not None:
            return max(self.min_interval, min(state.gateway_refresh_in, rarely))
        age, median, sure = _expected_remaining(state)
        age = max(_INSTANT_ACTIONS, age + self.min_interval)
        # sqrt(2 · price / hazard), and the hazard of a log-logistic duration
        wait = math.sqrt(2 * self.seconds_per_poll * age / sure * (1 + (median / age) ** sure))
        wait = max(wait, self.min_interval)
        wait = min(wait, self.max_interval)
        return wait if state.typical_duration else min(wait, max(self.initial_delay, state.waited))


def _expected_remaining(state: PollState) -> tuple[float, float, float]:
    """How old a job is, at what age such jobs end, and how surely."""
    info, unchanged, running = state.info, state.since_change, state.since_start
    if info.status is not _IN_PROGRESS or not info.progress:
        return state.waited, _typical_duration(state), _CONFIDENCE
    done = info.progress / 100
    age = running if running and running > unchanged else state.waited
    if age <= unchanged:  # it was found like this, so how fast it goes is not known yet
        return age, max(_typical_duration(state) * (1 - done), _BRIEF_SECONDS), _CONFIDENCE
    start, gain = _CONFIDENCE_RUNNING
    return age, max(age - unchanged, _BRIEF_SECONDS) / done, start + gain * done


def _typical_duration(state: PollState) -> float:
    """Seconds such jobs take, here or else anywhere."""
    if state.typical_duration:
        return state.typical_duration
    pace = _SPEED_FACTORS.get((state.info.mode or state.speed or "fast").lower(), 1.0)
    return _TYPICAL_DURATIONS.get(state.info.action, _DEFAULT_TYPICAL_DURATION) * pace

"""When to poll a waiting task: a pure function of its state (PROTOCOL §7.4)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final, Protocol

import attrs

from .._models import TaskInfo, TaskStatus
from .._validation import validate_at_least
from ..errors import ConfigurationError


@attrs.define(kw_only=True)
class PollState:
    """The state of a waiting task when its next poll is scheduled."""

    info: TaskInfo
    waited: float
    """Seconds since the wait began."""
    since_change: float
    """Seconds since the last change."""
    since_start: float | None = None
    """Seconds since the task was first seen in progress; None before that."""
    speed: str | None = None
    """The client's speed, if the task does not report its own."""
    typical_duration: float | None = None
    """Seconds that such tasks took recently; None until some have ended."""
    gateway_refresh_in: float | None = None
    """Seconds until a gateway refreshes its copy of the task; None for other servers."""
    webhook_pending: float | None = None
    """Seconds since a webhook last announced a change; None without webhooks."""


class PollSchedule(Protocol):
    """The interface of a schedule."""

    @property
    def coalesce(self) -> float:
        """Seconds within which polls are merged into one request."""
        ...

    def next_delay(self, state: PollState, /) -> float:
        """Return the seconds until the next poll."""
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
"""Shape of the log-logistic distribution of durations, around the typical duration."""
_CONFIDENCE_RUNNING: Final = (4.0, 16.0)
"""The shape for estimates from progress: at 0 %, and what it gains until 100 %."""
_IN_PROGRESS: Final = TaskStatus.IN_PROGRESS
"""Looked up once, since members of an enumeration are slow to find."""
_MIN_AGE: Final = 1e-3
_BRIEF_SECONDS: Final = 0.1
_MIN_INTERVAL: Final = 0.001
"""Minimum interval in seconds; a lower one would poll without a pause."""


@attrs.frozen(kw_only=True)
class Schedule:
    """A schedule that polls a task most often when it is most likely to end.

    For a given number of polls, the mean delay is least at a rate proportional to the square root
    of the hazard. The duration is modelled as log-logistic, around the estimate from the progress
    or around the typical duration. A task that outlives every estimate is polled less and less
    often.

    Raises:
        ConfigurationError: A value is out of range, or `max_interval` is below `min_interval`.
    """

    min_interval: float = attrs.field(default=1.0, validator=validate_at_least(_MIN_INTERVAL))
    """Minimum seconds between polls of a task, except for the first polls."""
    max_interval: float = attrs.field(default=5.0, validator=validate_at_least(_MIN_INTERVAL))
    """Maximum seconds between polls of a task, unless `idle_factor` applies.

    Idle connections are kept for 30 seconds: above that, each poll opens a new one.
    """
    initial_delay: float = attrs.field(default=0.5, validator=validate_at_least(_MIN_INTERVAL))
    """Seconds until the first poll. Each of the next polls at most doubles the time waited, until
    the typical duration is known."""
    seconds_per_poll: float = attrs.field(default=0.1, validator=validate_at_least(0))
    """Seconds of delay that one poll may save: a higher value means fewer polls."""
    idle_factor: float = attrs.field(default=3.0, validator=validate_at_least(1))
    """Factor of `max_interval` for tasks that webhooks report, and for those behind a gateway
    whose own copy has not been refreshed."""
    coalesce: float = attrs.field(default=0.5, validator=validate_at_least(0))
    """Seconds within which polls are merged into one request."""

    def __attrs_post_init__(self) -> None:
        if self.max_interval < self.min_interval:
            message = (
                f"Schedule: max_interval ({self.max_interval:g}) must not be less than "
                f"min_interval ({self.min_interval:g})."
            )
            raise ConfigurationError(message)

    def next_delay(self, state: PollState, /) -> float:
        """Return the seconds until the next poll.

        Args:
            state: The state of the task.

        Returns:
            At most `max_interval`, or `idle_factor` times that.
        """
        idle_interval = self.idle_factor * self.max_interval
        if state.webhook_pending is not None and state.webhook_pending < idle_interval:
            return idle_interval
        if state.gateway_refresh_in is not None:
            return max(self.min_interval, min(state.gateway_refresh_in, idle_interval))
        age, median, shape = _expected_remaining(state)
        age = max(_MIN_AGE, age + self.min_interval)
        # sqrt(2 · price / hazard), and the hazard of a log-logistic duration
        wait = math.sqrt(2 * self.seconds_per_poll * age / shape * (1 + (median / age) ** shape))
        wait = max(wait, self.min_interval)
        wait = min(wait, self.max_interval)
        return wait if state.typical_duration else min(wait, max(self.initial_delay, state.waited))


def _expected_remaining(state: PollState) -> tuple[float, float, float]:
    """Return the age of a task, the median of its duration, and the shape of the distribution."""
    info, unchanged, running = state.info, state.since_change, state.since_start
    if info.status is not _IN_PROGRESS or not info.progress:
        return state.waited, _typical_duration(state), _CONFIDENCE
    done = info.progress / 100
    age = running if running and running > unchanged else state.waited
    if age <= unchanged:  # its pace is not known yet
        return age, max(_typical_duration(state) * (1 - done), _BRIEF_SECONDS), _CONFIDENCE
    start, gain = _CONFIDENCE_RUNNING
    return age, max(age - unchanged, _BRIEF_SECONDS) / done, start + gain * done


def _typical_duration(state: PollState) -> float:
    """Return the typical duration in seconds: measured, or from the table."""
    if state.typical_duration:
        return state.typical_duration
    pace = _SPEED_FACTORS.get((state.info.mode or state.speed or "fast").lower(), 1.0)
    return _TYPICAL_DURATIONS.get(state.info.action, _DEFAULT_TYPICAL_DURATION) * pace

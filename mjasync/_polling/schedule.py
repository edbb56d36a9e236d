"""When to look at a waiting task again: a pure function of what is known. PROTOCOL §7.4."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final, Protocol

import attrs

from .._models import TaskInfo, TaskStatus
from .._validation import at_least
from ..errors import ConfigurationError

__all__ = ["Look", "NextLook", "Schedule"]


@attrs.define(kw_only=True)
class Look:
    """What is known when the next look at a task is planned."""

    info: TaskInfo
    watched: float
    """Seconds since watching began."""
    unchanged: float
    """Seconds since anything changed."""
    running: float | None = None
    """Seconds since it was first seen in progress; None before that."""
    speed: str | None = None
    """The client's speed, where the task itself does not tell."""
    typical: float | None = None
    """Seconds such jobs took here of late; None until some have ended."""
    refresh: float | None = None
    """Seconds until a server that asks another every so often does so next; None for others."""
    hinted: float | None = None
    """Seconds since a webhook last brought true news of it; None where none has."""


class NextLook(Protocol):
    """A schedule: anything with these two."""

    @property
    def together(self) -> float:
        """Looks due within so many seconds of one another share a request."""
        ...

    def next_look(self, look: Look) -> float:
        """Seconds until the next look."""
        ...


_TYPICAL: Final[Mapping[str, float]] = {
    "UPSCALE": 3.0,
    "DESCRIBE": 10.0,
    "SHORTEN": 8.0,
    "VIDEO": 120.0,
}
_TYPICAL_OTHER: Final = 50.0
_PACE: Final[Mapping[str, float]] = {"turbo": 0.4, "fast": 1.0, "relax": 3.0}
_SURE: Final = 6.0
"""How closely jobs keep to what such jobs take: the shape of a log-logistic distribution."""
_SURE_RUNNING: Final = (4.0, 16.0)
"""The same for an estimate from progress: to begin with, and gained by the time of 100 %."""
_IN_PROGRESS: Final = TaskStatus.IN_PROGRESS
"""Read once: a member of an enumeration is slow to find."""
_INSTANT: Final = 1e-3
_BRIEF: Final = 0.1
_LEAST: Final = 0.001
"""Seconds: an interval below this would look without end."""


@attrs.frozen(kw_only=True)
class Schedule:
    """Look more often the likelier it is that a job ends any moment.

    The fewest looks for the least delay are those at a rate that follows the square root of the
    hazard. A job's duration is taken as log-logistic around what its progress foretells, else
    around what such jobs take. So backing off would be the wrong way round, but for a job that
    outlives every estimate (a long queue): that one is looked at less and less often again.

    Raises:
        ConfigurationError: A number makes no sense, or `longest` is less than `shortest`.
    """

    shortest: float = attrs.field(default=1.0, validator=at_least(_LEAST))
    """Seconds: no task is looked at more often, but for the first looks."""
    longest: float = attrs.field(default=5.0, validator=at_least(_LEAST))
    """Seconds: no task is looked at less often, but for `net`.

    Idle connections are kept for 30: above that every look opens one.
    """
    first: float = attrs.field(default=0.5, validator=at_least(_LEAST))
    """Seconds until the first look, and each of the next ones at most doubles the time watched;
    but not once it is known what such jobs take."""
    price: float = attrs.field(default=0.1, validator=at_least(0))
    """Seconds of delay that are worth one look: the higher, the fewer looks."""
    net: float = attrs.field(default=3.0, validator=at_least(1))
    """Times `longest`, that is how rarely a task is looked at while webhooks tell of it, or while
    the server itself learns nothing new."""
    together: float = attrs.field(default=0.5, validator=at_least(0))
    """Looks due within so many seconds of one another share a request."""

    def __attrs_post_init__(self) -> None:
        if self.longest < self.shortest:
            message = (
                f"Schedule: longest ({self.longest:g}) must not be less than shortest "
                f"({self.shortest:g})."
            )
            raise ConfigurationError(message)

    def next_look(self, look: Look) -> float:
        """Seconds until the next look: `longest` at most, or `net` times that."""
        rarely = self.net * self.longest
        if look.hinted is not None and look.hinted < rarely:
            return rarely
        if look.refresh is not None:
            return max(self.shortest, min(look.refresh, rarely))
        age, median, sure = _expectation(look)
        age = max(_INSTANT, age + self.shortest)
        # sqrt(2 · price / hazard), and the hazard of a log-logistic duration
        wait = math.sqrt(2 * self.price * age / sure * (1 + (median / age) ** sure))
        wait = max(wait, self.shortest)
        wait = min(wait, self.longest)
        return wait if look.typical else min(wait, max(self.first, look.watched))


def _expectation(look: Look) -> tuple[float, float, float]:
    """How old a job is, at what age such jobs end, and how surely."""
    info, unchanged, running = look.info, look.unchanged, look.running
    if info.status is not _IN_PROGRESS or not info.progress:
        return look.watched, _usual(look), _SURE
    done = info.progress / 100
    age = running if running and running > unchanged else look.watched
    if age <= unchanged:  # it was found like this, so how fast it goes is not known yet
        return age, max(_usual(look) * (1 - done), _BRIEF), _SURE
    start, gain = _SURE_RUNNING
    return age, max(age - unchanged, _BRIEF) / done, start + gain * done


def _usual(look: Look) -> float:
    """Seconds such jobs take, here or else anywhere."""
    if look.typical:
        return look.typical
    pace = _PACE.get((look.info.mode or look.speed or "fast").lower(), 1.0)
    return _TYPICAL.get(look.info.action, _TYPICAL_OTHER) * pace

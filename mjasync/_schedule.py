"""When to look at a waiting task again: a pure function of what is known. PROTOCOL §7.4."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

import attrs

from ._models import TaskInfo, TaskStatus

__all__ = ["Look", "NextLook", "Schedule"]


@attrs.frozen(kw_only=True)
class Look:
    """What is known when the next look at a task is planned."""

    info: TaskInfo
    watched: float
    """Seconds since watching began."""
    unchanged: float
    """Seconds since anything changed."""
    speed: str | None = None
    """The client's speed, where the task itself does not tell."""


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


@attrs.frozen(kw_only=True)
class Schedule:
    """Look more often the nearer the end: a fraction of the time a job probably still takes.

    Backing off would be the wrong way round: the longer a job has run, the likelier it is to end
    any moment. The rest is estimated from the progress it made, else from what such jobs take;
    one that outlives every estimate (a long queue) is looked at less and less often again.
    """

    shortest: float = 1.0
    """Seconds: no task is looked at more often, but for the first looks."""
    longest: float = 5.0
    """Seconds: no task is looked at less often."""
    first: float = 0.5
    """Seconds until the first look; each of the next ones at most doubles the time watched."""
    fraction: float = 0.2
    """Of the estimated rest until the next look."""
    together: float = 0.5
    """Looks due within so many seconds of one another share a request."""

    def next_look(self, look: Look) -> float:
        """Seconds until the next look, `longest` at most."""
        wait = max(self.fraction * self._rest(look), self.shortest)
        return min(wait, self.longest, max(self.first, look.watched))

    def _rest(self, look: Look) -> float:
        info = look.info
        if info.status is TaskStatus.IN_PROGRESS and info.progress:
            ran = max(0.0, look.watched - look.unchanged)
            rest = ran * (100 - info.progress) / info.progress - look.unchanged
        else:
            typical = _TYPICAL.get(info.action, _TYPICAL_OTHER)
            pace = _PACE.get((info.mode or look.speed or "fast").lower(), 1.0)
            rest = typical * pace - look.watched
        return max(rest, look.unchanged / 4)

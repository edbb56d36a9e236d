"""What a server was seen to do: how long its jobs take, and when it learns of anything."""

from __future__ import annotations

import math
from typing import Final

import attrs

__all__ = ["Durations", "GatewayRefreshCycle"]

_MIN_SAMPLES: Final = 3
"""Jobs that must have ended before anything is said of such jobs."""
_MAX_SAMPLES: Final = 20
"""Jobs after which an older one hardly counts any more."""


class Durations:
    """What jobs took of late, by kind: an action at a speed, on one server."""

    def __init__(self) -> None:
        self._samples: dict[tuple[str, str | None], tuple[int, float]] = {}
        self._estimates: dict[tuple[str, str | None], float] = {}

    def record(self, action: str, speed: str | None, seconds: float) -> None:
        """Take in that a job was done after some seconds."""
        count, mean = self._samples.get((action, speed), (0, 0.0))
        log = math.log(max(seconds, 1e-3))
        count = min(count + 1, _MAX_SAMPLES)
        mean += (log - mean) / count
        self._samples[action, speed] = count, mean
        if count >= _MIN_SAMPLES:
            self._estimates[action, speed] = math.exp(mean)

    def estimate(self, action: str, speed: str | None) -> float | None:
        """Return the seconds that such a task takes; None while too few have ended."""
        return self._estimates.get((action, speed))


@attrs.define
class GatewayRefreshCycle:
    """When a server that asks another every `period` seconds did so, told by what changed when.

    Nothing is foretold until two refreshes were seen a period apart; a server that is found to
    change in between is one of another kind, and nothing is foretold of it ever after.
    """

    period: float
    """Seconds (PROTOCOL §6.3); a loop that sleeps so long between refreshes takes a bit longer."""
    _earliest: float = attrs.field(default=-math.inf, init=False)
    _latest: float = attrs.field(default=-math.inf, init=False)
    _regular: bool = attrs.field(default=False, init=False)
    _refuted: bool = attrs.field(default=False, init=False)

    def record_change(self, earliest: float, latest: float) -> None:
        """Take in that something changed between two moments."""
        if earliest < self._latest and self._earliest < latest:  # the same refresh
            self._earliest, self._latest = max(earliest, self._earliest), min(latest, self._latest)
            return
        if latest <= self._earliest:  # an earlier one
            return
        least, most = earliest - self._latest, latest - self._earliest
        slack = self.period / 5  # what one refresh may take
        self._refuted |= least > slack and most < self.period - slack
        self._regular |= least > self.period - 2 * slack and most < self.period + 2 * slack
        foretold = self._earliest + self.period
        self._earliest, self._latest = (
            max(earliest, foretold) if foretold < latest else earliest,
            latest,
        )

    def next_in(self, now: float) -> float | None:
        """Return the seconds until the next refresh is probably visible; None if unknown."""
        if self._refuted or not self._regular:
            return None
        after, by = self._earliest + self.period, self._latest + self.period
        if now > by + self.period / 5:
            return None
        aim = after + max((by - after) / 2, min(by - after, 1.0))
        return max(0.0, aim - now)

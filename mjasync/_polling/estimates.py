"""What the polls of a server reveal: how long its tasks take, and when a gateway refreshes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import attrs

from .._models import TaskStatus
from .._protocol import decoding
from .schedule import PollState
from .watch import Watch

_MIN_SAMPLES: Final = 3
"""Tasks that must have ended before there is an estimate."""
_MAX_SAMPLES: Final = 20
"""Tasks after which an older one hardly counts."""


class Durations:
    """Recent durations of tasks by kind: an action at a speed, on one server."""

    def __init__(self) -> None:
        self._samples: dict[tuple[str, str | None], tuple[int, float]] = {}
        self._estimates: dict[tuple[str, str | None], float] = {}

    def record(self, action: str, speed: str | None, seconds: float) -> None:
        """Record the duration of a finished task."""
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
    """The refresh cycle of a gateway that polls its own server every `period` seconds.

    It is derived from the changes of tasks, and unknown until two refreshes were seen a period
    apart. A gateway that changes between refreshes is of another kind: its cycle stays unknown.
    """

    period: float
    """Seconds (PROTOCOL §6.3); a loop that sleeps this long between refreshes takes longer."""
    _earliest: float = attrs.field(default=-math.inf, init=False)
    _latest: float = attrs.field(default=-math.inf, init=False)
    _regular: bool = attrs.field(default=False, init=False)
    _refuted: bool = attrs.field(default=False, init=False)

    def record_change(self, earliest: float, latest: float) -> None:
        """Record that something changed between two times."""
        if earliest < self._latest and self._earliest < latest:  # the same refresh
            self._earliest, self._latest = max(earliest, self._earliest), min(latest, self._latest)
            return
        if latest <= self._earliest:  # an earlier refresh
            return
        min_gap, max_gap = earliest - self._latest, latest - self._earliest
        slack = self.period / 5  # the time that one refresh may take
        self._refuted |= min_gap > slack and max_gap < self.period - slack
        self._regular |= min_gap > self.period - 2 * slack and max_gap < self.period + 2 * slack
        expected = self._earliest + self.period
        self._earliest = max(earliest, expected) if expected < latest else earliest
        self._latest = latest

    def next_in(self, now: float) -> float | None:
        """Return the seconds until the next refresh is probably visible; None if unknown."""
        if self._refuted or not self._regular:
            return None
        earliest, latest = self._earliest + self.period, self._latest + self.period
        if now > latest + self.period / 5:
            return None
        aim = earliest + max((latest - earliest) / 2, min(latest - earliest, 1.0))
        return max(0.0, aim - now)


class Estimates:
    """What a client has learned about its server, for the schedule."""

    def __init__(self, speed: str | None) -> None:
        self._speed = speed
        self._durations = Durations()
        self._refresh_cycle: GatewayRefreshCycle | None = None

    def record_progress(
        self, watch: Watch, raw: Mapping[str, Any], now: float, *, is_first: bool
    ) -> None:
        """Learn from a change of status or progress, unless the task may have changed long ago."""
        if self._refresh_cycle is None:
            period = decoding.gateway_refresh_period(raw)
            self._refresh_cycle = None if period is None else GatewayRefreshCycle(period)
        if is_first:
            return
        if self._refresh_cycle is not None:
            self._refresh_cycle.record_change(watch.last_poll_at, now)
        info = watch.info
        if watch.seen_from_start and info.status is TaskStatus.SUCCESS:
            for speed in {info.mode, self._speed}:  # the first snapshots of a task have no mode
                self._durations.record(info.action, speed, now - watch.started_at)

    def poll_state(self, watch: Watch, now: float) -> PollState:
        """Return the state from which a schedule derives the time of the next poll."""
        info, running, webhook = watch.info, watch.running_since, watch.last_webhook_at
        cycle = self._refresh_cycle
        return PollState(
            info=info,
            waited=now - watch.started_at,
            since_change=now - watch.changed_at,
            since_start=None if running is None else now - running,
            speed=self._speed,
            typical_duration=self._durations.estimate(info.action, info.mode or self._speed),
            gateway_refresh_in=None if cycle is None else cycle.next_in(now),
            webhook_pending=None if webhook is None else now - webhook,
        )

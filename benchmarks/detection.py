"""Delay of the detection of a finished job, and polls per job: a simulation in virtual time.

The models of jobs follow what is known of real ones. In each, the schedule of the library is
compared with the fixed interval that makes as many polls per job. The seeds are fixed.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable, Sequence
from typing import Final

import attrs

from mjasync import PollSchedule, PollState, Schedule, TaskInfo, TaskStatus
from mjasync._polling.estimates import Durations, GatewayRefreshCycle

from .row import Row

__all__ = ["detection"]

_WARM_UP: Final = 20
"""Jobs from which the schedule learns durations before it is measured."""
_STEPS: Final = 6.4
"""Steps of progress: 0, 15, 31, 46, 62, 78, 93 %."""
_PRICES: Final = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
_INTERVALS: Final = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0, 10.0)
_CAPS: Final = (1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 30.0)

Point = tuple[float, float]
"""Means over all jobs: polls per job, and seconds of delay."""


def _info(status: TaskStatus, progress: int | None = None) -> TaskInfo:
    return TaskInfo(id="1", action="IMAGINE", status=status, progress=progress)


_NOT_START: Final = _info(TaskStatus.NOT_START)
_SUBMITTED: Final = _info(TaskStatus.SUBMITTED, 0)
_SUCCESS: Final = _info(TaskStatus.SUCCESS, 100)


@attrs.frozen
class Model:
    """A kind of job and of server."""

    name: str
    queue: float = 4.0
    """Median seconds in the queue, lognormal."""
    scale: float = 1.0
    """Of a run of 30 to 90 s, median 52."""
    shown: Callable[[float], float] = lambda done: done
    """The fraction that the server reports, from the fraction that is done."""
    noise: float = 0.0
    """Standard deviation of each step of progress."""
    is_silent: bool = False
    """Whether the server reports neither progress nor status before the end."""
    speed: str | None = None
    refresh: float = 0.0
    """Seconds between the polls of a gateway; 0 without a gateway."""

    def jobs(self, count: int, rng: random.Random) -> list[Job]:
        """Return some random jobs."""
        return [
            Job(
                self,
                self.queue * math.exp(rng.gauss(0, 0.7)),
                self.scale * _run_seconds(rng),
                [rng.gauss(0, self.noise) for _ in range(7)],
            )
            for _ in range(count)
        ]


@attrs.frozen
class Job:
    """One job."""

    model: Model
    queue: float
    seconds: float
    errors: Sequence[float]
    """Of the steps of progress."""

    @property
    def end(self) -> float:
        """Seconds from the submission to the end."""
        return self.queue + self.seconds

    def info_at(self, now: float) -> TaskInfo:
        """Return the snapshot some seconds after the submission."""
        if now >= self.end:
            return _SUCCESS
        if now < self.queue or self.model.is_silent:
            return _SUBMITTED
        step = int(self.model.shown((now - self.queue) / self.seconds) * _STEPS)
        done = min(0.99, max(0.0, step / _STEPS + self.errors[step])) if step else 0.0
        return _info(TaskStatus.IN_PROGRESS, int(100 * done))


def _run_seconds(rng: random.Random) -> float:
    while not 30 <= (seconds := rng.lognormvariate(math.log(52), 0.27)) <= 90:
        pass
    return seconds


_MODELS: Final = (
    Model("main"),
    Model("noisy", noise=0.08),
    Model("running ahead", shown=lambda done: done**0.6),
    Model("lagging", shown=lambda done: done**1.7),
    Model("absent", is_silent=True),
    Model("turbo", queue=1.5, scale=15 / 52, speed="turbo"),
    Model("relax", queue=10.0, scale=180 / 52, speed="relax"),
    Model("3-9 s", queue=0.4, scale=0.1),
)
_GATEWAY: Final = Model("gateway", refresh=15.0)


@attrs.define
class Waiter:
    """Client and server while the client waits for one job after the other."""

    model: Model
    schedule: PollSchedule
    rng: random.Random
    refreshes: GatewayRefreshCycle | None = None
    """The refresh cycle of the gateway, if the client knows that it is one."""
    durations: Durations = attrs.field(factory=Durations)
    now: float = 0.0
    _refreshed: float = 0.0
    _next_refresh: float = 0.0

    def _poll(self, job: Job, start: float) -> TaskInfo:
        if not self.model.refresh:
            return job.info_at(self.now - start)
        while self._next_refresh <= self.now:
            self._refreshed = self._next_refresh
            self._next_refresh += self.model.refresh + self.rng.uniform(0, 0.4)
        return job.info_at(max(0.0, self._refreshed - start))

    def wait(self, job: Job) -> tuple[int, float]:
        """Wait for a job; return the number of polls and the seconds of delay."""
        start = last_poll = changed = self.now
        running: float | None = None
        info, polls, speed = _NOT_START, 0, self.model.speed
        while not info.status.is_final:
            self.now += self.schedule.next_delay(
                PollState(
                    info=info,
                    waited=self.now - start,
                    since_change=self.now - changed,
                    since_start=None if running is None else self.now - running,
                    speed=speed,
                    typical_duration=self.durations.estimate("IMAGINE", speed),
                    gateway_refresh_in=self.refreshes.next_in(self.now) if self.refreshes else None,
                )
            )
            polls += 1
            reply = self._poll(job, start)
            if reply != info:
                changed = self.now
                if polls > 1 and self.refreshes:
                    self.refreshes.record_change(last_poll, self.now)
                if running is None and reply.status is TaskStatus.IN_PROGRESS:
                    running = self.now
            last_poll, info = self.now, reply
        self.durations.record("IMAGINE", speed, self.now - start)
        return polls, self.now - start - job.end


@attrs.frozen
class Growing:
    """An interval that grows by half each time: 1, 1.5, 2.25… seconds."""

    cap: float
    coalesce: float = 0.5

    def next_delay(self, state: PollState) -> float:
        """Return the seconds until the next poll."""
        return min(self.cap, 1 + state.waited / 2)


def _simulate(
    model: Model,
    jobs: Sequence[Job],
    schedule: PollSchedule,
    refreshes: GatewayRefreshCycle | None = None,
) -> Point:
    rng = random.Random(2)
    waiter = Waiter(model, schedule, rng, refreshes)
    for job in model.jobs(_WARM_UP, random.Random(3)):
        waiter.wait(job)
    results = []
    for job in jobs:
        waiter.now += rng.uniform(0, 15)
        results.append(waiter.wait(job))
    polls, delays = zip(*results, strict=True)
    return statistics.fmean(polls), statistics.fmean(delays)


def _fixed(jobs: Sequence[Job], interval: float) -> Point:
    polls = [math.ceil(job.end / interval) for job in jobs]
    delays = [n * interval - job.end for n, job in zip(polls, jobs, strict=True)]
    return statistics.fmean(polls), statistics.fmean(delays)


def _fixed_with(jobs: Sequence[Job], polls: float) -> Point:
    """Return the point of the fixed interval that makes as many polls per job."""
    short, long = 0.01, 1000.0
    for _ in range(60):
        middle = math.sqrt(short * long)
        short, long = (middle, long) if _fixed(jobs, middle)[0] > polls else (short, middle)
    return _fixed(jobs, long)


def _text(point: Point) -> str:
    return f"{point[0]:.1f} polls, {point[1]:.2f} s"


def detection(count: int = 600) -> list[Row]:
    """Compare the schedule with fixed intervals in every model, and behind a gateway."""
    rows = []
    for model in _MODELS:
        jobs = model.jobs(count, random.Random(1))
        point = _simulate(model, jobs, Schedule())
        row = Row(
            name=f"detection delay at equal polls, {model.name}",
            ratio=point[1] / _fixed_with(jobs, point[0])[1],
            bar=0.75,
            note=_text(point),
        )
        rows.append(row)
    jobs = _GATEWAY.jobs(count, random.Random(1))
    knowing = _simulate(_GATEWAY, jobs, Schedule(), GatewayRefreshCycle(_GATEWAY.refresh))
    ignorant = _simulate(_GATEWAY, jobs, Schedule())
    note = f"with its cycle: {_text(knowing)}; without: {_text(ignorant)}"
    for index, (name, bar) in enumerate((("polls", 0.75), ("detection delay", 1.05))):
        ratio = knowing[index] / ignorant[index]
        rows.append(Row(name=f"{name} behind a known gateway", ratio=ratio, bar=bar, note=note))
    return [attrs.evolve(rows[0], series=_curves(count)), *rows[1:]]


def _curves(count: int) -> dict[str, list[Point]]:
    """Return the delay by the polls, for each policy."""
    model = _MODELS[0]
    jobs = model.jobs(count, random.Random(1))
    return {
        "schedule": [_simulate(model, jobs, Schedule(seconds_per_poll=price)) for price in _PRICES],
        "fixed interval": [_fixed(jobs, interval) for interval in _INTERVALS],
        "growing interval": [_simulate(model, jobs, Growing(cap)) for cap in _CAPS],
    }

"""How late a finished job is noticed, and with how many looks: a simulation in virtual time.

Nine models of a job, made up after what is known of real ones; in each the library's own schedule
plays against a fixed interval that costs as many looks per job. Seeded: every run is the same.
"""

from __future__ import annotations

import functools
import math
import random
import statistics
from collections.abc import Callable, Iterator, Sequence

import attrs

from mjasync import PollSchedule, PollState, Schedule, TaskInfo, TaskStatus
from mjasync._polling.estimates import Durations, GatewayRefreshCycle

from .row import Row

__all__ = ["run"]

BAR = 0.75
"""Mean delay of the schedule against a fixed interval with as many looks per job, at most."""
GATEWAY_POLLS_BAR = 0.75
"""Looks per job behind a gateway against those of a client that does not know one, at most."""
GATEWAY_DELAY_BAR = 1.05
"""The delay of the one against that of the other, at most."""
JOBS = 600
WARMING_UP = 20
"""Jobs from which the schedule learns before it is measured."""
STEPS = 6.4
"""Progress comes in so many steps: 0, 15, 31, 46, 62, 78, 93 %."""
PRICES = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
INTERVALS = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0, 10.0)
CAPS = (1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 30.0)

Progress = Callable[[float], float]
"""From the fraction of a run that is over to the fraction the server shows."""


@attrs.frozen
class Model:
    """A kind of job and of server."""

    name: str
    queue: float = 4.0
    """Median seconds until it runs, lognormal."""
    scale: float = 1.0
    """Of a run of 30..90 s, median 52."""
    shown: Callable[[float], float] = lambda done: done
    """What progress makes of the fraction that is over."""
    noise: float = 0.0
    """Standard deviation of each step shown."""
    silent: bool = False
    """Whether neither progress nor status tells anything before the end."""
    speed: str | None = None
    refresh: float = 0.0
    """Seconds between a gateway's own looks; 0 for none."""

    def jobs(self, count: int, rng: random.Random) -> list[Job]:
        """Draw some jobs."""
        return [
            Job(
                self.queue * math.exp(rng.gauss(0, 0.7)),
                self.scale * _run_seconds(rng),
                functools.partial(self._progress, [rng.gauss(0, self.noise) for _ in range(7)]),
                silent=self.silent,
            )
            for _ in range(count)
        ]

    def _progress(self, errors: Sequence[float], done: float) -> float:
        step = int(self.shown(done) * STEPS)
        return min(0.99, max(0.0, step / STEPS + errors[step])) if step else 0.0


@attrs.frozen
class Job:
    """One job: what a server would show of it when."""

    queue: float
    seconds: float
    progress: Progress
    silent: bool

    @property
    def end(self) -> float:
        """Seconds from submission to its end."""
        return self.queue + self.seconds

    def at(self, now: float) -> TaskInfo:
        """The snapshot some seconds after submission."""
        if now >= self.end:
            return _info(TaskStatus.SUCCESS, 100)
        if now < self.queue or self.silent:
            return _info(TaskStatus.SUBMITTED, 0)
        done = self.progress((now - self.queue) / self.seconds)
        return _info(TaskStatus.IN_PROGRESS, int(100 * done))


def _run_seconds(rng: random.Random) -> float:
    while not 30 <= (seconds := rng.lognormvariate(math.log(52), 0.27)) <= 90:
        pass
    return seconds


@functools.cache
def _info(status: TaskStatus, progress: int | None) -> TaskInfo:
    return TaskInfo(id="1", action="IMAGINE", status=status, progress=progress)


MODELS = (
    Model("main"),
    Model("noisy", noise=0.08),
    Model("running ahead", shown=lambda done: done**0.6),
    Model("lagging", shown=lambda done: done**1.7),
    Model("absent", silent=True),
    Model("turbo", queue=1.5, scale=15 / 52, speed="turbo"),
    Model("relax", queue=10.0, scale=180 / 52, speed="relax"),
    Model("3-9 s", queue=0.4, scale=0.1),
)
GATEWAY = Model("gateway", refresh=15.0)


class Server:
    """Shows a job as it is, or as it was when a gateway last looked."""

    def __init__(self, model: Model, rng: random.Random) -> None:
        self._refresh = model.refresh
        self._rng = rng
        self._last = self._next = 0.0

    def shows(self, job: Job, begun: float, now: float) -> TaskInfo:
        """What a look sees of a job that was submitted at `begun`."""
        if not self._refresh:
            return job.at(now - begun)
        while self._next <= now:  # it sleeps between its looks, and those take a while, too
            self._last = self._next
            self._next += self._refresh + self._rng.uniform(0, 0.4)
        return job.at(max(0.0, self._last - begun))


@attrs.define
class Player:
    """What the client does while it waits for one job after the other."""

    schedule: PollSchedule
    server: Server
    speed: str | None = None
    durations: Durations = attrs.field(factory=Durations)
    learning: bool = True
    refreshes: GatewayRefreshCycle | None = None
    """What is known of a gateway; None where nothing is."""
    now: float = 0.0

    def play(self, job: Job) -> tuple[int, float]:
        """Wait for a job; how often it was looked at, and how late its end was noticed."""
        begun = asked = changed = self.now
        running: float | None = None
        seen, looks = _info(TaskStatus.NOT_START, None), 0
        while not seen.status.is_final:
            self.now += self.schedule.next_delay(
                PollState(
                    info=seen,
                    waited=self.now - begun,
                    since_change=self.now - changed,
                    since_start=None if running is None else self.now - running,
                    speed=self.speed,
                    typical_duration=self.durations.estimate("IMAGINE", self.speed),
                    gateway_refresh_in=None
                    if self.refreshes is None
                    else self.refreshes.next_in(self.now),
                )
            )
            looks += 1
            shown = self.server.shows(job, begun, self.now)
            if shown is not seen:
                changed = self.now
                if looks > 1 and self.refreshes:
                    self.refreshes.record_change(asked, self.now)
                if running is None and shown.status is TaskStatus.IN_PROGRESS:
                    running = self.now
            asked, seen = self.now, shown
        if self.learning:
            self.durations.record("IMAGINE", self.speed, self.now - begun)
        return looks, self.now - begun - job.end


@attrs.frozen
class Growing:
    """The interval grows, as most clients do it: from a second, by half each time."""

    cap: float
    coalesce: float = 0.5

    def next_delay(self, look: PollState) -> float:
        """Half of what has passed and a second, that is: 1, 1.5, 2.25… seconds."""
        return min(self.cap, 1 + look.waited / 2)


@attrs.frozen
class Point:
    """What a policy costs and gives in one model: means over all jobs."""

    polls: float
    """Looks per job."""
    delay: float
    """Seconds."""

    def __str__(self) -> str:
        return f"{self.polls:.1f} polls, {self.delay:.2f} s"


def run(jobs: int = JOBS) -> list[Row]:
    """Every model against its bar."""
    return [*(_against_fixed(model, jobs) for model in MODELS), *_behind_a_gateway(jobs)]


def _against_fixed(model: Model, count: int) -> Row:
    jobs = model.jobs(count, random.Random(1))
    learnt = _played(model, jobs, Schedule())
    cold = _played(model, jobs, Schedule(), learning=False)
    return Row(
        name=f"detection delay at equal polls, {model.name}, once it has learnt",
        ratio=_against_equal(jobs, learnt),
        bar=BAR,
        note=f"{learnt}; nothing learnt yet: {_against_equal(jobs, cold):.2f}, {cold}",
        series=_curves(model, jobs) if model is MODELS[0] else {},
    )


def _against_equal(jobs: Sequence[Job], point: Point) -> float:
    """The delay against that of the fixed interval that takes as many looks per job."""
    short, long = 0.01, 1000.0
    for _ in range(60):
        middle = math.sqrt(short * long)
        is_dearer = _fixed(jobs, middle).polls > point.polls
        short, long = (middle, long) if is_dearer else (short, middle)
    return point.delay / _fixed(jobs, long).delay


def _behind_a_gateway(count: int) -> Iterator[Row]:
    jobs = GATEWAY.jobs(count, random.Random(1))
    knowing = _played(GATEWAY, jobs, Schedule(), knowing=True)
    ignorant = _played(GATEWAY, jobs, Schedule())
    note = f"knowing: {knowing}; not knowing: {ignorant}"
    for what, ratio, bar in (
        ("polls", knowing.polls / ignorant.polls, GATEWAY_POLLS_BAR),
        ("detection delay", knowing.delay / ignorant.delay, GATEWAY_DELAY_BAR),
    ):
        yield Row(name=f"{what} behind a gateway it knows", ratio=ratio, bar=bar, note=note)


def _played(
    model: Model,
    jobs: Sequence[Job],
    schedule: PollSchedule,
    *,
    learning: bool = True,
    knowing: bool = False,
) -> Point:
    rng = random.Random(2)
    player = Player(
        schedule,
        Server(model, rng),
        speed=model.speed,
        learning=learning,
        refreshes=GatewayRefreshCycle(model.refresh) if knowing else None,
    )
    for job in model.jobs(WARMING_UP, random.Random(3)) if learning else ():
        player.play(job)
    results = []
    for job in jobs:
        player.now += rng.uniform(0, 15)
        results.append(player.play(job))
    polls, delays = zip(*results, strict=True)
    return Point(statistics.fmean(polls), statistics.fmean(delays))


def _fixed(jobs: Sequence[Job], interval: float) -> Point:
    looks = [math.ceil(job.end / interval) for job in jobs]
    delays = [n * interval - job.end for n, job in zip(looks, jobs, strict=True)]
    return Point(statistics.fmean(looks), statistics.fmean(delays))


def _curves(model: Model, jobs: Sequence[Job]) -> dict[str, list[tuple[float, float]]]:
    """Delay against polls, by policy."""
    curves = {
        "schedule": [_played(model, jobs, Schedule(seconds_per_poll=price)) for price in PRICES],
        "fixed interval": [_fixed(jobs, interval) for interval in INTERVALS],
        "growing interval": [_played(model, jobs, Growing(cap), learning=False) for cap in CAPS],
    }
    return {name: [attrs.astuple(point) for point in curve] for name, curve in curves.items()}

"""One run of a batch: jobs are begun as places become free, and come out as they end."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict, deque
from collections.abc import Iterable
from itertools import chain
from typing import Final

import attrs

from .._circuit_breaker import CircuitState
from .._models import TaskInfo
from ..errors import ConnectionFailed, MJError
from ._adaptive_limit import Pace
from ._job_executor import Life
from ._jobs import Job, JobState
from ._outcome import Outcome

__all__ = ["Bounds", "Crew"]

_WORKERS: Final = 4
"""Workers for each place: those that only save a picture take none."""
_SOONEST: Final = 0.05
_LATEST: Final = 2.0
"""Seconds between two looks at a shared ledger: the longer there was nothing, the longer."""
_LEFT: Final = (JobState.PLANNED, JobState.SUBMITTING, JobState.ACCEPTED, JobState.FINISHED)
"""Where a job stands that another process has left, or not come to."""


@attrs.frozen(kw_only=True)
class Bounds:
    """How much a run may do."""

    limit: int
    max_submits: int | None
    max_failures: int | None
    max_uncertain: int | None = None

    def reached(self, submits: int, failures: int, uncertain: int) -> str:
        """Why nothing more may be begun; "" if it may."""
        if self.max_uncertain is not None and uncertain >= self.max_uncertain:
            return "max_uncertain"
        if self.max_failures is not None and failures >= self.max_failures:
            return "max_failures"
        if self.max_submits is not None and submits >= self.max_submits:
            return "max_submits"
        return ""


@attrs.define
class _Worker:
    job: Job
    task: asyncio.Task[None]


class Crew:
    """Jobs under way in one run."""

    def __init__(self, *, life: Life, pace: Pace, bounds: Bounds) -> None:
        self.error: Exception | None = None
        """What ended the run, if anything did."""
        self.stopped = ""
        """Why nothing more is begun; "" while it is."""
        self.had_work = False
        """Whether there was anything to do."""
        self._life = life
        self._ledger = life.ledger
        self._pace = pace
        self._connect = life.door.connect
        self._breaker = life.breaker
        self._patience = life.door.busy.budget
        self._refusal: MJError | None = None
        self._was_there = False
        self._clock = life.door.clock
        self._bounds = bounds
        self._planned: deque[Job] = deque()
        self._begun: deque[Job] = deque()
        self._after: defaultdict[str, list[Job]] = defaultdict(list)
        self._held: defaultdict[str, deque[Job]] = defaultdict(deque)
        self._workers: dict[str, _Worker] = {}
        self._in_flight: dict[str, str] = {}
        self._paying: set[str] = set()
        self._answering: set[str] = set()
        self._uncertain: set[str] = set()
        self._open: deque[tuple[Job, int]] = deque()
        self._news: asyncio.Queue[Outcome | None] = asyncio.Queue()
        self._alarm: asyncio.Task[None] | None = None
        self._scout: asyncio.Task[None] | None = None
        self._pause = _SOONEST
        self._done: set[str] = set()
        self._count: Counter[str] = Counter()

    @property
    def under_way(self) -> tuple[tuple[Job, TaskInfo | None], ...]:
        """The jobs under way in the order they began, each with the last that is known of it."""
        tasks = self._life.tasks
        return tuple(
            (worker.job, tasks[key].info if key in tasks else None)
            for key, worker in self._workers.items()
        )

    @property
    def held_up(self) -> tuple[MJError, float] | None:
        """Why the server takes or tells nothing, and for how many seconds more it is tried."""
        now, trouble = self._clock.now(), self._life.door.trouble
        lost, since = self._breaker.error, self._breaker.opened_at
        if lost is not None and since is not None and not self.stopped and self._has_unsent():
            return lost, max(0.0, since + self._patience - now)
        if self._refusal is not None and not self.stopped and self._has_unsent():
            hasty = None if self._was_there else self._connect
            return self._refusal, self._pace.patience(now, hasty)
        if trouble is not None and self._in_flight:
            return trouble[0], max(0.0, trouble[1] - now)
        return None

    @property
    def reason(self) -> str:
        """Why only single submissions are tried, with the server's own words; "" else."""
        return self._breaker.reason

    @property
    def unrecorded(self) -> tuple[str, ...]:
        """Ids that the server gave and the ledger had no room for."""
        return tuple(self._life.unrecorded)

    def _has_unsent(self) -> bool:
        return bool(self._planned or self._paying)

    async def begin(self, jobs: Iterable[Job]) -> None:
        """Take what is left to do; and from now on what other processes leave."""
        await self._take(jobs)
        if self._ledger.is_shared:
            self._scout = asyncio.get_running_loop().create_task(self._look_around())

    async def next_ended(self) -> Job | None:
        """The next job that ends for this run; None after the last one."""
        while True:
            self._begin_some()
            if not self._workers and self._news.empty() and not self._waits():
                if not self._open:
                    return None
                left, accepted = self._open.popleft()
                if self.stopped or self._count["accepted"] == accepted:
                    return self._end(left)
                self._begun.append(left)  # others were accepted since: the list may prove more now
                continue
            outcome = await self._news.get()
            if outcome is not None and (job := self._settle(outcome)) is not None:
                return job

    def stop(self, reason: str) -> None:
        """Begin nothing more."""
        self.stopped = self.stopped or reason
        self._life.recovery.stopping.set()
        self._news.put_nowait(None)

    async def disband(self) -> None:
        """Stop waiting for anything; what is on the wire is finished and noted first."""
        tasks = [worker.task for worker in self._workers.values()]
        tasks += filter(None, [self._alarm, self._scout])
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._ledger.release_all()

    # --- what there is to do ---

    async def _take(self, jobs: Iterable[Job]) -> None:
        """Sort jobs: what waits for its parent, what the server has, the rest."""
        jobs = list(jobs)
        self.had_work = self.had_work or bool(jobs)
        coming = {job.key for job in jobs} | self._workers.keys()
        wanted = {job.parent for job in jobs if job.parent and job.parent not in coming}
        parents = await self._ledger.find(wanted)
        for job in jobs:
            if job.state is not JobState.PLANNED:
                self._begun.append(job)
            elif job.parent in coming:
                self._after[job.parent or ""].append(job)
            elif job.parent is None or _is_saved(parents.get(job.parent)):
                self._planned.append(job)

    async def _look_around(self) -> None:
        """Find what other processes have left to do, until there is nothing and nobody."""
        try:
            while not self.stopped:
                await self._clock.sleep(self._pause)
                if not self._has_work() and not await self._find_work():
                    break
        except Exception as error:  # noqa: BLE001 - the ledger cannot be read, say
            self._give_up(error)
        self._scout = None
        self._news.put_nowait(None)

    def _has_work(self) -> bool:
        return bool(self._planned or self._begun)

    async def _find_work(self) -> bool:
        """Take what nobody does; return whether there may be more, now or later."""
        jobs, others_work = await self._ledger.unclaimed(*_LEFT)
        found = {job.key for job in jobs}
        waiting = chain(*self._after.values(), *self._held.values())
        jobs += [job for job in waiting if job.key not in found]  # failed ones, to be tried again
        self._after.clear()
        self._held.clear()
        busy = self._done | self._workers.keys() | {job.key for job in self._planned}
        had_workers = bool(self._workers)  # one that ends meanwhile leaves steps to look for
        await self._take(job for job in jobs if job.key not in busy)
        self._pause = min(2 * self._pause, _LATEST)
        self._news.put_nowait(None)
        return others_work or self._has_work() or had_workers

    def _waits(self) -> bool:
        """Whether what is to be begun is held up, or may yet turn up."""
        if self.stopped:
            return False
        return self._scout is not None or (self._alarm is not None and bool(self._planned))

    # --- beginning ---

    def _begin_some(self) -> None:
        while (job := self._next()) is not None:
            task = asyncio.get_running_loop().create_task(self._work(job))
            self._workers[job.key] = _Worker(job, task)
            if job.state is not JobState.FINISHED:
                self._in_flight[job.key] = job.shares
            if job.state is JobState.PLANNED:
                self._paying.add(job.key)
            elif job.modal == "open":
                self._answering.add(job.key)

    def _next(self) -> Job | None:
        """The next job there is a place for, if any."""
        if self.stopped or len(self._workers) >= _WORKERS * self._bounds.limit:
            return None
        if self._begun and len(self._in_flight) < self._bounds.limit:
            return self._begun.popleft()
        if self._begun or not self._planned or len(self._in_flight) >= self._pace.allowed:
            return None
        if self._is_enough() or self._is_paused() or self._is_probing():
            return None
        return self._pop_planned()

    def _is_probing(self) -> bool:
        """Whether what was begun must be answered before anything else is sent."""
        is_unanswered = bool(self._paying or self._answering)
        return self._breaker.state is not CircuitState.CLOSED and is_unanswered

    def _pop_planned(self) -> Job | None:
        """The next one that shares nothing with those in flight; the others are held back."""
        busy = set(self._in_flight.values())
        while self._planned:
            job = self._planned.popleft()
            if job.shares not in busy:
                return job
            self._held[job.shares].append(job)
        return None

    def _is_enough(self) -> bool:
        submits = self._count["submits"] + len(self._paying)
        reason = self._bounds.reached(submits, self._count["failures"], len(self._uncertain))
        if reason and not (reason == "max_submits" and self._paying):
            self.stopped = reason
        return bool(reason)

    def _is_paused(self) -> bool:
        now = self._clock.now()
        rest = max(self._pace.paused_until - now, self._breaker.delay(now) or 0.0)
        if rest <= 0:
            return False
        if self._alarm is None:
            self._alarm = asyncio.get_running_loop().create_task(self._wake(rest))
        return True

    async def _wake(self, seconds: float) -> None:
        await self._clock.sleep(seconds)
        self._alarm = None
        self._news.put_nowait(None)

    # --- ending ---

    async def _work(self, job: Job) -> None:
        try:
            outcome = await self._do(job)
        except Exception as error:  # noqa: BLE001 - the ledger cannot be written, say
            outcome = Outcome(job=job, stop=error)
        self._news.put_nowait(outcome)

    async def _do(self, job: Job) -> Outcome:
        if not await self._ledger.claim(job):
            return Outcome(job=job, elsewhere=True)
        self._pause = _SOONEST
        try:
            return await self._life.live(job, self._sent, self._landed)
        finally:
            await self._ledger.release(job)

    def _sent(self, job: Job) -> None:
        self._workers[job.key].job = job
        self._paying.discard(job.key)
        self._count["submits"] += 1
        if job.state is JobState.ACCEPTED:
            self._count["accepted"] += 1
            self._pace.speed_up()
            self._refusal, self._was_there = None, True
        elif job.state is JobState.UNCERTAIN:
            self._uncertain.add(job.key)
            self._check_patience()
        self._news.put_nowait(None)  # a probe was answered, perhaps

    def _check_patience(self) -> None:
        """Give up once the server has confirmed nothing for as long as it is tried."""
        now, since, lost = self._clock.now(), self._breaker.opened_at, self._breaker.error
        if since is None or lost is None:
            return
        wait = self._breaker.delay(now) or 0.0
        if now + wait - since > self._patience:
            self._give_up(lost)

    def _landed(self, job: Job) -> None:
        self._workers[job.key].job = job
        self._leave(job)
        self._was_there = True
        self._pace.land(self._clock.now())
        self._news.put_nowait(None)

    def _leave(self, job: Job) -> None:
        """Make room for the first of those held back by this one."""
        shares = self._in_flight.pop(job.key, None)
        held = self._held.get(shares, None) if shares is not None else None
        if shares is not None and held:
            self._planned.appendleft(held.popleft())
            if not held:
                del self._held[shares]

    def _settle(self, outcome: Outcome) -> Job | None:
        """Take a job off; return it unless it is to be begun again."""
        job = outcome.job
        self._workers.pop(job.key, None)
        if job.state is not JobState.UNCERTAIN:
            self._uncertain.discard(job.key)
        self._life.tasks.pop(job.key, None)
        self._leave(job)
        self._paying.discard(job.key)
        self._answering.discard(job.key)
        if outcome.refusal is not None:
            self._slow_down(outcome.refusal)
        if outcome.stop is not None:
            self._give_up(outcome.stop)
        if outcome.elsewhere:
            return None
        if outcome.again:
            self._planned.appendleft(job)
            return None
        if outcome.later and not self.stopped:
            self._open.append((job, self._count["accepted"]))
            return None
        if outcome.stop is not None and job.state is JobState.PLANNED:
            self._done.add(job.key)
            return None
        return self._end(job)

    def _end(self, job: Job) -> Job:
        self._done.add(job.key)
        if job.state in {JobState.SAVED, JobState.FINISHED}:
            self._planned.extendleft(reversed(self._after.pop(job.key, [])))
        self._count["failures"] += job.state is JobState.FAILED
        return job

    def _slow_down(self, refusal: MJError) -> None:
        self._was_there = self._was_there or not isinstance(refusal, ConnectionFailed)
        self._refusal = refusal
        hasty = None if self._was_there else self._connect  # perhaps it was never there
        goes_on = self._pace.slow_down(refusal, self._clock.now(), hasty)
        if not goes_on and not self._in_flight:
            self._give_up(refusal)

    def _give_up(self, error: Exception) -> None:
        self.error = self.error or error
        self.stop(type(error).__name__)


def _is_saved(job: Job | None) -> bool:
    return job is not None and job.state is JobState.SAVED

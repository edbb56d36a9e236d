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
from ._adaptive_limit import AdaptiveLimit
from ._job_executor import JobExecutor
from ._jobs import Job, JobStatus
from ._outcome import JobOutcome

__all__ = ["RunLimits", "Runner"]

_MAX_WORKERS: Final = 4
"""Workers for each place: those that only save a picture take none."""
_MIN_POLL_DELAY: Final = 0.05
_MAX_POLL_DELAY: Final = 2.0
"""Seconds between two looks at a shared ledger: the longer there was nothing, the longer."""
_LEAVING: Final = (JobStatus.PLANNED, JobStatus.SUBMITTING, JobStatus.ACCEPTED, JobStatus.FINISHED)
"""Where a job stands that another process has left, or not come to."""


@attrs.frozen(kw_only=True)
class RunLimits:
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
class RunningJob:
    job: Job
    asyncio_task: asyncio.Task[None]


class Runner:
    """Jobs under way in one run."""

    def __init__(
        self, *, executor: JobExecutor, adaptive_limit: AdaptiveLimit, limits: RunLimits
    ) -> None:
        self.error: Exception | None = None
        """What ended the run, if anything did."""
        self.stopped = ""
        """Why nothing more is begun; "" while it is."""
        self.had_work = False
        """Whether there was anything to do."""
        self._executor = executor
        self._ledger = executor.ledger
        self._adaptive_limit = adaptive_limit
        self._connect = executor.client_adapter.connect
        self._breaker = executor.breaker
        self._patience = executor.client_adapter.overloaded.max_elapsed
        self._refusal: MJError | None = None
        self._had_connection = False
        self._clock = executor.client_adapter.clock
        self._limits = limits
        self._queue: deque[Job] = deque()
        self._started: deque[Job] = deque()
        self._children: defaultdict[str, list[Job]] = defaultdict(list)
        self._blocked: defaultdict[str, deque[Job]] = defaultdict(deque)
        self._workers: dict[str, RunningJob] = {}
        self._in_flight: dict[str, str] = {}
        self._paying: set[str] = set()
        self._answering: set[str] = set()
        self._uncertain: set[str] = set()
        self._unfinished: deque[tuple[Job, int]] = deque()
        self._completed: asyncio.Queue[JobOutcome | None] = asyncio.Queue()
        self._wakeup_timer: asyncio.Task[None] | None = None
        self._poller: asyncio.Task[None] | None = None
        self._pause = _MIN_POLL_DELAY
        self._is_done: set[str] = set()
        self._count: Counter[str] = Counter()

    @property
    def active(self) -> tuple[tuple[Job, TaskInfo | None], ...]:
        """The jobs under way in the order they began, each with the last that is known of it."""
        tasks = self._executor.tasks
        return tuple(
            (worker.job, tasks[key].info if key in tasks else None)
            for key, worker in self._workers.items()
        )

    @property
    def blocked_by(self) -> tuple[MJError, float] | None:
        """Why the server takes or tells nothing, and for how many seconds more it is tried."""
        now, trouble = self._clock.now(), self._executor.client_adapter.last_error
        lost, since = self._breaker.error, self._breaker.opened_at
        if lost is not None and since is not None and not self.stopped and self._has_unsent():
            return lost, max(0.0, since + self._patience - now)
        if self._refusal is not None and not self.stopped and self._has_unsent():
            hasty = None if self._had_connection else self._connect
            return self._refusal, self._adaptive_limit.remaining_budget(now, hasty)
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
        return tuple(self._executor.unrecorded)

    def _has_unsent(self) -> bool:
        return bool(self._queue or self._paying)

    async def start(self, jobs: Iterable[Job]) -> None:
        """Take what is left to do; and from now on what other processes leave."""
        await self._enqueue(jobs)
        if self._ledger.is_shared:
            self._poller = asyncio.get_running_loop().create_task(self._poll_shared_ledger())

    async def next_completed(self) -> Job | None:
        """The next job that ends for this run; None after the last one."""
        while True:
            self._start_jobs()
            if not self._workers and self._completed.empty() and not self._is_blocked():
                if not self._unfinished:
                    return None
                left, accepted = self._unfinished.popleft()
                if self.stopped or self._count["accepted"] == accepted:
                    return self._finish(left)
                self._started.append(
                    left
                )  # others were accepted since: the list may prove more now
                continue
            outcome = await self._completed.get()
            if outcome is not None and (job := self._on_outcome(outcome)) is not None:
                return job

    def stop(self, reason: str) -> None:
        """Begin nothing more."""
        self.stopped = self.stopped or reason
        self._executor.recovery.stopping.set()
        self._completed.put_nowait(None)

    async def shutdown(self) -> None:
        """Stop waiting for anything; what is on the wire is finished and noted first."""
        tasks = [worker.asyncio_task for worker in self._workers.values()]
        tasks += filter(None, [self._wakeup_timer, self._poller])
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._ledger.release_all()

    # --- what there is to do ---

    async def _enqueue(self, jobs: Iterable[Job]) -> None:
        """Sort jobs: what waits for its parent, what the server has, the rest."""
        jobs = list(jobs)
        self.had_work = self.had_work or bool(jobs)
        coming = {job.key for job in jobs} | self._workers.keys()
        wanted = {job.parent for job in jobs if job.parent and job.parent not in coming}
        parents = await self._ledger.by_keys(wanted)
        for job in jobs:
            if job.status is not JobStatus.PLANNED:
                self._started.append(job)
            elif job.parent in coming:
                self._children[job.parent or ""].append(job)
            elif job.parent is None or _is_saved(parents.get(job.parent)):
                self._queue.append(job)

    async def _poll_shared_ledger(self) -> None:
        """Find what other processes have left to do, until there is nothing and nobody."""
        try:
            while not self.stopped:
                await self._clock.sleep(self._pause)
                if not self._has_work() and not await self._find_work():
                    break
        except Exception as error:  # noqa: BLE001 - the ledger cannot be read, say
            self._give_up(error)
        self._poller = None
        self._completed.put_nowait(None)

    def _has_work(self) -> bool:
        return bool(self._queue or self._started)

    async def _find_work(self) -> bool:
        """Take what nobody does; return whether there may be more, now or later."""
        jobs, others_work = await self._ledger.unclaimed(*_LEAVING)
        found = {job.key for job in jobs}
        waiting = chain(*self._children.values(), *self._blocked.values())
        jobs += [job for job in waiting if job.key not in found]  # failed ones, to be tried again
        self._children.clear()
        self._blocked.clear()
        busy = self._is_done | self._workers.keys() | {job.key for job in self._queue}
        had_workers = bool(self._workers)  # one that ends meanwhile leaves steps to look for
        await self._enqueue(job for job in jobs if job.key not in busy)
        self._pause = min(2 * self._pause, _MAX_POLL_DELAY)
        self._completed.put_nowait(None)
        return others_work or self._has_work() or had_workers

    def _is_blocked(self) -> bool:
        """Whether what is to be begun is held up, or may yet turn up."""
        if self.stopped:
            return False
        return self._poller is not None or (self._wakeup_timer is not None and bool(self._queue))

    # --- beginning ---

    def _start_jobs(self) -> None:
        while (job := self._next_job()) is not None:
            task = asyncio.get_running_loop().create_task(self._work(job))
            self._workers[job.key] = RunningJob(job, task)
            if job.status is not JobStatus.FINISHED:
                self._in_flight[job.key] = job.conflict_key
            if job.status is JobStatus.PLANNED:
                self._paying.add(job.key)
            elif job.modal == "open":
                self._answering.add(job.key)

    def _next_job(self) -> Job | None:
        """The next job there is a place for, if any."""
        if self.stopped or len(self._workers) >= _MAX_WORKERS * self._limits.limit:
            return None
        if self._started and len(self._in_flight) < self._limits.limit:
            return self._started.popleft()
        if self._started or not self._queue or len(self._in_flight) >= self._adaptive_limit.allowed:
            return None
        if self._is_limit_reached() or self._is_paused() or self._is_probing():
            return None
        return self._pop_queued()

    def _is_probing(self) -> bool:
        """Whether what was begun must be answered before anything else is sent."""
        is_unanswered = bool(self._paying or self._answering)
        return self._breaker.state is not CircuitState.CLOSED and is_unanswered

    def _pop_queued(self) -> Job | None:
        """The next one that shares nothing with those in flight; the others are held back."""
        busy = set(self._in_flight.values())
        while self._queue:
            job = self._queue.popleft()
            if job.conflict_key not in busy:
                return job
            self._blocked[job.conflict_key].append(job)
        return None

    def _is_limit_reached(self) -> bool:
        submits = self._count["submits"] + len(self._paying)
        reason = self._limits.reached(submits, self._count["failures"], len(self._uncertain))
        if reason and not (reason == "max_submits" and self._paying):
            self.stopped = reason
        return bool(reason)

    def _is_paused(self) -> bool:
        now = self._clock.now()
        rest = max(self._adaptive_limit.paused_until - now, self._breaker.delay(now) or 0.0)
        if rest <= 0:
            return False
        if self._wakeup_timer is None:
            self._wakeup_timer = asyncio.get_running_loop().create_task(self._wake(rest))
        return True

    async def _wake(self, seconds: float) -> None:
        await self._clock.sleep(seconds)
        self._wakeup_timer = None
        self._completed.put_nowait(None)

    # --- ending ---

    async def _work(self, job: Job) -> None:
        try:
            outcome = await self._do(job)
        except Exception as error:  # noqa: BLE001 - the ledger cannot be written, say
            outcome = JobOutcome(job=job, abort=error)
        self._completed.put_nowait(outcome)

    async def _do(self, job: Job) -> JobOutcome:
        if not await self._ledger.claim(job):
            return JobOutcome(job=job, claimed_elsewhere=True)
        self._pause = _MIN_POLL_DELAY
        try:
            return await self._executor.run(job, self._on_submitted, self._on_finished)
        finally:
            await self._ledger.release(job)

    def _on_submitted(self, job: Job) -> None:
        self._workers[job.key].job = job
        self._paying.discard(job.key)
        self._count["submits"] += 1
        if job.status is JobStatus.ACCEPTED:
            self._count["accepted"] += 1
            self._adaptive_limit.on_accepted()
            self._refusal, self._had_connection = None, True
        elif job.status is JobStatus.UNCERTAIN:
            self._uncertain.add(job.key)
            self._check_patience()
        self._completed.put_nowait(None)  # a probe was answered, perhaps

    def _check_patience(self) -> None:
        """Give up once the server has confirmed nothing for as long as it is tried."""
        now, since, lost = self._clock.now(), self._breaker.opened_at, self._breaker.error
        if since is None or lost is None:
            return
        wait = self._breaker.delay(now) or 0.0
        if now + wait - since > self._patience:
            self._give_up(lost)

    def _on_finished(self, job: Job) -> None:
        self._workers[job.key].job = job
        self._drop(job)
        self._had_connection = True
        self._adaptive_limit.on_task_finished(self._clock.now())
        self._completed.put_nowait(None)

    def _drop(self, job: Job) -> None:
        """Make room for the first of those held back by this one."""
        shares = self._in_flight.pop(job.key, None)
        held = self._blocked.get(shares, None) if shares is not None else None
        if shares is not None and held:
            self._queue.appendleft(held.popleft())
            if not held:
                del self._blocked[shares]

    def _on_outcome(self, outcome: JobOutcome) -> Job | None:
        """Take a job off; return it unless it is to be begun again."""
        job = outcome.job
        self._workers.pop(job.key, None)
        if job.status is not JobStatus.UNCERTAIN:
            self._uncertain.discard(job.key)
        self._executor.tasks.pop(job.key, None)
        self._drop(job)
        self._paying.discard(job.key)
        self._answering.discard(job.key)
        if outcome.refusal is not None:
            self._on_refused(outcome.refusal)
        if outcome.abort is not None:
            self._give_up(outcome.abort)
        if outcome.claimed_elsewhere:
            return None
        if outcome.requeue:
            self._queue.appendleft(job)
            return None
        if outcome.later and not self.stopped:
            self._unfinished.append((job, self._count["accepted"]))
            return None
        if outcome.abort is not None and job.status is JobStatus.PLANNED:
            self._is_done.add(job.key)
            return None
        return self._finish(job)

    def _finish(self, job: Job) -> Job:
        self._is_done.add(job.key)
        if job.status in {JobStatus.SAVED, JobStatus.FINISHED}:
            self._queue.extendleft(reversed(self._children.pop(job.key, [])))
        self._count["failures"] += job.status is JobStatus.FAILED
        return job

    def _on_refused(self, refusal: MJError) -> None:
        self._had_connection = self._had_connection or not isinstance(refusal, ConnectionFailed)
        self._refusal = refusal
        hasty = None if self._had_connection else self._connect  # perhaps it was never there
        goes_on = self._adaptive_limit.on_refused(refusal, self._clock.now(), hasty)
        if not goes_on and not self._in_flight:
            self._give_up(refusal)

    def _give_up(self, error: Exception) -> None:
        self.error = self.error or error
        self.stop(type(error).__name__)


def _is_saved(job: Job | None) -> bool:
    return job is not None and job.status is JobStatus.SAVED

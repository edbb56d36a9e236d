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

    def find_stop_reason(self, submits: int, failures: int, uncertain: int) -> str:
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
        self._connect_policy = executor.client_adapter.connect_policy
        self._breaker = executor.breaker
        self._max_elapsed = executor.client_adapter.overloaded.max_elapsed
        self._last_refusal: MJError | None = None
        self._had_connection = False
        self._clock = executor.client_adapter.clock
        self._limits = limits
        self._queue: deque[Job] = deque()
        self._started: deque[Job] = deque()
        self._children: defaultdict[str, list[Job]] = defaultdict(list)
        self._blocked: defaultdict[str, deque[Job]] = defaultdict(deque)
        self._running: dict[str, RunningJob] = {}
        self._in_flight: dict[str, str] = {}
        self._submitting: set[str] = set()
        self._answering: set[str] = set()
        self._uncertain: set[str] = set()
        self._unfinished: deque[tuple[Job, int]] = deque()
        self._completed: asyncio.Queue[JobOutcome | None] = asyncio.Queue()
        self._wakeup_timer: asyncio.Task[None] | None = None
        self._poller: asyncio.Task[None] | None = None
        self._poll_delay = _MIN_POLL_DELAY
        self._is_done: set[str] = set()
        self._counts: Counter[str] = Counter()

    @property
    def active(self) -> tuple[tuple[Job, TaskInfo | None], ...]:
        """The jobs under way in the order they began, each with the last that is known of it."""
        tasks = self._executor.tasks
        return tuple(
            (running_job.job, tasks[key].info if key in tasks else None)
            for key, running_job in self._running.items()
        )

    @property
    def blocked_by(self) -> tuple[MJError, float] | None:
        """Why the server takes or tells nothing, and for how many seconds more it is tried."""
        now, poll_error = self._clock.now(), self._executor.client_adapter.last_error
        error, opened_at = self._breaker.error, self._breaker.opened_at
        if error is not None and opened_at is not None and not self.stopped and self._has_unsent():
            return error, max(0.0, opened_at + self._max_elapsed - now)
        if self._last_refusal is not None and not self.stopped and self._has_unsent():
            policy = None if self._had_connection else self._connect_policy
            return self._last_refusal, self._adaptive_limit.remaining_budget(now, policy)
        if poll_error is not None and self._in_flight:
            return poll_error[0], max(0.0, poll_error[1] - now)
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
        return bool(self._queue or self._submitting)

    async def start(self, jobs: Iterable[Job]) -> None:
        """Take what is left to do; and from now on what other processes leave."""
        await self._enqueue(jobs)
        if self._ledger.is_shared:
            self._poller = asyncio.get_running_loop().create_task(self._poll_shared_ledger())

    async def next_completed(self) -> Job | None:
        """The next job that ends for this run; None after the last one."""
        while True:
            self._start_jobs()
            if not self._running and self._completed.empty() and not self._is_blocked():
                if not self._unfinished:
                    return None
                unresolved_job, accepted_count = self._unfinished.popleft()
                if self.stopped or self._counts["accepted"] == accepted_count:
                    return self._finish(unresolved_job)
                self._started.append(
                    unresolved_job
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
        asyncio_tasks = [running_job.asyncio_task for running_job in self._running.values()]
        asyncio_tasks += filter(None, [self._wakeup_timer, self._poller])
        for asyncio_task in asyncio_tasks:
            asyncio_task.cancel()
        await asyncio.gather(*asyncio_tasks, return_exceptions=True)
        await self._ledger.release_all()

    # --- what there is to do ---

    async def _enqueue(self, jobs: Iterable[Job]) -> None:
        """Sort jobs: what waits for its parent, what the server has, the rest."""
        jobs = list(jobs)
        self.had_work = self.had_work or bool(jobs)
        scheduled_keys = {job.key for job in jobs} | self._running.keys()
        parent_keys = {
            job.parent for job in jobs if job.parent and job.parent not in scheduled_keys
        }
        parents = await self._ledger.by_keys(parent_keys)
        for job in jobs:
            if job.status is not JobStatus.PLANNED:
                self._started.append(job)
            elif job.parent in scheduled_keys:
                self._children[job.parent or ""].append(job)
            elif job.parent is None or _is_saved(parents.get(job.parent)):
                self._queue.append(job)

    async def _poll_shared_ledger(self) -> None:
        """Find what other processes have left to do, until there is nothing and nobody."""
        try:
            while not self.stopped:
                await self._clock.sleep(self._poll_delay)
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
        jobs, has_other_claims = await self._ledger.unclaimed(*_LEAVING)
        unclaimed_keys = {job.key for job in jobs}
        waiting = chain(*self._children.values(), *self._blocked.values())
        jobs += [
            job for job in waiting if job.key not in unclaimed_keys
        ]  # failed ones, to be tried again
        self._children.clear()
        self._blocked.clear()
        handled_keys = self._is_done | self._running.keys() | {job.key for job in self._queue}
        had_running = bool(self._running)  # one that ends meanwhile leaves steps to look for
        await self._enqueue(job for job in jobs if job.key not in handled_keys)
        self._poll_delay = min(2 * self._poll_delay, _MAX_POLL_DELAY)
        self._completed.put_nowait(None)
        return has_other_claims or self._has_work() or had_running

    def _is_blocked(self) -> bool:
        """Whether what is to be begun is held up, or may yet turn up."""
        if self.stopped:
            return False
        return self._poller is not None or (self._wakeup_timer is not None and bool(self._queue))

    # --- beginning ---

    def _start_jobs(self) -> None:
        while (job := self._next_job()) is not None:
            asyncio_task = asyncio.get_running_loop().create_task(self._run_job(job))
            self._running[job.key] = RunningJob(job, asyncio_task)
            if job.status is not JobStatus.FINISHED:
                self._in_flight[job.key] = job.conflict_key
            if job.status is JobStatus.PLANNED:
                self._submitting.add(job.key)
            elif job.modal == "open":
                self._answering.add(job.key)

    def _next_job(self) -> Job | None:
        """The next job there is a place for, if any."""
        if self.stopped or len(self._running) >= _MAX_WORKERS * self._limits.limit:
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
        is_unanswered = bool(self._submitting or self._answering)
        return self._breaker.state is not CircuitState.CLOSED and is_unanswered

    def _pop_queued(self) -> Job | None:
        """The next one that shares nothing with those in flight; the others are held back."""
        active_conflict_keys = set(self._in_flight.values())
        while self._queue:
            job = self._queue.popleft()
            if job.conflict_key not in active_conflict_keys:
                return job
            self._blocked[job.conflict_key].append(job)
        return None

    def _is_limit_reached(self) -> bool:
        submits = self._counts["submits"] + len(self._submitting)
        reason = self._limits.find_stop_reason(
            submits, self._counts["failures"], len(self._uncertain)
        )
        if reason and not (reason == "max_submits" and self._submitting):
            self.stopped = reason
        return bool(reason)

    def _is_paused(self) -> bool:
        now = self._clock.now()
        remaining = max(self._adaptive_limit.paused_until - now, self._breaker.delay(now) or 0.0)
        if remaining <= 0:
            return False
        if self._wakeup_timer is None:
            self._wakeup_timer = asyncio.get_running_loop().create_task(self._wake(remaining))
        return True

    async def _wake(self, seconds: float) -> None:
        await self._clock.sleep(seconds)
        self._wakeup_timer = None
        self._completed.put_nowait(None)

    # --- ending ---

    async def _run_job(self, job: Job) -> None:
        try:
            outcome = await self._claim_and_run(job)
        except Exception as error:  # noqa: BLE001 - the ledger cannot be written, say
            outcome = JobOutcome(job=job, abort=error)
        self._completed.put_nowait(outcome)

    async def _claim_and_run(self, job: Job) -> JobOutcome:
        if not await self._ledger.claim(job):
            return JobOutcome(job=job, claimed_elsewhere=True)
        self._poll_delay = _MIN_POLL_DELAY
        try:
            return await self._executor.run(job, self._on_submitted, self._on_finished)
        finally:
            await self._ledger.release(job)

    def _on_submitted(self, job: Job) -> None:
        self._running[job.key].job = job
        self._submitting.discard(job.key)
        self._counts["submits"] += 1
        if job.status is JobStatus.ACCEPTED:
            self._counts["accepted"] += 1
            self._adaptive_limit.on_accepted()
            self._last_refusal, self._had_connection = None, True
        elif job.status is JobStatus.UNCERTAIN:
            self._uncertain.add(job.key)
            self._check_outage()
        self._completed.put_nowait(None)  # a probe was answered, perhaps

    def _check_outage(self) -> None:
        """Give up once the server has confirmed nothing for as long as it is tried."""
        now, opened_at, error = self._clock.now(), self._breaker.opened_at, self._breaker.error
        if opened_at is None or error is None:
            return
        delay = self._breaker.delay(now) or 0.0
        if now + delay - opened_at > self._max_elapsed:
            self._give_up(error)

    def _on_finished(self, job: Job) -> None:
        self._running[job.key].job = job
        self._drop(job)
        self._had_connection = True
        self._adaptive_limit.on_task_finished(self._clock.now())
        self._completed.put_nowait(None)

    def _drop(self, job: Job) -> None:
        """Make room for the first of those held back by this one."""
        conflict_key = self._in_flight.pop(job.key, None)
        blocked = self._blocked.get(conflict_key, None) if conflict_key is not None else None
        if conflict_key is not None and blocked:
            self._queue.appendleft(blocked.popleft())
            if not blocked:
                del self._blocked[conflict_key]

    def _on_outcome(self, outcome: JobOutcome) -> Job | None:
        """Take a job off; return it unless it is to be begun again."""
        job = outcome.job
        self._running.pop(job.key, None)
        if job.status is not JobStatus.UNCERTAIN:
            self._uncertain.discard(job.key)
        self._executor.tasks.pop(job.key, None)
        self._drop(job)
        self._submitting.discard(job.key)
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
        if outcome.is_recheckable and not self.stopped:
            self._unfinished.append((job, self._counts["accepted"]))
            return None
        if outcome.abort is not None and job.status is JobStatus.PLANNED:
            self._is_done.add(job.key)
            return None
        return self._finish(job)

    def _finish(self, job: Job) -> Job:
        self._is_done.add(job.key)
        if job.status in {JobStatus.SAVED, JobStatus.FINISHED}:
            self._queue.extendleft(reversed(self._children.pop(job.key, [])))
        self._counts["failures"] += job.status is JobStatus.FAILED
        return job

    def _on_refused(self, refusal: MJError) -> None:
        self._had_connection = self._had_connection or not isinstance(refusal, ConnectionFailed)
        self._last_refusal = refusal
        policy = (
            None if self._had_connection else self._connect_policy
        )  # perhaps it was never there
        can_continue = self._adaptive_limit.on_refused(refusal, self._clock.now(), policy)
        if not can_continue and not self._in_flight:
            self._give_up(refusal)

    def _give_up(self, error: Exception) -> None:
        self.error = self.error or error
        self.stop(type(error).__name__)


def _is_saved(job: Job | None) -> bool:
    return job is not None and job.status is JobStatus.SAVED

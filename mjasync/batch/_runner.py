"""One run of a batch: jobs start as places become free, and are returned as they end."""

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
from ._outcome import JobOutcome, NextStep

_MAX_WORKERS: Final = 4
"""Workers for each place: those that only save a picture need no place."""
_MIN_POLL_DELAY: Final = 0.05
_MAX_POLL_DELAY: Final = 2.0
"""Seconds between two queries of a shared ledger: more after each that found nothing."""
_UNFINISHED: Final = (
    JobStatus.PLANNED,
    JobStatus.SUBMITTING,
    JobStatus.ACCEPTED,
    JobStatus.FINISHED,
)
"""Statuses of jobs that another process has left, or not begun."""


@attrs.frozen(kw_only=True)
class RunLimits:
    """The limits of a run."""

    limit: int
    max_submits: int | None
    max_failures: int | None
    max_uncertain: int | None


@attrs.define
class RunningJob:
    job: Job
    asyncio_task: asyncio.Task[None]


class Runner:
    """The jobs of one run."""

    def __init__(self, executor: JobExecutor, limits: RunLimits) -> None:
        self.error: Exception | None = None
        """The error that ended the run, if any."""
        self.stopped = ""
        """Why no more jobs are started; "" while they are."""
        self.had_work = False
        """Whether there was any job to run."""
        self._executor = executor
        self._ledger = executor.ledger
        self._client = executor.client_adapter
        self.clock = executor.client_adapter.clock
        self._breaker = executor.submitter.breaker
        self._adaptive_limit = AdaptiveLimit(
            limits.limit, self._client.overloaded, self.clock.now()
        )
        self._limits = limits
        self._last_refusal: MJError | None = None
        self._had_connection = False
        self._queue: deque[Job] = deque()
        self._started: deque[Job] = deque()
        """Jobs that the server may have already."""
        self._children: defaultdict[str, list[Job]] = defaultdict(list)
        """Jobs that wait for their parent, by its key."""
        self._blocked: defaultdict[str, deque[Job]] = defaultdict(deque)
        """Jobs that wait for a running job with the same conflict key, by that key."""
        self._running: dict[str, RunningJob] = {}
        self._in_flight: dict[str, str] = {}
        """The conflict keys of jobs that are unfinished on the server, by the keys of the jobs."""
        self._submitting: set[str] = set()
        self._answering: set[str] = set()
        self._uncertain: set[str] = set()
        self._to_recheck: deque[tuple[Job, int]] = deque()
        """Uncertain jobs, each with the number of jobs that were accepted at its last lookup."""
        self._completed: asyncio.Queue[JobOutcome | None] = asyncio.Queue()
        """Outcomes; None wakes `next_completed`."""
        self._wakeup_timer: asyncio.Task[None] | None = None
        self._poller: asyncio.Task[None] | None = None
        self._poll_delay = _MIN_POLL_DELAY
        self._done: set[str] = set()
        self._counts: Counter[str] = Counter()

    @property
    def active(self) -> tuple[tuple[Job, TaskInfo | None], ...]:
        """The running jobs in the order they began, each with the last state of its task."""
        tasks = self._executor.submitter.tasks
        return tuple(
            (running_job.job, tasks[key].info if key in tasks else None)
            for key, running_job in self._running.items()
        )

    @property
    def blocked_by(self) -> tuple[MJError, float] | None:
        """The error that blocks the run, and the seconds left until it gives up."""
        now, poll_error = self.clock.now(), self._client.last_error
        error, opened_at = self._breaker.error, self._breaker.opened_at
        has_unsent = not self.stopped and bool(self._queue or self._submitting)
        if error is not None and opened_at is not None and has_unsent:
            return error, max(0.0, opened_at + self._client.overloaded.max_elapsed - now)
        if self._last_refusal is not None and has_unsent:
            policy = None if self._had_connection else self._client.connect_policy
            return self._last_refusal, self._adaptive_limit.remaining_budget(now, policy)
        if poll_error is not None and self._in_flight:
            return poll_error[0], max(0.0, poll_error[1] - now)
        return None

    @property
    def reason(self) -> str:
        """Why only single submissions are tried, with the server's own words; "" if not."""
        return self._breaker.reason

    @property
    def unrecorded(self) -> tuple[str, ...]:
        """Ids of accepted tasks that the ledger could not record."""
        return tuple(self._executor.submitter.unrecorded)

    async def start(self, jobs: Iterable[Job]) -> None:
        """Enqueue jobs, and from now on those that other processes leave."""
        await self._enqueue(jobs)
        if self._ledger.is_shared:
            self._poller = asyncio.get_running_loop().create_task(self._poll_shared_ledger())

    async def next_completed(self) -> Job | None:
        """Return the next job that ends in this run; None after the last one."""
        while True:
            self._start_jobs()
            if not self._running and self._completed.empty() and not self._may_continue():
                if not self._to_recheck:
                    return None
                uncertain_job, accepted_count = self._to_recheck.popleft()
                if self.stopped or self._counts["accepted"] == accepted_count:
                    return self._finish(uncertain_job)
                # jobs were accepted since: the list may prove more now
                self._started.append(uncertain_job)
                continue
            outcome = await self._completed.get()
            if outcome is not None and (job := self._on_outcome(outcome)) is not None:
                return job

    def stop(self, reason: str) -> None:
        """Start no more jobs."""
        self.stopped = self.stopped or reason
        self._executor.recovery.stopping.set()
        self._completed.put_nowait(None)

    async def shutdown(self) -> None:
        """Cancel all waiting; submissions in flight are completed and recorded first."""
        asyncio_tasks = [running_job.asyncio_task for running_job in self._running.values()]
        asyncio_tasks += filter(None, [self._wakeup_timer, self._poller])
        for asyncio_task in asyncio_tasks:
            asyncio_task.cancel()
        await asyncio.gather(*asyncio_tasks, return_exceptions=True)
        await self._ledger.release_all()

    async def _enqueue(self, jobs: Iterable[Job]) -> None:
        """Sort jobs into those that the server may have, the children, and the rest."""
        jobs = list(jobs)
        self.had_work = self.had_work or bool(jobs)
        scheduled_keys = {job.key for job in jobs} | self._running.keys()
        parents = await self._ledger.by_keys(
            {job.parent for job in jobs if job.parent and job.parent not in scheduled_keys}
        )
        for job in jobs:
            parent = parents.get(job.parent or "")
            if job.status is not JobStatus.PLANNED:
                self._started.append(job)
            elif job.parent in scheduled_keys:
                self._children[job.parent or ""].append(job)
            elif job.parent is None or (parent and parent.status is JobStatus.SAVED):
                self._queue.append(job)

    async def _poll_shared_ledger(self) -> None:
        """Look for jobs that other processes leave, until there are neither jobs nor processes."""
        try:
            while not self.stopped:
                await self.clock.sleep(self._poll_delay)
                if not self._has_work() and not await self._find_work():
                    break
        except Exception as error:  # noqa: BLE001 - the ledger cannot be read, for example
            self._give_up(error)
        self._poller = None
        self._completed.put_nowait(None)

    def _has_work(self) -> bool:
        return bool(self._queue or self._started)

    async def _find_work(self) -> bool:
        """Enqueue unclaimed jobs; return whether there may be more, now or later."""
        jobs, has_other_claims = await self._ledger.unclaimed(*_UNFINISHED)
        unclaimed_keys = {job.key for job in jobs}
        waiting = chain(*self._children.values(), *self._blocked.values())
        # the ledger has retried jobs as failed ones
        jobs += [job for job in waiting if job.key not in unclaimed_keys]
        self._children.clear()
        self._blocked.clear()
        handled_keys = self._done | self._running.keys() | {job.key for job in self._queue}
        had_running = bool(self._running)  # a job that ends meanwhile leaves steps
        await self._enqueue(job for job in jobs if job.key not in handled_keys)
        self._poll_delay = min(2 * self._poll_delay, _MAX_POLL_DELAY)
        self._completed.put_nowait(None)
        return has_other_claims or self._has_work() or had_running

    def _may_continue(self) -> bool:
        """Return whether queued jobs wait for a pause, or other processes may leave jobs."""
        if self.stopped:
            return False
        return self._poller is not None or (self._wakeup_timer is not None and bool(self._queue))

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
        """Return the next job that may start now, if any."""
        if self.stopped or len(self._running) >= _MAX_WORKERS * self._limits.limit:
            return None
        if self._started and len(self._in_flight) < self._limits.limit:
            return self._started.popleft()
        if self._started or not self._queue or len(self._in_flight) >= self._adaptive_limit.allowed:
            return None
        if self._is_limit_reached() or self._is_paused():
            return None
        is_unanswered = bool(self._submitting or self._answering)
        if self._breaker.state is not CircuitState.CLOSED and is_unanswered:  # one probe at a time
            return None
        return self._pop_queued()

    def _pop_queued(self) -> Job | None:
        """Return the first queued job without a conflict; block those before it."""
        active_conflict_keys = set(self._in_flight.values())
        while self._queue:
            job = self._queue.popleft()
            if job.conflict_key not in active_conflict_keys:
                return job
            self._blocked[job.conflict_key].append(job)
        return None

    def _is_limit_reached(self) -> bool:
        submits = self._counts["submits"] + len(self._submitting)
        counts = (
            ("max_uncertain", self._limits.max_uncertain, len(self._uncertain)),
            ("max_failures", self._limits.max_failures, self._counts["failures"]),
            ("max_submits", self._limits.max_submits, submits),
        )
        reached = (name for name, limit, count in counts if limit is not None and count >= limit)
        reason = next(reached, "")
        if reason and not (reason == "max_submits" and self._submitting):
            self.stopped = reason
        return bool(reason)

    def _is_paused(self) -> bool:
        now = self.clock.now()
        remaining = max(self._adaptive_limit.paused_until - now, self._breaker.delay(now) or 0.0)
        if remaining <= 0:
            return False
        if self._wakeup_timer is None:
            self._wakeup_timer = asyncio.get_running_loop().create_task(self._wake(remaining))
        return True

    async def _wake(self, seconds: float) -> None:
        await self.clock.sleep(seconds)
        self._wakeup_timer = None
        self._completed.put_nowait(None)

    async def _run_job(self, job: Job) -> None:
        try:
            outcome = await self._claim_and_run(job)
        except Exception as error:  # noqa: BLE001 - the ledger cannot be written, for example
            outcome = JobOutcome(job, abort=error)
        self._completed.put_nowait(outcome)

    async def _claim_and_run(self, job: Job) -> JobOutcome:
        if not await self._ledger.claim(job):
            return JobOutcome(job, next_step=NextStep.CLAIMED_ELSEWHERE)
        self._poll_delay = _MIN_POLL_DELAY
        try:
            return await self._executor.run(job, self)
        finally:
            await self._ledger.release(job)

    def on_submitted(self, job: Job) -> None:
        """Handle a job that the server may have accepted."""
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
        self._completed.put_nowait(None)  # this may have been the probe

    def _check_outage(self) -> None:
        """Give up if the server has accepted nothing for the time of the retry policy."""
        now, opened_at, error = self.clock.now(), self._breaker.opened_at, self._breaker.error
        if opened_at is None or error is None:
            return
        delay = self._breaker.delay(now) or 0.0
        if now + delay - opened_at > self._client.overloaded.max_elapsed:
            self._give_up(error)

    def on_finished(self, job: Job) -> None:
        """Handle a job that has ended on the server."""
        self._running[job.key].job = job
        self._free_place(job)
        self._had_connection = True
        self._adaptive_limit.on_task_finished(self.clock.now())
        self._completed.put_nowait(None)

    def _free_place(self, job: Job) -> None:
        """Free the place of a job, and unblock the first job that conflicts with it."""
        conflict_key = self._in_flight.pop(job.key, None)
        if conflict_key is not None and conflict_key in self._blocked:
            blocked = self._blocked[conflict_key]
            self._queue.appendleft(blocked.popleft())
            if not blocked:
                del self._blocked[conflict_key]

    def _on_outcome(self, outcome: JobOutcome) -> Job | None:
        """Remove a job from the running ones; return it unless it continues later."""
        job = outcome.job
        self._running.pop(job.key, None)
        if job.status is not JobStatus.UNCERTAIN:
            self._uncertain.discard(job.key)
        self._executor.submitter.tasks.pop(job.key, None)
        self._free_place(job)
        self._submitting.discard(job.key)
        self._answering.discard(job.key)
        if outcome.refusal is not None:
            self._on_refused(outcome.refusal)
        if outcome.abort is not None:
            self._give_up(outcome.abort)
        if outcome.next_step is NextStep.CLAIMED_ELSEWHERE:
            return None
        if outcome.next_step is NextStep.REQUEUE:
            self._queue.appendleft(job)
            return None
        if outcome.next_step is NextStep.RECHECK and not self.stopped:
            self._to_recheck.append((job, self._counts["accepted"]))
            return None
        if outcome.abort is not None and job.status is JobStatus.PLANNED:
            self._done.add(job.key)
            return None
        return self._finish(job)

    def _finish(self, job: Job) -> Job:
        self._done.add(job.key)
        if job.status in {JobStatus.SAVED, JobStatus.FINISHED}:
            self._queue.extendleft(reversed(self._children.pop(job.key, [])))
        self._counts["failures"] += job.status is JobStatus.FAILED
        return job

    def _on_refused(self, refusal: MJError) -> None:
        self._had_connection = self._had_connection or not isinstance(refusal, ConnectionFailed)
        self._last_refusal = refusal
        # a server that was never reached may not exist
        policy = None if self._had_connection else self._client.connect_policy
        can_continue = self._adaptive_limit.on_refused(refusal, self.clock.now(), policy)
        if not can_continue and not self._in_flight:
            self._give_up(refusal)

    def _give_up(self, error: Exception) -> None:
        self.error = self.error or error
        self.stop(type(error).__name__)

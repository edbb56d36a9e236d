"""Finding out whether the server accepted a submission whose response was lost."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Final

import attrs

from .._models import TaskInfo, TaskStatus
from ..errors import MJError, SubmitUncertain, UnsupportedEndpoint
from ._client_adapter import BatchClient
from ._jobs import Job, JobStatus
from ._ledger.ledger import Ledger
from ._outcome import JobOutcome, NextStep

_MODAL_PENDING: Final = frozenset({TaskStatus.MODAL, TaskStatus.NOT_START})
"""Statuses of a task whose modal is open, or was answered a moment ago."""
_INTERRUPTED_CALL: Final = (
    "The function was interrupted, and it is unknown what it submitted before. Look at the newest "
    "tasks of the server; resubmit_uncertain=True runs it again."
)
_LIST_PAGE: Final = 100
"""A list of this length may contain only the newest tasks (PROTOCOL §1.15)."""
_MAX_ATTEMPTS: Final = 20
"""Attempts in one run at a job whose submissions are lost, or that is never ready."""
_MAX_LIST_AGE: Final = timedelta(seconds=2)
"""How much older than the server's clock a current list may be: dates are whole seconds."""


class Reconciliation(Enum):
    """What a list means that does not contain a submission."""

    ABSENT = auto()
    """The server does not have it."""
    INCONCLUSIVE = auto()
    """The list may be older than the submission."""
    UNKNOWN = auto()
    """The list is incomplete, without states, or of another server; or there is none."""
    UNREADABLE = auto()


@attrs.define(kw_only=True)
class Recovery:
    """Looks up uncertain jobs; without proof they stay uncertain."""

    client: BatchClient
    ledger: Ledger
    resubmit_uncertain: bool
    reconcile_after: float
    stopping: asyncio.Event = attrs.field(factory=asyncio.Event, init=False)
    """Set when no more jobs are started: then no submission is waited for."""
    _attempts: Counter[str] = attrs.field(factory=Counter, init=False)
    _first_seen: dict[str, float] = attrs.field(factory=dict, init=False)
    _has_task_list: bool = attrs.field(default=True, init=False)
    """Whether the server may have a list: a missing one is requested once in a run."""

    def record_attempt(self, job: Job) -> bool:
        """Count a failed attempt; return whether the job may be tried again in this run."""
        self._attempts[job.key] += 1
        return self._attempts[job.key] < _MAX_ATTEMPTS

    async def record_accepted(self, job: Job, task_id: str, modal: str = "") -> Job:
        """Record that the server accepted a job.

        Raises:
            LedgerError: The ledger cannot be written.
        """
        return await self.ledger.update(
            job,
            event="accepted",
            status=JobStatus.ACCEPTED,
            task_id=task_id,
            modal=modal,
            accepted_at=self.client.clock.wall(),
            # the answer to a modal belongs to its press
            times_accepted=job.times_accepted + (job.accepted_at is None),
            error_class="",
            error="",
        )

    async def reconcile(self, job: Job, *, can_resend: bool) -> JobOutcome:
        """Find out whether a job was accepted.

        `can_resend` is true for a job of an earlier run, to which `resubmit_uncertain` applies.
        """
        can_resend = can_resend and self.resubmit_uncertain
        if job.modal == "answered":
            return await self._reconcile_answer(job, can_resend=can_resend)
        result = await self._find_by_state(job)
        is_missing = result in {Reconciliation.ABSENT, Reconciliation.INCONCLUSIVE}
        if is_missing and self._remaining_delay(job) > 0:
            if not await self._wait_for_arrival(job):
                return await self._leave_to_next_run(job)
            result = await self._find_by_state(job)
        if isinstance(result, str):
            return JobOutcome(await self.record_accepted(job, result))
        is_unclear = result in {Reconciliation.UNKNOWN, Reconciliation.INCONCLUSIVE}
        if result is Reconciliation.ABSENT or (can_resend and is_unclear):
            job = await self.ledger.update(job, status=JobStatus.PLANNED)
            can_retry = self.record_attempt(job)
            return JobOutcome(job, next_step=NextStep.REQUEUE if can_retry else NextStep.NONE)
        is_recheckable = self._has_task_list and is_unclear
        next_step = NextStep.RECHECK if is_recheckable else NextStep.NONE
        return JobOutcome(await self._set_uncertain(job), next_step=next_step)

    async def _reconcile_answer(self, job: Job, *, can_resend: bool) -> JobOutcome:
        """Find out whether a modal was answered: then its task has continued (PROTOCOL §4.3)."""
        status = await self._task_status(job)
        if status in _MODAL_PENDING and self._remaining_delay(job) > 0:
            if not await self._wait_for_arrival(job):
                return await self._leave_to_next_run(job)
            status = await self._task_status(job)
        if status is None or (status in _MODAL_PENDING and not can_resend):
            return JobOutcome(await self._set_uncertain(job))
        if status in _MODAL_PENDING:
            job = await self.ledger.update(job, status=JobStatus.ACCEPTED, modal="open")
        else:
            job = await self.record_accepted(job, job.task_id or "", "answered")
        return JobOutcome(job)

    async def _task_status(self, job: Job) -> TaskStatus | None:
        """Return the status of a job's task; None if it cannot be read."""
        task = self.client.task(job.task_id or "")
        try:
            return (await task.refresh()).status
        except MJError:
            return None

    async def _set_uncertain(self, job: Job) -> Job:
        error_class = SubmitUncertain.__name__
        error = job.error
        if job.is_function:
            error = _INTERRUPTED_CALL
        elif job.error_class != error_class or not error:  # otherwise it has the server's words
            error = str(SubmitUncertain("It was sent, and may or may not have been accepted."))
        return await self.ledger.update(
            job, status=JobStatus.UNCERTAIN, error_class=error_class, error=error
        )

    async def _leave_to_next_run(self, job: Job) -> JobOutcome:
        return JobOutcome(await self.ledger.update(job, status=JobStatus.SUBMITTING))

    def _remaining_delay(self, job: Job) -> float:
        """Return for how many seconds the server may still accept a submission (PROTOCOL §7.4).

        The wall clock is not used. If the submission was sent by another machine, or before this
        one was started, the delay begins when the job is first looked up.
        """
        now = self.client.clock.uptime()
        submitted_at = job.submitting_uptime
        is_other_boot = job.submitting_boot != self.client.clock.boot_id()
        if submitted_at is None or is_other_boot or submitted_at > now:
            submitted_at = self._first_seen.setdefault(job.key, now)
        return submitted_at + self.reconcile_after - now

    async def _wait_for_arrival(self, job: Job) -> bool:
        """Wait for the remaining delay; return False if the run is stopped meanwhile."""
        futures = [
            asyncio.ensure_future(self.client.clock.sleep(self._remaining_delay(job))),
            asyncio.ensure_future(self.stopping.wait()),
        ]
        try:
            await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
            return futures[0].done()
        finally:
            for future in futures:
                future.cancel()
            await asyncio.gather(*futures, return_exceptions=True)

    async def _find_by_state(self, job: Job) -> str | Reconciliation:
        """Return the id of the task with a job's state token, or what its absence means."""
        if job.state_token is None or not self._has_task_list:
            return Reconciliation.UNKNOWN
        # read before the list: a task that is accepted meanwhile proves nothing
        accepted_tasks = await self.ledger.accepted()
        try:
            tasks, date = await self.client.list_tasks()
        except UnsupportedEndpoint:
            self._has_task_list = False
            return Reconciliation.UNKNOWN
        except MJError:
            return Reconciliation.UNREADABLE
        for info in tasks:
            if info.state == job.state_token:
                return info.id
        result = _interpret_absence(job, tasks, accepted_tasks)
        is_inconclusive = result is Reconciliation.INCONCLUSIVE and accepted_tasks
        if is_inconclusive and await self._is_list_current(date, job.state_token):
            return Reconciliation.ABSENT
        return result

    async def _is_list_current(self, date: datetime | None, state_token: str) -> bool:
        """Return whether a list is current by the server's own clock: caches may store lists."""
        if date is None:
            return False
        now = await self.client.server_date(state_token)
        return now is not None and abs(now - date) <= _MAX_LIST_AGE


def _interpret_absence(
    job: Job, tasks: list[TaskInfo], accepted_tasks: Mapping[str, tuple[str, int]]
) -> Reconciliation:
    """Return what it means that a list of tasks does not contain a submission.

    It is absent if the list repeats our states, has no gap, and contains a task that was accepted
    after the submission. If only the last is missing, the list is inconclusive. A restarted server
    that keeps its tasks in memory has lost what it accepted before.
    """
    if not accepted_tasks:
        is_page = len(tasks) >= _LIST_PAGE
        return Reconciliation.UNKNOWN if is_page else Reconciliation.INCONCLUSIVE
    listed_tasks = [
        (info.state, *accepted_tasks[info.id]) for info in tasks if info.id in accepted_tasks
    ]
    submitted_number = job.submitting_sequence
    if submitted_number is None or any(state != token for state, token, _ in listed_tasks):
        return Reconciliation.UNKNOWN
    listed_numbers = {number for *_, number in listed_tasks}
    if len(tasks) >= _LIST_PAGE:
        is_complete = any(number < submitted_number for number in listed_numbers)
    else:
        accepted_numbers = {number for _, number in accepted_tasks.values()}
        earlier_numbers = (number for number in accepted_numbers if number < submitted_number)
        first_number = max(earlier_numbers, default=submitted_number)
        is_complete = {n for n in accepted_numbers if n >= first_number} <= listed_numbers
    if not is_complete:
        return Reconciliation.UNKNOWN
    has_later_task = max(listed_numbers) > submitted_number
    return Reconciliation.ABSENT if has_later_task else Reconciliation.INCONCLUSIVE

"""Finding out whether the server took a submission whose answer nobody read."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Any, Final

import attrs

from .._models import TaskInfo, TaskStatus
from ..errors import MJError, SubmitUncertain, UnsupportedEndpoint
from ._client_adapter import BatchClient
from ._jobs import Job, JobStatus
from ._ledger.sqlite import Ledger
from ._outcome import JobOutcome

__all__ = ["Recovery"]

MODAL_PENDING: Final = frozenset({TaskStatus.MODAL, TaskStatus.NOT_START})
"""How a task stands whose modal is open, or was answered a moment ago."""
INTERRUPTED_CALL: Final = (
    "The function was interrupted, and what it submitted before cannot be told. Look at the "
    "newest tasks of the server; resubmit_uncertain=True runs it again."
)
LIST_PAGE: Final = 100
"""From so many on a list may be the newest ones alone (PROTOCOL §1.15)."""
MAX_REQUEUES: Final = 20
"""Attempts in one run at a job whose submissions keep getting lost, or that is never ready."""
_MAX_LIST_AGE: Final = timedelta(seconds=2)
"""How far a list may lie behind the server's clock: dates are whole seconds."""


class Reconciliation(Enum):
    ABSENT = auto()
    INCONCLUSIVE = auto()
    """It is not in the list, which may be older than the submission or of something else."""
    UNKNOWN = auto()
    UNREADABLE = auto()


_NOT_LISTED: Final = frozenset({Reconciliation.ABSENT, Reconciliation.INCONCLUSIVE})
_UNCLEAR: Final = frozenset({Reconciliation.UNKNOWN, Reconciliation.INCONCLUSIVE})


@attrs.define(kw_only=True)
class Recovery:
    """Looks doubtful jobs up; what it cannot prove stays doubtful."""

    client: BatchClient
    ledger: Ledger
    resubmit_uncertain: bool
    reconcile_after: float
    stopping: asyncio.Event = attrs.field(factory=asyncio.Event, init=False)
    """Set when nothing more is begun: then nobody waits for a submission to settle."""
    _attempts: Counter[str] = attrs.field(factory=Counter, init=False)
    _first_seen: dict[str, float] = attrs.field(factory=dict, init=False)
    _has_task_list: bool = attrs.field(default=True, init=False)
    """Whether the server may have a list: none is asked for twice in a run."""

    def record_attempt(self, job: Job) -> bool:
        """Count a fruitless attempt; return whether there is to be another one in this run."""
        self._attempts[job.key] += 1
        return self._attempts[job.key] < MAX_REQUEUES

    async def reconcile(self, job: Job, *, can_resend: bool) -> JobOutcome:
        """Find out whether a job was taken.

        `may_resend` is for one of an earlier run, which `resubmit_uncertain` is about.
        """
        if job.modal == "answered":
            return await self._reconcile_answer(job, can_resend=can_resend)
        verdict = await self._find_by_state(job)
        if verdict in _NOT_LISTED and self._settle_remaining(job) > 0:
            if not await self._is_settled(job):
                return await self._leave_open(job)
            verdict = await self._find_by_state(job)
        if isinstance(verdict, str):
            return JobOutcome(job=await self.record_accepted(job, verdict))
        is_resend_allowed = can_resend and self.resubmit_uncertain and verdict in _UNCLEAR
        if verdict is Reconciliation.ABSENT or is_resend_allowed:
            job = await self.ledger.update(job, status=JobStatus.PLANNED)
            return JobOutcome(job=job, requeue=self.record_attempt(job))
        return await self._set_uncertain(
            job, is_recheckable=self._has_task_list and verdict in _UNCLEAR
        )

    async def record_accepted(self, job: Job, task_id: str, modal: str = "") -> Job:
        """Note that the server has a job.

        Raises:
            LedgerError: It cannot be noted; `unrecorded` has the id.
        """
        return await self.ledger.update(
            job,
            event="accepted",
            status=JobStatus.ACCEPTED,
            task_id=task_id,
            modal=modal,
            accepted_at=self.client.clock.wall(),
            times_accepted=job.times_accepted
            + (job.accepted_at is None),  # an answer belongs to its press
            error_class="",
            error="",
        )

    # --- answers to modals ---

    async def _reconcile_answer(self, job: Job, *, can_resend: bool) -> JobOutcome:
        """Find out whether a modal was answered: its task has gone on (PROTOCOL §4.3)."""
        status = await self._task_status(job)
        if status in MODAL_PENDING and self._settle_remaining(job) > 0:
            if not await self._is_settled(job):
                return await self._leave_open(job)
            status = await self._task_status(job)
        if status is not None and status not in MODAL_PENDING:
            return JobOutcome(job=await self.record_accepted(job, job.task_id or "", "answered"))
        if status is not None and can_resend and self.resubmit_uncertain:
            return JobOutcome(
                job=await self.ledger.update(job, status=JobStatus.ACCEPTED, modal="open")
            )
        return await self._set_uncertain(job)

    async def _task_status(self, job: Job) -> TaskStatus | None:
        """How the task of a job stands; None where that cannot be read."""
        task = self.client.task(job.task_id or "")
        try:
            return (await task.refresh()).status
        except MJError:
            return None

    # --- what cannot be told ---

    async def _set_uncertain(self, job: Job, *, is_recheckable: bool = False) -> JobOutcome:
        facts: dict[str, Any] = {"error_class": SubmitUncertain.__name__}
        if job.is_function:
            facts["error"] = INTERRUPTED_CALL
        elif job.error_class != SubmitUncertain.__name__ or not job.error:  # else the server's own
            error = SubmitUncertain("It went out, and whether the server took it cannot be told.")
            facts["error"] = str(error)
        job = await self.ledger.update(job, status=JobStatus.UNCERTAIN, **facts)
        return JobOutcome(job=job, is_recheckable=is_recheckable)

    async def _leave_open(self, job: Job) -> JobOutcome:
        """Leave a job to the next run, which looks it up as it is."""
        return JobOutcome(job=await self.ledger.update(job, status=JobStatus.SUBMITTING))

    # --- time ---

    def _settle_remaining(self, job: Job) -> float:
        """Seconds for which the server may still be about to take it (PROTOCOL §7.4).

        The wall clock has no say. Where the submission is of another machine, or of before this
        one was started, they are counted from the moment it is first looked for.
        """
        now = self.client.clock.uptime()
        submitted_at = job.submitting_uptime
        if (
            submitted_at is None
            or job.submitting_boot != self.client.clock.boot_id()
            or submitted_at > now
        ):
            submitted_at = self._first_seen.setdefault(job.key, now)
        return submitted_at + self.reconcile_after - now

    async def _is_settled(self, job: Job) -> bool:
        """Wait until a submission has settled; return False if the run is stopped meanwhile."""
        futures = [
            asyncio.ensure_future(self.client.clock.sleep(self._settle_remaining(job))),
            asyncio.ensure_future(self.stopping.wait()),
        ]
        try:
            await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
            return futures[0].done()
        finally:
            for future in futures:
                future.cancel()
            await asyncio.gather(*futures, return_exceptions=True)

    # --- the list ---

    async def _find_by_state(self, job: Job) -> str | Reconciliation:
        """The id of the task that carries a job's mark, or what its absence means."""
        if job.state_token is None or not self._has_task_list:
            return Reconciliation.UNKNOWN
        accepted_tasks = (
            await self.ledger.accepted()
        )  # before: what is accepted meanwhile proves nothing
        try:
            tasks, date = await self.client.list_tasks()
        except UnsupportedEndpoint:
            self._has_task_list = False
            return Reconciliation.UNKNOWN
        except MJError:
            return Reconciliation.UNREADABLE
        matching_ids = [info.id for info in tasks if info.state == job.state_token]
        if matching_ids:
            return matching_ids[0]
        verdict = _interpret_absence(job, tasks, accepted_tasks)
        if (
            verdict is Reconciliation.INCONCLUSIVE
            and accepted_tasks
            and await self._is_list_current(date, job.state_token)
        ):
            return Reconciliation.ABSENT
        return verdict

    async def _is_list_current(self, date: datetime | None, state_token: str) -> bool:
        """Whether a list was made just now, by the server's own clock: caches keep them."""
        if date is None:
            return False
        now = await self.client.server_date(state_token)
        return now is not None and abs(now - date) <= _MAX_LIST_AGE


def _interpret_absence(
    job: Job, tasks: list[TaskInfo], accepted_tasks: Mapping[str, tuple[str, int]]
) -> Reconciliation:
    """Absent: the list repeats our marks, has no gap, and has a task accepted after the submission.

    Unproven: only that is missing. A server that was restarted and keeps its tasks in memory has
    lost what it was paid for.
    """
    if not accepted_tasks:
        return Reconciliation.INCONCLUSIVE if len(tasks) < LIST_PAGE else Reconciliation.UNKNOWN
    listed_tasks = [
        (info.state, *accepted_tasks[info.id]) for info in tasks if info.id in accepted_tasks
    ]
    if job.submitting_sequence is None or any(state != mark for state, mark, _ in listed_tasks):
        return Reconciliation.UNKNOWN
    submitted_number, listed_numbers = (
        job.submitting_sequence,
        {number for *_, number in listed_tasks},
    )
    if len(tasks) >= LIST_PAGE:
        is_complete = any(number < submitted_number for number in listed_numbers)
    else:
        accepted_numbers = {number for _, number in accepted_tasks.values()}
        first_number = max(
            (number for number in accepted_numbers if number < submitted_number),
            default=submitted_number,
        )
        is_complete = {n for n in accepted_numbers if n >= first_number} <= listed_numbers
    if not is_complete:
        return Reconciliation.UNKNOWN
    return (
        Reconciliation.ABSENT
        if max(listed_numbers) > submitted_number
        else Reconciliation.INCONCLUSIVE
    )

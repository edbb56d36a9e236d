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
from ._client_adapter import Door
from ._jobs import Job, JobState
from ._ledger.sqlite import Ledger
from ._outcome import Outcome

__all__ = ["Recovery"]

_UNMOVED: Final = frozenset({TaskStatus.MODAL, TaskStatus.NOT_START})
"""How a task stands whose modal is open, or was answered a moment ago."""
_CUT_OFF: Final = (
    "The function was interrupted, and what it submitted before cannot be told. Look at the "
    "newest tasks of the server; resubmit_uncertain=True runs it again."
)
_FULL_LIST: Final = 100
"""From so many on a list may be the newest ones alone (PROTOCOL §1.15)."""
_FRUITLESS: Final = 20
"""Attempts in one run at a job whose submissions keep getting lost, or that is never ready."""
_CURRENT: Final = timedelta(seconds=2)
"""How far a list may lie behind the server's clock: dates are whole seconds."""


class _Verdict(Enum):
    ABSENT = auto()
    UNPROVEN = auto()
    """It is not in the list, which may be older than the submission or of something else."""
    UNKNOWN = auto()
    UNREADABLE = auto()


_NOT_LISTED: Final = frozenset({_Verdict.ABSENT, _Verdict.UNPROVEN})
_UNCLEAR: Final = frozenset({_Verdict.UNKNOWN, _Verdict.UNPROVEN})


@attrs.define(kw_only=True)
class Recovery:
    """Looks doubtful jobs up; what it cannot prove stays doubtful."""

    door: Door
    ledger: Ledger
    resubmit_uncertain: bool
    settle: float
    stopping: asyncio.Event = attrs.field(factory=asyncio.Event, init=False)
    """Set when nothing more is begun: then nobody waits for a submission to settle."""
    _tries: Counter[str] = attrs.field(factory=Counter, init=False)
    _first_seen: dict[str, float] = attrs.field(factory=dict, init=False)
    _lists: bool = attrs.field(default=True, init=False)
    """Whether the server may have a list: none is asked for twice in a run."""

    def may_try(self, job: Job) -> bool:
        """Count a fruitless attempt; return whether there is to be another one in this run."""
        self._tries[job.key] += 1
        return self._tries[job.key] < _FRUITLESS

    async def clear_up(self, job: Job, *, may_resend: bool) -> Outcome:
        """Find out whether a job was taken.

        `may_resend` is for one of an earlier run, which `resubmit_uncertain` is about.
        """
        if job.modal == "answered":
            return await self._clear_up_answer(job, may_resend=may_resend)
        verdict = await self._look_up(job)
        if verdict in _NOT_LISTED and self._unsettled(job) > 0:
            if not await self._settled(job):
                return await self._left_open(job)
            verdict = await self._look_up(job)
        if isinstance(verdict, str):
            return Outcome(job=await self.accepted(job, verdict))
        is_asked = may_resend and self.resubmit_uncertain and verdict in _UNCLEAR
        if verdict is _Verdict.ABSENT or is_asked:
            job = await self.ledger.note(job, state=JobState.PLANNED)
            return Outcome(job=job, again=self.may_try(job))
        return await self._doubtful(job, later=self._lists and verdict in _UNCLEAR)

    async def accepted(self, job: Job, task_id: str, modal: str = "") -> Job:
        """Note that the server has a job.

        Raises:
            LedgerError: It cannot be noted; `unrecorded` has the id.
        """
        return await self.ledger.note(
            job,
            event="accepted",
            state=JobState.ACCEPTED,
            task_id=task_id,
            modal=modal,
            accepted_at=self.door.clock.wall(),
            taken=job.taken + (job.accepted_at is None),  # an answer belongs to its press
            error_class="",
            error="",
        )

    # --- answers to modals ---

    async def _clear_up_answer(self, job: Job, *, may_resend: bool) -> Outcome:
        """Find out whether a modal was answered: its task has gone on (PROTOCOL §4.3)."""
        status = await self._status(job)
        if status in _UNMOVED and self._unsettled(job) > 0:
            if not await self._settled(job):
                return await self._left_open(job)
            status = await self._status(job)
        if status is not None and status not in _UNMOVED:
            return Outcome(job=await self.accepted(job, job.task_id or "", "answered"))
        if status is not None and may_resend and self.resubmit_uncertain:
            return Outcome(job=await self.ledger.note(job, state=JobState.ACCEPTED, modal="open"))
        return await self._doubtful(job)

    async def _status(self, job: Job) -> TaskStatus | None:
        """How the task of a job stands; None where that cannot be read."""
        task = self.door.task(job.task_id or "")
        try:
            return (await task.refresh()).status
        except MJError:
            return None

    # --- what cannot be told ---

    async def _doubtful(self, job: Job, *, later: bool = False) -> Outcome:
        facts: dict[str, Any] = {"error_class": SubmitUncertain.__name__}
        if job.is_call:
            facts["error"] = _CUT_OFF
        elif job.error_class != SubmitUncertain.__name__ or not job.error:  # else the server's own
            error = SubmitUncertain("It went out, and whether the server took it cannot be told.")
            facts["error"] = str(error)
        job = await self.ledger.note(job, state=JobState.UNCERTAIN, **facts)
        return Outcome(job=job, later=later)

    async def _left_open(self, job: Job) -> Outcome:
        """Leave a job to the next run, which looks it up as it is."""
        return Outcome(job=await self.ledger.note(job, state=JobState.SUBMITTING))

    # --- time ---

    def _unsettled(self, job: Job) -> float:
        """Seconds for which the server may still be about to take it (PROTOCOL §7.4).

        The wall clock has no say. Where the submission is of another machine, or of before this
        one was started, they are counted from the moment it is first looked for.
        """
        now = self.door.clock.since_boot()
        sent = job.sent_uptime
        if sent is None or job.sent_boot != self.door.clock.boot_id() or sent > now:
            sent = self._first_seen.setdefault(job.key, now)
        return sent + self.settle - now

    async def _settled(self, job: Job) -> bool:
        """Wait until a submission has settled; return False if the run is stopped meanwhile."""
        waiting = [
            asyncio.ensure_future(self.door.clock.sleep(self._unsettled(job))),
            asyncio.ensure_future(self.stopping.wait()),
        ]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            return waiting[0].done()
        finally:
            for future in waiting:
                future.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    # --- the list ---

    async def _look_up(self, job: Job) -> str | _Verdict:
        """The id of the task that carries a job's mark, or what its absence means."""
        if job.mark is None or not self._lists:
            return _Verdict.UNKNOWN
        marked = await self.ledger.marked()  # before: what is accepted meanwhile proves nothing
        try:
            tasks, date = await self.door.tasks()
        except UnsupportedEndpoint:
            self._lists = False
            return _Verdict.UNKNOWN
        except MJError:
            return _Verdict.UNREADABLE
        found = [info.id for info in tasks if info.state == job.mark]
        if found:
            return found[0]
        verdict = _meaning_of_absence(job, tasks, marked)
        if verdict is _Verdict.UNPROVEN and marked and await self._is_current(date, job.mark):
            return _Verdict.ABSENT
        return verdict

    async def _is_current(self, date: datetime | None, mark: str) -> bool:
        """Whether a list was made just now, by the server's own clock: caches keep them."""
        if date is None:
            return False
        now = await self.door.server_date(mark)
        return now is not None and abs(now - date) <= _CURRENT


def _meaning_of_absence(
    job: Job, tasks: list[TaskInfo], marked: Mapping[str, tuple[str, int]]
) -> _Verdict:
    """Absent: the list repeats our marks, has no gap, and has a task accepted after the submission.

    Unproven: only that is missing. A server that was restarted and keeps its tasks in memory has
    lost what it was paid for.
    """
    if not marked:
        return _Verdict.UNPROVEN if len(tasks) < _FULL_LIST else _Verdict.UNKNOWN
    ours = [(info.state, *marked[info.id]) for info in tasks if info.id in marked]
    if job.sent_n is None or any(state != mark for state, mark, _ in ours):
        return _Verdict.UNKNOWN
    sent, listed = job.sent_n, {number for *_, number in ours}
    if len(tasks) >= _FULL_LIST:
        is_whole = any(number < sent for number in listed)
    else:
        accepted = {number for _, number in marked.values()}
        since = max((number for number in accepted if number < sent), default=sent)
        is_whole = {n for n in accepted if n >= since} <= listed
    if not is_whole:
        return _Verdict.UNKNOWN
    return _Verdict.ABSENT if max(listed) > sent else _Verdict.UNPROVEN

"""One job from plan to file: whatever happens, the ledger knows it first."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from enum import Enum, auto
from typing import Final

import attrs

from .._client import Client
from .._models import TaskInfo, TaskStatus
from .._options import SubmitOptions
from .._task import Task
from ..errors import (
    AuthenticationError,
    BannedPrompt,
    ClientClosed,
    ConfigurationError,
    ConnectionFailed,
    MJError,
    ModalNotOpened,
    ModalRequired,
    NoAccount,
    QueueFull,
    QuotaExhausted,
    RateLimited,
    ServerError,
    SubmitUncertain,
    TaskFailed,
    TaskNotFound,
    TaskNotReady,
    TaskTimeout,
    UnsupportedEndpoint,
)
from ._door import Door
from ._jobs import CALL, Job, JobState
from ._ledger import Ledger, whole
from ._output import Output
from ._path import filled, last, remixes
from ._plan import Call

__all__ = ["DOUBTFUL", "NEVER_AGAIN", "Life", "Outcome", "no_function"]

DOUBTFUL: Final = frozenset({JobState.SUBMITTING, JobState.UNCERTAIN})
"""States in which the server may have a job whose id is not known."""
NEVER_AGAIN: Final = frozenset({"BannedPrompt", "ModalNotOpened", "TaskBanned"})
"""Failures that are not tried again, whatever is asked."""
_HOPELESS: Final = (AuthenticationError, QuotaExhausted, ClientClosed)
"""What would happen to every other job, too."""
_FOR_NOW: Final = (QueueFull, RateLimited, NoAccount, ConnectionFailed, TaskNotReady)
"""The server provably took nothing, and may take it later."""
_OVER: Final = (TaskFailed, TaskNotFound, ModalNotOpened, BannedPrompt)
"""The task has ended without a picture, or the server does not know it."""
_UNMOVED: Final = frozenset({TaskStatus.MODAL, TaskStatus.NOT_START})
"""How a task stands whose modal is open, or was answered a moment ago."""
_PARENT_GONE: Final = (
    "The server does not know the task any more that this step follows: trying again helps only "
    "on a server that does. Else the grid must be drawn again, in a new folder."
)
_CUT_OFF: Final = (
    "The function was interrupted, and what it submitted before cannot be told. Look at the "
    "newest tasks of the server; resubmit_uncertain=True runs it again."
)
_FULL_LIST: Final = 100
"""From so many on a list may be the newest ones alone (PROTOCOL §1.15)."""
_FRUITLESS: Final = 20
"""Attempts in one run at a job whose submissions keep getting lost, or that is never ready."""


@attrs.frozen(kw_only=True)
class Outcome:
    """What became of a job for now."""

    job: Job
    again: bool = False
    """It is to be begun again in this run."""
    elsewhere: bool = False
    """Another process has it, or has had it."""
    refusal: MJError | None = None
    """Why the server refused it for now."""
    stop: Exception | None = None
    """Why no other job may be begun."""


class _Verdict(Enum):
    ABSENT = auto()
    UNPROVEN = auto()
    """It is not in a list that nothing of this batch was ever in."""
    UNKNOWN = auto()
    UNREADABLE = auto()


_NOT_LISTED: Final = frozenset({_Verdict.ABSENT, _Verdict.UNPROVEN})
_UNCLEAR: Final = frozenset({_Verdict.UNKNOWN, _Verdict.UNPROVEN})


@attrs.define(kw_only=True)
class Life:
    """Carries jobs through."""

    client: Client
    door: Door
    ledger: Ledger
    output: Output
    calls: Mapping[str, Call]
    resubmit_uncertain: bool
    settle: float
    saving: asyncio.Semaphore
    tasks: dict[str, Task] = attrs.field(factory=dict, init=False)
    """What is waited for, by the key of its job."""
    _tries: Counter[str] = attrs.field(factory=Counter, init=False)
    _lists: bool = attrs.field(default=True, init=False)
    """Whether the server may have a list: none is asked for twice in a run."""

    async def live(
        self, job: Job, sent: Callable[[Job], None], landed: Callable[[Job], None]
    ) -> Outcome:
        """Carry a job on from where it stands.

        `sent` is told once the server may have taken it, `landed` once it has ended there.
        """
        outcome = Outcome(job=job)
        is_new = job.state is JobState.PLANNED
        if is_new:
            outcome = await self._begin(job)
            job = outcome.job
            if job.state in {JobState.PLANNED, JobState.FAILED}:
                return outcome
            sent(job)
        if job.state in DOUBTFUL:
            outcome = await self._clear_up(job, may_resend=not is_new)
            job = outcome.job
        if job.state is JobState.ACCEPTED:
            outcome = await self._follow(job)
            job = outcome.job
        elif job.state is JobState.FINISHED and job.task_id:
            outcome = await self._wait(job, self._task(job))
            job = outcome.job
            if job.error_class:  # where its pictures are is not known
                return outcome
        if job.state is not JobState.FINISHED:
            return outcome
        landed(job)
        return await self._save(job, self._task(job))

    def _task(self, job: Job) -> Task:
        """The task of a job, as it was submitted or by its id."""
        if job.key not in self.tasks:
            self.tasks[job.key] = self.door.task(job.task_id or "", job.modal)
        return self.tasks[job.key]

    # --- paid ---

    async def _begin(self, job: Job) -> Outcome:
        """Have the server take a job: the ledger knows before it is asked, and what it said."""
        self.door.check_open()
        try:
            parent = await self._parent(job) if job.is_step else None
        except MJError as error:
            return await self._unread(job, error)
        if parent is not None and job.is_call:
            return await self._call(job, parent)
        return await whole(self._pay(job, parent))

    async def _parent(self, job: Job) -> Task:
        """The finished Task a step follows."""
        found = await self.ledger.find([job.parent or ""])
        task = self.door.task(found[job.parent or ""].task_id or "")
        await task.refresh()
        return await task.wait()

    async def _pay(self, job: Job, parent: Task | None) -> Outcome:
        mark = f"mjasync-{uuid.uuid4().hex}"
        try:
            task = self._new_task(job, parent, mark).adopt()
            job = await self._submitting(job, mark)
            await task.submit()
        except MJError as error:
            return await self._refused(job, error)
        self.tasks[job.key] = task
        asks = "open" if task.status is TaskStatus.MODAL else ""
        return Outcome(job=await self._accepted(job, task.id, asks))

    def _new_task(self, job: Job, parent: Task | None, mark: str) -> Task:
        """What a job asks for, not sent yet.

        Raises:
            MJError: There is no such button, or it cannot be answered.
        """
        if parent is None:
            options: SubmitOptions = {"state": mark}
            if bot := job.variables.get("bot"):
                options["bot"] = "niji" if bot == "niji" else "midjourney"
            return self.door.imagine(job.prompt, **options)
        label, answer = last(job.step)
        if remixes(parent.buttons[label], answer):
            return parent.action(label, state=mark, enable_remix=True)
        return parent.action(label, state=mark)

    async def _submitting(self, job: Job, mark: str | None) -> Job:
        return await self.ledger.note(
            job,
            state=JobState.SUBMITTING,
            mark=mark,
            noted_at=self.door.clock.wall(),
            accepted_at=None,
            task_id=None,
            modal="",
            attempts=job.attempts + 1,
            earlier=job.paid,
            action="",
            speed="",
        )

    async def _accepted(self, job: Job, task_id: str, modal: str = "") -> Job:
        return await self.ledger.note(
            job,
            state=JobState.ACCEPTED,
            task_id=task_id,
            modal=modal,
            accepted_at=self.door.clock.wall(),
            taken=job.taken + (job.accepted_at is None),  # an answer belongs to its press
            error_class="",
            error="",
        )

    async def _refused(self, job: Job, error: MJError, **back: object) -> Outcome:
        """What an error says about a job that was to be sent; `back` is how it stood before."""
        back = back or {"state": JobState.PLANNED}
        if isinstance(error, SubmitUncertain | TaskTimeout):
            return Outcome(job=await self._note(job, error, state=JobState.UNCERTAIN))
        is_elsewhere = isinstance(error, UnsupportedEndpoint) and not job.is_step
        if isinstance(error, _HOPELESS) or is_elsewhere:  # what draws no prompt draws no other
            return Outcome(job=await self._note(job, error, **back), stop=error)
        if isinstance(error, _FOR_NOW) or _is_busy(error):
            job = await self._note(job, error, **back)
            may_try = not isinstance(error, TaskNotReady) or self._may_try(job)
            return Outcome(job=job, again=may_try, refusal=error)
        return Outcome(job=await self._note(job, error, state=JobState.FAILED))

    async def _unread(self, job: Job, error: MJError) -> Outcome:
        """What it means that the task before a job cannot be read: nothing was sent."""
        if isinstance(error, (*_HOPELESS, UnsupportedEndpoint)):
            return Outcome(job=await self._note(job, error, state=JobState.PLANNED), stop=error)
        if not error.retryable:
            said = {"error": _PARENT_GONE} if isinstance(error, TaskNotFound) else {}
            return Outcome(job=await self._note(job, error, state=JobState.FAILED, **said))
        job = await self._note(job, error, state=JobState.PLANNED)
        return Outcome(job=job, again=self._may_try(job), refusal=error)

    def _may_try(self, job: Job) -> bool:
        self._tries[job.key] += 1
        return self._tries[job.key] < _FRUITLESS

    async def _note(self, job: Job, raised: Exception, **changes: object) -> Job:
        facts = {"error_class": type(raised).__name__, "error": str(raised) or repr(raised)}
        return await self.ledger.note(job, **{**facts, **changes})

    async def _call(self, job: Job, parent: Task) -> Outcome:
        """Run a function: once, for nobody knows what it pays for."""
        call = self.calls.get(job.step)
        if call is None:
            return Outcome(job=await self._note(job, ConfigurationError(no_function(job))))
        job = await self._submitting(job, None)
        try:
            task = _returned(await call(self.client.task(parent.id)))
            if task is not None and not task.id:
                await task.submit()
        except SubmitUncertain as error:
            return Outcome(job=await self._note(job, error, state=JobState.UNCERTAIN))
        except Exception as error:  # noqa: BLE001 - the function is not ours
            return Outcome(job=await self._note(job, error, state=JobState.FAILED))
        if task is None or not task.id:
            job = await self.ledger.note(job, state=JobState.FINISHED, error_class="", error="")
            return Outcome(job=job)
        return Outcome(job=await self._accepted(job, task.id))

    # --- asked first ---

    async def _follow(self, job: Job) -> Outcome:
        """Wait for a task; where the server asks first, answer."""
        outcome = await self._wait(job, self._task(job))
        if outcome.job.state in DOUBTFUL:
            outcome = await self._clear_up(outcome.job, may_resend=False)
            if outcome.job.state is JobState.ACCEPTED:
                outcome = await self._wait(outcome.job, self._task(outcome.job))
        return outcome

    async def _reply(self, job: Job, task: Task, question: ModalRequired) -> Outcome:
        """Answer a modal: as the step says, or with what the server proposes."""
        if job.is_call or not job.is_step:
            return Outcome(job=await self._note(job, question, state=JobState.FAILED))
        _, answer = last(job.step)
        text = filled(answer, {**job.variables, "prompt": job.prompt}) if answer else None
        text = text or task.final_prompt or await self._proposed(job)
        outcome = await whole(self._answer(job, task, text))
        if outcome.job.state is not JobState.ACCEPTED or outcome.again or outcome.stop:
            return outcome
        return await self._wait(outcome.job, self._task(outcome.job))

    async def _proposed(self, job: Job) -> str:
        task = self.door.task(job.task_id or "")
        with suppress(MJError):
            await task.refresh()
        return task.final_prompt or job.prompt

    async def _answer(self, job: Job, task: Task, text: str) -> Outcome:
        """Send an answer: the ledger knows before, for the modal is paid for by it."""
        self.tasks.pop(job.key, None)
        answer = task.modal(text).adopt()
        job = await self.ledger.note(
            job,
            state=JobState.SUBMITTING,
            modal="answered",
            noted_at=self.door.clock.wall(),
            attempts=job.attempts + 1,
        )
        try:
            await answer.submit()
        except MJError as error:
            return await self._refused(job, error, state=JobState.ACCEPTED, modal="open")
        self.tasks[job.key] = answer
        return Outcome(job=await self._accepted(job, answer.id, "answered"))

    async def _clear_up_answer(self, job: Job, *, may_resend: bool) -> Outcome:
        """Find out whether a modal was answered: its task has gone on (PROTOCOL §4.3)."""
        status = await self._status(job)
        if status in _UNMOVED and (rest := self._unsettled(job)) > 0:
            await self.door.clock.sleep(rest)
            status = await self._status(job)
        if status is not None and status not in _UNMOVED:
            return Outcome(job=await self._accepted(job, job.task_id or "", "answered"))
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

    # --- in doubt ---

    async def _clear_up(self, job: Job, *, may_resend: bool) -> Outcome:
        """Find out whether the server took a submission whose answer nobody read."""
        if job.modal == "answered":
            return await self._clear_up_answer(job, may_resend=may_resend)
        verdict = await self._look_up(job)
        if verdict in _NOT_LISTED and (rest := self._unsettled(job)) > 0:
            await self.door.clock.sleep(rest)
            verdict = await self._look_up(job)
        if isinstance(verdict, str):
            return Outcome(job=await self._accepted(job, verdict))
        asked = may_resend and self.resubmit_uncertain and verdict in _UNCLEAR
        is_likely = verdict is _Verdict.UNPROVEN and not self._tries[job.key]
        if verdict is _Verdict.ABSENT or is_likely or asked:
            job = await self.ledger.note(job, state=JobState.PLANNED)
            return Outcome(job=job, again=self._may_try(job))
        return await self._doubtful(job)

    async def _doubtful(self, job: Job) -> Outcome:
        error = SubmitUncertain("It went out, and whether the server took it cannot be told.")
        said = {"error": _CUT_OFF} if job.is_call else {}
        return Outcome(job=await self._note(job, error, state=JobState.UNCERTAIN, **said))

    def _unsettled(self, job: Job) -> float:
        """Seconds for which the server may still be about to take it (PROTOCOL §7.4)."""
        return (job.noted_at or 0.0) + self.settle - self.door.clock.wall()

    async def _look_up(self, job: Job) -> str | _Verdict:
        """The id of the task that carries a job's mark, or what its absence means."""
        if job.mark is None or not self._lists:
            return _Verdict.UNKNOWN
        try:
            tasks = await self.client.tasks()
        except UnsupportedEndpoint:
            self._lists = False
            return _Verdict.UNKNOWN
        except MJError:
            return _Verdict.UNREADABLE
        found = [info.id for info in tasks if info.state == job.mark]
        return found[0] if found else await self._meaning_of_absence(job, tasks)

    async def _meaning_of_absence(self, job: Job, tasks: list[TaskInfo]) -> _Verdict:
        """Absent: the list repeats marks, reaches back to before the submission, and has no gap.

        A server that was restarted and keeps its tasks in memory has lost what it was paid for.
        """
        marked = await self.ledger.marked()
        if not marked:
            return _Verdict.UNPROVEN if len(tasks) < _FULL_LIST else _Verdict.UNKNOWN
        ours = [(info, *marked[info.id]) for info in tasks if info.id in marked]
        if any(info.state != mark for info, mark, _ in ours):
            return _Verdict.UNKNOWN
        sent = job.noted_at or 0.0
        before = max((at for _, at in marked.values() if at <= sent), default=sent)
        if len(tasks) >= _FULL_LIST:
            reaches = any(at <= sent for *_, at in ours)
        else:
            reaches = sum(at >= before for *_, at in ours) == sum(
                at >= before for _, at in marked.values()
            )
        return _Verdict.ABSENT if reaches else _Verdict.UNKNOWN

    # --- free ---

    async def _wait(self, job: Job, task: Task) -> Outcome:
        try:
            await task.wait()
        except ModalRequired as question:
            return await self._reply(job, task, question)
        except _HOPELESS as error:
            return Outcome(job=await self._note(job, error), stop=error)
        except _OVER as error:
            return Outcome(job=await self._not_had(job, error, JobState.FAILED))
        except MJError as error:  # it could not be read, and goes on
            return Outcome(job=await self._note(job, error))
        if not job.modal and not job.is_call and last(job.step)[1] is not None:
            astray = ModalNotOpened("The server went ahead without asking; `task_id` is that job.")
            return Outcome(job=await self._note(job, astray, state=JobState.FAILED))
        job = await self.ledger.note(
            job,
            state=JobState.FINISHED,
            action=task.info.action,
            speed=task.info.mode or "",
            error_class="",
            error="",
        )
        return Outcome(job=job)

    async def _not_had(self, job: Job, error: MJError, state: JobState) -> Job:
        """Note why there is no picture; where it was saved once, it is not to be paid for again."""
        if not job.files:
            return await self._note(job, error, state=state)
        said = f"Its picture was saved, is missing, and cannot be had again. {error}"
        return await self._note(job, error, state=JobState.SAVED, error=said)

    async def _save(self, job: Job, task: Task) -> Outcome:
        async with self.saving:
            try:
                files = await whole(self.output.save(job, task))
            except MJError as error:
                return Outcome(job=await self._not_had(job, error, JobState.FINISHED))
            except OSError as error:
                return Outcome(job=await self._note(job, error), stop=error)
            job = await self.ledger.note(
                job, state=JobState.SAVED, files=files, error_class="", error=""
            )
            try:
                await whole(self.output.append(job))
            except OSError as error:
                return Outcome(job=job, stop=error)
        return Outcome(job=job)


def _is_busy(error: MJError) -> bool:
    return isinstance(error, ServerError) and error.http_status == 503


def no_function(job: Job) -> str:
    """What to say where the function of a step is not there."""
    name = job.step.removeprefix(CALL)
    return (
        f"The function {name!r} is left to run in this batch: pass it in then=, or one of that "
        "name that returns None."
    )


def _returned(given: object) -> Task | None:
    """What a function returned, if it may."""
    if given is None or isinstance(given, Task):
        return given
    message = f"A step returns a Task or None, not {type(given).__name__}."
    raise TypeError(message)

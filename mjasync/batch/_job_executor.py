"""One job from plan to file: whatever happens, the ledger knows it first."""

from __future__ import annotations

import asyncio
import errno
import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Final

import attrs

from .._circuit_breaker import CircuitBreaker
from .._client import Client
from .._concurrency import whole
from .._models import TaskStatus
from .._options import SubmitOptions
from .._task import Task
from .._text import printable
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
    RequestTimeout,
    ServerError,
    SubmitUncertain,
    TaskFailed,
    TaskNotFound,
    TaskNotReady,
    TaskTimeout,
    UnsupportedEndpoint,
)
from ._client_adapter import Door
from ._jobs import CALL, BatchInUse, File, Job, JobState, LedgerError
from ._ledger.sqlite import Ledger
from ._outcome import DOUBTFUL, Outcome, is_of_the_disk
from ._output import Output
from ._planning import Call
from ._recovery import Recovery
from ._steps import filled, last, remixes

__all__ = ["DOUBTFUL", "NEVER_AGAIN", "Life", "Outcome", "no_function"]

_log: Final = logging.getLogger("mjasync")

NEVER_AGAIN: Final = frozenset({"BannedPrompt", "ModalNotOpened", "TaskBanned"})
"""Failures that are not tried again, whatever is asked."""
_HOPELESS: Final = (AuthenticationError, QuotaExhausted, ClientClosed)
"""What would happen to every other job, too."""
_FOR_NOW: Final = (QueueFull, RateLimited, NoAccount, ConnectionFailed, TaskNotReady)
"""The server provably took nothing, and may take it later."""
_OVER: Final = (TaskFailed, TaskNotFound, ModalNotOpened, BannedPrompt)
"""The task has ended without a picture, or the server does not know it."""
_PARENT_GONE: Final = (
    "The server does not know the task any more that this step follows: trying again helps only "
    "on a server that does. Else the grid must be drawn again, in a new folder."
)


@attrs.define(kw_only=True)
class Life:
    """Carries jobs through."""

    client: Client
    door: Door
    ledger: Ledger
    output: Output
    calls: Mapping[str, Call]
    recovery: Recovery
    breaker: CircuitBreaker
    saving: asyncio.Semaphore
    tasks: dict[str, Task] = attrs.field(factory=dict, init=False)
    """What is waited for, by the key of its job."""
    unrecorded: list[str] = attrs.field(factory=list, init=False)
    """Ids of tasks that the server took and the ledger could not note."""

    async def live(
        self, job: Job, sent: Callable[[Job], None], landed: Callable[[Job], None]
    ) -> Outcome:
        """Carry a job on from where it stands.

        `sent` is told once the server may have taken it, `landed` once it has ended there. What
        goes wrong with one job never concerns the others, unless it is the ledger or the disk.

        Raises:
            BatchInUse: Another process works on the batch now.
            LedgerError: The ledger cannot be written.
            OSError: The disk is full, or the like.
        """
        try:
            return await self._carry_on(job, sent, landed)
        except (BatchInUse, LedgerError, *_HOPELESS):
            raise
        except Exception as error:
            if is_of_the_disk(error):
                raise
            return await self._poisoned(job, error)

    async def _poisoned(self, job: Job, error: Exception) -> Outcome:
        """Note what nobody foresaw: the job stays as it stands, and the next run tries it again."""
        _log.warning("job %d met with %s: %s", job.n, type(error).__name__, printable(error))
        job = (await self.ledger.find([job.key])).get(job.key, job)
        is_sent = job.state is JobState.SUBMITTING
        state = JobState.UNCERTAIN if is_sent else job.state
        return Outcome(job=await self._note(job, error, state=state))

    async def _carry_on(
        self, job: Job, sent: Callable[[Job], None], landed: Callable[[Job], None]
    ) -> Outcome:
        outcome = Outcome(job=job)
        is_new = job.state is JobState.PLANNED
        if is_new:
            outcome = await self._begin(job)
            job = outcome.job
            if job.state in {JobState.PLANNED, JobState.FAILED} or outcome.stop is not None:
                return outcome
            sent(job)
        if job.state in DOUBTFUL:
            outcome = await self._clear_up(job, is_new=is_new)
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

    async def _clear_up(self, job: Job, *, is_new: bool) -> Outcome:
        outcome = await self.recovery.clear_up(job, may_resend=not is_new)
        if is_new and outcome.job.state is JobState.ACCEPTED:
            self.breaker.accepted(0)  # the server takes what it is sent, and says so in its list
        return outcome

    def _task(self, job: Job) -> Task:
        """The task of a job, as it was submitted or by its id."""
        if job.key not in self.tasks:
            mark = None if job.is_step else job.mark  # a press may be answered with an older task
            self.tasks[job.key] = self.door.task(job.task_id or "", job.modal, mark)
        return self.tasks[job.key]

    # --- paid ---

    def _may_send(self) -> bool:
        return self.breaker.delay(self.door.clock.now()) == 0

    async def _begin(self, job: Job) -> Outcome:
        """Have the server take a job: the ledger knows before it is asked, and what it said."""
        self.door.check_open()
        parent = None
        if job.is_step:
            found = await self.ledger.find([job.parent or ""])
            try:
                parent = await self._parent(found[job.parent or ""])
            except MJError as error:
                return await self._unread(job, error)
        if not self._may_send():
            return Outcome(job=job, again=True)
        if parent is not None and job.is_call:
            return await self._call(job, parent)
        return await whole(self._pay(job, parent))

    async def _parent(self, job: Job) -> Task:
        """The finished Task a step follows."""
        task = self.door.task(job.task_id or "")
        await task.refresh()
        return await task.wait()

    async def _pay(self, job: Job, parent: Task | None) -> Outcome:
        mark = f"mjasync-{uuid.uuid4().hex}"
        try:
            task = self._new_task(job, parent, mark).adopt()
        except MJError as error:
            return await self._refused(job, error)
        job = await self._submitting(job, mark)
        refusal = await self._send(task.submit)
        if refusal is not None:
            return await self._refused(job, refusal)
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

    async def _submitting(self, job: Job, mark: str | None, **changes: object) -> Job:
        clock = self.door.clock
        afresh: dict[str, object] = {
            "mark": mark,
            "accepted_at": None,
            "accepted_n": None,
            "task_id": None,
            "modal": "",
            "earlier": job.paid,
            "action": "",
            "speed": "",
        }
        return await self.ledger.note(
            job,
            event="sent",
            state=JobState.SUBMITTING,
            noted_at=clock.wall(),
            sent_boot=clock.boot_id(),
            sent_uptime=clock.since_boot(),
            attempts=job.attempts + 1,
            **(changes or afresh),
        )

    async def _send(self, submit: Callable[[], Awaitable[object]]) -> MJError | None:
        """Send a submission; return what was raised, None if the server took it."""
        number = self.breaker.begin()
        try:
            await submit()
        except (SubmitUncertain, TaskTimeout) as error:
            self.breaker.uncertain(number, error, self.door.clock.now())
            return error
        except MJError as error:
            self.breaker.not_taken(number)
            return error
        except Exception as error:  # noqa: BLE001 - whatever it is, it may be out
            lost = SubmitUncertain(f"The submission met with {type(error).__name__}: {error}.")
            self.breaker.uncertain(number, lost, self.door.clock.now())
            return lost
        self.breaker.accepted(number)
        return None

    async def _accepted(self, job: Job, task_id: str, modal: str = "") -> Job:
        try:
            return await self.recovery.accepted(job, task_id, modal)
        except Exception as error:
            if job.task_id != task_id:
                self.unrecorded.append(task_id)
                _log.error("task %s was taken, and could not be noted", printable(task_id))
            if isinstance(error, MJError):
                raise
            message = f"The batch's ledger cannot be written: {printable(error)}."
            raise LedgerError(message) from error

    async def _refused(self, job: Job, error: MJError, **back: object) -> Outcome:
        """What an error says about a job that was to be sent; `back` is how it stood before."""
        back = back or {"state": JobState.PLANNED}
        if isinstance(error, SubmitUncertain | TaskTimeout):
            return Outcome(job=await self._note(job, error, state=JobState.UNCERTAIN))
        is_elsewhere = isinstance(error, UnsupportedEndpoint) and not job.is_step
        if is_elsewhere and await self.ledger.marked():
            lost = SubmitUncertain(
                "The answer was that of a server without such a path, which has taken jobs before.",
                description=error.description,
                http_status=error.http_status,
            )
            return Outcome(job=await self._note(job, lost, state=JobState.UNCERTAIN), stop=error)
        if isinstance(error, _HOPELESS) or is_elsewhere:  # what draws no prompt draws no other
            return Outcome(job=await self._note(job, error, **back), stop=error)
        if isinstance(error, _FOR_NOW) or _is_busy(error):
            job = await self._note(job, error, **back)
            may_try = not isinstance(error, TaskNotReady) or self.recovery.may_try(job)
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
        return Outcome(job=job, again=self.recovery.may_try(job), refusal=error)

    async def _note(self, job: Job, raised: Exception, **changes: object) -> Job:
        facts: dict[str, Any] = {
            "error_class": type(raised).__name__,
            "error": str(raised) or repr(raised),
        }
        return await self.ledger.note(job, **{**facts, **changes})

    async def _call(self, job: Job, parent: Task) -> Outcome:
        """Run a function: once, for nobody knows what it pays for."""
        call = self.calls.get(job.step)
        if call is None:
            return Outcome(job=await self._note(job, ConfigurationError(no_function(job))))
        job = await self._submitting(job, None)
        number = self.breaker.begin()
        try:
            task = _returned(await call(self.client.task(parent.id)))
            if task is not None and not task.id:
                await task.submit()
        except SubmitUncertain as error:
            self.breaker.uncertain(number, error, self.door.clock.now())
            return Outcome(job=await self._note(job, error, state=JobState.UNCERTAIN))
        except Exception as error:  # noqa: BLE001 - the function is not ours
            self.breaker.not_taken(number)
            return Outcome(job=await self._note(job, error, state=JobState.FAILED))
        except BaseException:
            self.breaker.not_taken(number)
            raise
        if task is None or not task.id:
            self.breaker.not_taken(number)
            job = await self.ledger.note(job, state=JobState.FINISHED, error_class="", error="")
            return Outcome(job=job)
        self.breaker.accepted(number)
        return Outcome(job=await self._accepted(job, task.id))

    # --- asked first ---

    async def _follow(self, job: Job) -> Outcome:
        """Wait for a task; where the server asks first, answer."""
        outcome = await self._wait(job, self._task(job))
        if outcome.job.state in DOUBTFUL:
            outcome = await self.recovery.clear_up(outcome.job, may_resend=False)
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
        if not self._may_send():  # the press is free, and waits open
            job = await self.ledger.note(job, modal="open")
            return Outcome(job=job, again=True)
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
        job = await self._submitting(job, job.mark, modal="answered")
        refusal = await self._send(answer.submit)
        if refusal is not None:
            return await self._refused(job, refusal, state=JobState.ACCEPTED, modal="open")
        self.tasks[job.key] = answer
        return Outcome(job=await self._accepted(job, answer.id, "answered"))

    # --- free ---

    async def _wait(self, job: Job, task: Task) -> Outcome:
        try:
            await task.wait()
        except ModalRequired as question:
            asked = question
        except _HOPELESS as error:
            return Outcome(job=await self._note(job, error), stop=error)
        except _OVER as error:
            return Outcome(job=await self._not_had(job, error, JobState.FAILED))
        except MJError as error:  # it could not be read, and goes on
            return Outcome(job=await self._note(job, error))
        else:
            return await self._finished(job, task)
        return await self._reply(job, task, asked)

    async def _finished(self, job: Job, task: Task) -> Outcome:
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

    async def _not_had(self, job: Job, error: Exception, state: JobState) -> Job:
        """Note why there is no picture; where it was saved once, it is not to be paid for again."""
        if not job.files:
            return await self._note(job, error, state=state)
        said = f"Its picture was saved, is missing, and cannot be had again. {error}"
        return await self._note(job, error, state=JobState.SAVED, error=said)

    async def _save(self, job: Job, task: Task) -> Outcome:
        async with self.saving:
            if self.ledger.is_full:  # what room there is, is for what the server answers
                full = LedgerError("The disk is full: no picture was saved.", errno=errno.ENOSPC)
                return Outcome(job=job, stop=full)
            try:
                files = await whole(self._files(job, task))
            except MJError as error:
                return Outcome(job=await self._not_had(job, error, JobState.FINISHED))
            except Exception as error:
                if not is_of_the_disk(error):
                    raise
                return Outcome(job=await self._note(job, error), stop=error)
            job = await self.ledger.note(
                job, state=JobState.SAVED, files=files, error_class="", error=""
            )
            try:
                await whole(self.output.append(job))
            except OSError as error:
                return Outcome(job=job, stop=error)
        return Outcome(job=job)

    async def _files(self, job: Job, task: Task) -> tuple[File, ...]:
        """Save the pictures of a job, within the time that a wait may take.

        Raises:
            RequestTimeout: They did not arrive by then.
        """
        seconds = self.client._runtime.timeout  # noqa: SLF001 - what it was made with
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                return await self.output.save(job, task)
        except TimeoutError:
            if not limit.expired():
                raise
            message = f"The picture is drawn, but it did not arrive within {seconds:g} s."
            raise RequestTimeout(message, task=task) from None


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

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
from .._concurrency import finish_despite_cancellation
from .._models import TaskStatus
from .._options import SubmitOptions
from .._task import Task, suppress_unawaited_warning
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
from ._client_adapter import BatchClient
from ._jobs import FUNCTION_STEP, BatchInUse, File, Job, JobStatus, LedgerError
from ._ledger.sqlite import Ledger
from ._outcome import UNCERTAIN_STATUSES, JobOutcome, is_disk_error
from ._output import OutputFolder
from ._planning import StepFunction
from ._recovery import Recovery
from ._steps import fill_answer, last_step, needs_remix

__all__ = [
    "NOT_RETRYABLE",
    "UNCERTAIN_STATUSES",
    "JobExecutor",
    "JobOutcome",
    "missing_function_error",
]

_log: Final = logging.getLogger("mjasync")

NOT_RETRYABLE: Final = frozenset({"BannedPrompt", "ModalNotOpened", "TaskBanned"})
"""Failures that are not tried again, whatever is asked."""
FATAL: Final = (AuthenticationError, QuotaExhausted, ClientClosed)
"""What would happen to every other job, too."""
TRANSIENT: Final = (QueueFull, RateLimited, NoAccount, ConnectionFailed, TaskNotReady)
"""The server provably took nothing, and may take it later."""
ENDED: Final = (TaskFailed, TaskNotFound, ModalNotOpened, BannedPrompt)
"""The task has ended without a picture, or the server does not know it."""
_PARENT_LOST: Final = (
    "The server does not know the task any more that this step follows: trying again helps only "
    "on a server that does. Else the grid must be drawn again, in a new folder."
)


@attrs.define(kw_only=True)
class JobExecutor:
    """Carries jobs through."""

    client: Client
    client_adapter: BatchClient
    ledger: Ledger
    output: OutputFolder
    functions: Mapping[str, StepFunction]
    recovery: Recovery
    breaker: CircuitBreaker
    is_saving: asyncio.Semaphore
    tasks: dict[str, Task] = attrs.field(factory=dict, init=False)
    """What is waited for, by the key of its job."""
    unrecorded: list[str] = attrs.field(factory=list, init=False)
    """Ids of tasks that the server took and the ledger could not note."""

    async def run(
        self, job: Job, on_submitted: Callable[[Job], None], on_finished: Callable[[Job], None]
    ) -> JobOutcome:
        """Carry a job on from where it stands.

        `on_submitted` is called once the server may have accepted it, `on_finished` once it has
        ended there. An error of one job never stops the others, unless it is the ledger's or the
        disk's.

        Raises:
            BatchInUse: Another process works on the batch now.
            LedgerError: The ledger cannot be written.
            OSError: The disk is full, or the like.
        """
        try:
            return await self._resume(job, on_submitted, on_finished)
        except (BatchInUse, LedgerError, *FATAL):
            raise
        except Exception as error:
            if is_disk_error(error):
                raise
            return await self._on_invalid_row(job, error)

    async def _on_invalid_row(self, job: Job, error: Exception) -> JobOutcome:
        """Note what nobody foresaw: the job stays as it stands, and the next run tries it again."""
        _log.warning("job %d met with %s: %s", job.number, type(error).__name__, printable(error))
        job = (await self.ledger.by_keys([job.key])).get(job.key, job)
        is_sent = job.status is JobStatus.SUBMITTING
        state = JobStatus.UNCERTAIN if is_sent else job.status
        return JobOutcome(job=await self._record_error(job, error, status=state))

    async def _resume(
        self, job: Job, on_submitted: Callable[[Job], None], on_finished: Callable[[Job], None]
    ) -> JobOutcome:
        outcome = JobOutcome(job=job)
        is_new = job.status is JobStatus.PLANNED
        if is_new:
            outcome = await self._submit(job)
            job = outcome.job
            if job.status in {JobStatus.PLANNED, JobStatus.FAILED} or outcome.abort is not None:
                return outcome
            on_submitted(job)
        if job.status in UNCERTAIN_STATUSES:
            outcome = await self._reconcile(job, is_new=is_new)
            job = outcome.job
        if job.status is JobStatus.ACCEPTED:
            outcome = await self._wait_and_save(job)
            job = outcome.job
        elif job.status is JobStatus.FINISHED and job.task_id:
            outcome = await self._wait(job, self._attach_task(job))
            job = outcome.job
            if job.error_class:  # where its pictures are is not known
                return outcome
        if job.status is not JobStatus.FINISHED:
            return outcome
        on_finished(job)
        return await self._save(job, self._attach_task(job))

    async def _reconcile(self, job: Job, *, is_new: bool) -> JobOutcome:
        outcome = await self.recovery.reconcile(job, can_resend=not is_new)
        if is_new and outcome.job.status is JobStatus.ACCEPTED:
            self.breaker.record_accepted(
                0
            )  # the server takes what it is sent, and says so in its list
        return outcome

    def _attach_task(self, job: Job) -> Task:
        """The task of a job, as it was submitted or by its id."""
        if job.key not in self.tasks:
            state_token = (
                None if job.is_step else job.state_token
            )  # a press may be answered with an older task
            self.tasks[job.key] = self.client_adapter.task(
                job.task_id or "", job.modal, state_token
            )
        return self.tasks[job.key]

    # --- paid ---

    def _can_submit(self) -> bool:
        return self.breaker.delay(self.client_adapter.clock.now()) == 0

    async def _submit(self, job: Job) -> JobOutcome:
        """Have the server take a job: the ledger knows before it is asked, and what it said."""
        self.client_adapter.check_open()
        parent = None
        if job.is_step:
            parents = await self.ledger.by_keys([job.parent or ""])
            try:
                parent = await self._fetch_parent(parents[job.parent or ""])
            except MJError as error:
                return await self._on_parent_unreadable(job, error)
        if not self._can_submit():
            return JobOutcome(job=job, requeue=True)
        if parent is not None and job.is_function:
            return await self._call_function(job, parent)
        return await finish_despite_cancellation(self._submit_paid(job, parent))

    async def _fetch_parent(self, job: Job) -> Task:
        """The finished Task a step follows."""
        task = self.client_adapter.task(job.task_id or "")
        await task.refresh()
        return await task.wait()

    async def _submit_paid(self, job: Job, parent: Task | None) -> JobOutcome:
        state_token = f"mjasync-{uuid.uuid4().hex}"
        try:
            task = suppress_unawaited_warning(self._new_task(job, parent, state_token))
        except MJError as error:
            return await self._on_refusal(job, error)
        job = await self._set_submitting(job, state_token)
        refusal = await self._send(task.submit)
        if refusal is not None:
            return await self._on_refusal(job, refusal)
        self.tasks[job.key] = task
        modal = "open" if task.status is TaskStatus.MODAL else ""
        return JobOutcome(job=await self._on_accepted(job, task.id, modal))

    def _new_task(self, job: Job, parent: Task | None, state_token: str) -> Task:
        """What a job asks for, not sent yet.

        Raises:
            MJError: There is no such button, or it cannot be answered.
        """
        if parent is None:
            options: SubmitOptions = {"state": state_token}
            if bot := job.variables.get("bot"):
                options["bot"] = "niji" if bot == "niji" else "midjourney"
            return self.client_adapter.imagine(job.prompt, **options)
        label, answer = last_step(job.step)
        if needs_remix(parent.buttons[label], answer):
            return parent.action(label, state=state_token, enable_remix=True)
        return parent.action(label, state=state_token)

    async def _set_submitting(self, job: Job, state_token: str | None, **changes: object) -> Job:
        clock = self.client_adapter.clock
        reset: dict[str, object] = {
            "state_token": state_token,
            "accepted_at": None,
            "accepted_sequence": None,
            "task_id": None,
            "modal": "",
            "previous_charges": job.charges,
            "action": "",
            "speed": "",
        }
        return await self.ledger.update(
            job,
            event="submitting",
            status=JobStatus.SUBMITTING,
            submitting_at=clock.wall(),
            submitting_boot=clock.boot_id(),
            submitting_uptime=clock.uptime(),
            attempts=job.attempts + 1,
            **(changes or reset),
        )

    async def _send(self, submit: Callable[[], Awaitable[object]]) -> MJError | None:
        """Send a submission; return what was raised, None if the server took it."""
        submission_number = self.breaker.start_submission()
        try:
            await submit()
        except (SubmitUncertain, TaskTimeout) as error:
            self.breaker.record_uncertain(submission_number, error, self.client_adapter.clock.now())
            return error
        except MJError as error:
            self.breaker.record_not_taken(submission_number)
            return error
        except Exception as error:  # noqa: BLE001 - whatever it is, it may be out
            uncertain = SubmitUncertain(f"The submission met with {type(error).__name__}: {error}.")
            self.breaker.record_uncertain(
                submission_number, uncertain, self.client_adapter.clock.now()
            )
            return uncertain
        self.breaker.record_accepted(submission_number)
        return None

    async def _on_accepted(self, job: Job, task_id: str, modal: str = "") -> Job:
        try:
            return await self.recovery.record_accepted(job, task_id, modal)
        except Exception as error:
            if job.task_id != task_id:
                self.unrecorded.append(task_id)
                _log.error("task %s was taken, and could not be noted", printable(task_id))
            if isinstance(error, MJError):
                raise
            message = f"The batch's ledger cannot be written: {printable(error)}."
            raise LedgerError(message) from error

    async def _on_refusal(self, job: Job, error: MJError, **previous: object) -> JobOutcome:
        """What an error says about a job that was to be sent; `back` is how it stood before."""
        previous = previous or {"status": JobStatus.PLANNED}
        if isinstance(error, SubmitUncertain | TaskTimeout):
            return JobOutcome(job=await self._record_error(job, error, status=JobStatus.UNCERTAIN))
        is_unknown_path = isinstance(error, UnsupportedEndpoint) and not job.is_step
        if is_unknown_path and await self.ledger.accepted():
            uncertain = SubmitUncertain(
                "The answer was that of a server without such a path, which has taken jobs before.",
                description=error.description,
                http_status=error.http_status,
            )
            return JobOutcome(
                job=await self._record_error(job, uncertain, status=JobStatus.UNCERTAIN),
                abort=error,
            )
        if isinstance(error, FATAL) or is_unknown_path:  # what draws no prompt draws no other
            return JobOutcome(job=await self._record_error(job, error, **previous), abort=error)
        if isinstance(error, TRANSIENT) or _is_overload(error):
            job = await self._record_error(job, error, **previous)
            can_retry = not isinstance(error, TaskNotReady) or self.recovery.record_attempt(job)
            return JobOutcome(job=job, requeue=can_retry, refusal=error)
        return JobOutcome(job=await self._record_error(job, error, status=JobStatus.FAILED))

    async def _on_parent_unreadable(self, job: Job, error: MJError) -> JobOutcome:
        """What it means that the task before a job cannot be read: nothing was sent."""
        if isinstance(error, (*FATAL, UnsupportedEndpoint)):
            return JobOutcome(
                job=await self._record_error(job, error, status=JobStatus.PLANNED), abort=error
            )
        if not error.retryable:
            changes = {"error": _PARENT_LOST} if isinstance(error, TaskNotFound) else {}
            return JobOutcome(
                job=await self._record_error(job, error, status=JobStatus.FAILED, **changes)
            )
        job = await self._record_error(job, error, status=JobStatus.PLANNED)
        return JobOutcome(job=job, requeue=self.recovery.record_attempt(job), refusal=error)

    async def _record_error(self, job: Job, exception: Exception, **changes: object) -> Job:
        facts: dict[str, Any] = {
            "error_class": type(exception).__name__,
            "error": str(exception) or repr(exception),
        }
        return await self.ledger.update(job, **{**facts, **changes})

    async def _call_function(self, job: Job, parent: Task) -> JobOutcome:
        """Run a function: once, for nobody knows what it pays for."""
        function = self.functions.get(job.step)
        if function is None:
            return JobOutcome(
                job=await self._record_error(job, ConfigurationError(missing_function_error(job)))
            )
        job = await self._set_submitting(job, None)
        submission_number = self.breaker.start_submission()
        try:
            task = _check_returned(await function(self.client.task(parent.id)))
            if task is not None and not task.id:
                await task.submit()
        except SubmitUncertain as error:
            self.breaker.record_uncertain(submission_number, error, self.client_adapter.clock.now())
            return JobOutcome(job=await self._record_error(job, error, status=JobStatus.UNCERTAIN))
        except Exception as error:  # noqa: BLE001 - the function is not ours
            self.breaker.record_not_taken(submission_number)
            return JobOutcome(job=await self._record_error(job, error, status=JobStatus.FAILED))
        except BaseException:
            self.breaker.record_not_taken(submission_number)
            raise
        if task is None or not task.id:
            self.breaker.record_not_taken(submission_number)
            job = await self.ledger.update(job, status=JobStatus.FINISHED, error_class="", error="")
            return JobOutcome(job=job)
        self.breaker.record_accepted(submission_number)
        return JobOutcome(job=await self._on_accepted(job, task.id))

    # --- asked first ---

    async def _wait_and_save(self, job: Job) -> JobOutcome:
        """Wait for a task; where the server asks first, answer."""
        outcome = await self._wait(job, self._attach_task(job))
        if outcome.job.status in UNCERTAIN_STATUSES:
            outcome = await self.recovery.reconcile(outcome.job, can_resend=False)
            if outcome.job.status is JobStatus.ACCEPTED:
                outcome = await self._wait(outcome.job, self._attach_task(outcome.job))
        return outcome

    async def _answer_modal(
        self, job: Job, task: Task, modal_required: ModalRequired
    ) -> JobOutcome:
        """Answer a modal: as the step says, or with what the server proposes."""
        if job.is_function or not job.is_step:
            return JobOutcome(
                job=await self._record_error(job, modal_required, status=JobStatus.FAILED)
            )
        _, answer = last_step(job.step)
        text = fill_answer(answer, {**job.variables, "prompt": job.prompt}) if answer else None
        text = text or task.final_prompt or await self._modal_default(job)
        if not self._can_submit():  # the press is free, and waits open
            job = await self.ledger.update(job, modal="open")
            return JobOutcome(job=job, requeue=True)
        outcome = await finish_despite_cancellation(self._send_answer(job, task, text))
        if outcome.job.status is not JobStatus.ACCEPTED or outcome.requeue or outcome.abort:
            return outcome
        return await self._wait(outcome.job, self._attach_task(outcome.job))

    async def _modal_default(self, job: Job) -> str:
        task = self.client_adapter.task(job.task_id or "")
        with suppress(MJError):
            await task.refresh()
        return task.final_prompt or job.prompt

    async def _send_answer(self, job: Job, task: Task, text: str) -> JobOutcome:
        """Send an answer: the ledger knows before, for the modal is paid for by it."""
        self.tasks.pop(job.key, None)
        answer = suppress_unawaited_warning(task.modal(text))
        job = await self._set_submitting(job, job.state_token, modal="answered")
        refusal = await self._send(answer.submit)
        if refusal is not None:
            return await self._on_refusal(job, refusal, status=JobStatus.ACCEPTED, modal="open")
        self.tasks[job.key] = answer
        return JobOutcome(job=await self._on_accepted(job, answer.id, "answered"))

    # --- free ---

    async def _wait(self, job: Job, task: Task) -> JobOutcome:
        try:
            await task.wait()
        except ModalRequired as question:
            modal_required = question
        except FATAL as error:
            return JobOutcome(job=await self._record_error(job, error), abort=error)
        except ENDED as error:
            return JobOutcome(job=await self._on_result_lost(job, error, JobStatus.FAILED))
        except MJError as error:  # it could not be read, and goes on
            return JobOutcome(job=await self._record_error(job, error))
        else:
            return await self._on_finished(job, task)
        return await self._answer_modal(job, task, modal_required)

    async def _on_finished(self, job: Job, task: Task) -> JobOutcome:
        if not job.modal and not job.is_function and last_step(job.step)[1] is not None:
            error = ModalNotOpened("The server went ahead without asking; `task_id` is that job.")
            return JobOutcome(job=await self._record_error(job, error, status=JobStatus.FAILED))
        job = await self.ledger.update(
            job,
            status=JobStatus.FINISHED,
            action=task.info.action,
            speed=task.info.mode or "",
            error_class="",
            error="",
        )
        return JobOutcome(job=job)

    async def _on_result_lost(self, job: Job, error: Exception, state: JobStatus) -> Job:
        """Note why there is no picture; where it was saved once, it is not to be paid for again."""
        if not job.files:
            return await self._record_error(job, error, status=state)
        message = f"Its picture was saved, is missing, and cannot be had again. {error}"
        return await self._record_error(job, error, status=JobStatus.SAVED, error=message)

    async def _save(self, job: Job, task: Task) -> JobOutcome:
        async with self.is_saving:
            if self.ledger.is_full:  # what room there is, is for what the server answers
                disk_full = LedgerError(
                    "The disk is full: no picture was saved.", errno=errno.ENOSPC
                )
                return JobOutcome(job=job, abort=disk_full)
            try:
                files = await finish_despite_cancellation(self._download(job, task))
            except MJError as error:
                return JobOutcome(job=await self._on_result_lost(job, error, JobStatus.FINISHED))
            except Exception as error:
                if not is_disk_error(error):
                    raise
                return JobOutcome(job=await self._record_error(job, error), abort=error)
            job = await self.ledger.update(
                job, status=JobStatus.SAVED, files=files, error_class="", error=""
            )
            try:
                await finish_despite_cancellation(self.output.append_manifest(job))
            except OSError as error:
                return JobOutcome(job=job, abort=error)
        return JobOutcome(job=job)

    async def _download(self, job: Job, task: Task) -> tuple[File, ...]:
        """Save the pictures of a job, within the time that a wait may take.

        Raises:
            RequestTimeout: They did not arrive by then.
        """
        seconds = self.client_adapter.timeout
        deadline = asyncio.timeout(seconds)
        try:
            async with deadline:
                return await self.output.save(job, task)
        except TimeoutError:
            if not deadline.expired():
                raise
            message = f"The picture is drawn, but it did not arrive within {seconds:g} s."
            raise RequestTimeout(message, task=task) from None


def _is_overload(error: MJError) -> bool:
    return isinstance(error, ServerError) and error.http_status == 503


def missing_function_error(job: Job) -> str:
    """What to say where the function of a step is not there."""
    name = job.step.removeprefix(FUNCTION_STEP)
    return (
        f"The function {name!r} is left to run in this batch: pass it in steps=, or one of that "
        "name that returns None."
    )


def _check_returned(value: object) -> Task | None:
    """What a function returned, if it may."""
    if value is None or isinstance(value, Task):
        return value
    message = f"A step returns a Task or None, not {type(value).__name__}."
    raise TypeError(message)

"""Submission of one job: the ledger records every attempt before it is sent."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import attrs

from .._circuit_breaker import CircuitBreaker
from .._client import Client
from .._concurrency import uninterrupted
from .._models import TaskStatus
from .._options import SubmitOptions
from .._task import Task, suppress_unawaited_warning
from .._text import printable
from ..errors import (
    AuthenticationError,
    ClientClosed,
    ConfigurationError,
    ConnectionFailed,
    MJError,
    NoAccount,
    QueueFull,
    QuotaExhausted,
    RateLimited,
    ServerError,
    SubmitUncertain,
    TaskNotFound,
    TaskNotReady,
    TaskTimeout,
    UnsupportedEndpoint,
)
from ._client_adapter import BatchClient
from ._jobs import FUNCTION_STEP, Job, JobStatus, LedgerError
from ._ledger.ledger import Ledger
from ._outcome import JobOutcome, NextStep
from ._planning import StepFunction
from ._recovery import Recovery
from ._steps import last_step, needs_remix

_log: Final = logging.getLogger("mjasync")
FATAL: Final = (AuthenticationError, QuotaExhausted, ClientClosed)
"""Errors that every other job would fail with, too."""
_TRANSIENT: Final = (QueueFull, RateLimited, NoAccount, ConnectionFailed, TaskNotReady)
"""Errors after which the server provably has nothing, and may accept the job later."""
_INITIAL_PROBE_FACTOR: Final = 5
_MAX_PROBE_FACTOR: Final = 15
"""Delays of probes, compared with `retries.overloaded` of the client: by default 5 s to 5 min."""
_MIN_PROBE_DELAY: Final = 0.001
_PARENT_LOST: Final = (
    "The server does not have the task any more that this step follows. Retrying helps only if "
    "the server finds it again; otherwise draw the grid again, in a new folder."
)


@attrs.define(kw_only=True)
class JobSubmitter:
    """Submits jobs and answers modals: everything that is paid for."""

    client: Client
    client_adapter: BatchClient
    ledger: Ledger
    functions: Mapping[str, StepFunction]
    recovery: Recovery
    breaker: CircuitBreaker = attrs.field(
        default=attrs.Factory(lambda self: self._make_breaker(), takes_self=True), init=False
    )
    """Slower than retries of refusals, since a probe may be paid in vain."""
    tasks: dict[str, Task] = attrs.field(factory=dict, init=False)
    """The Tasks of running jobs, by the keys of the jobs."""
    unrecorded: list[str] = attrs.field(factory=list, init=False)
    """Ids of tasks that the server accepted and the ledger could not record."""

    def _make_breaker(self) -> CircuitBreaker:
        policy = self.client_adapter.overloaded
        first_delay = max(_INITIAL_PROBE_FACTOR * policy.initial_delay, _MIN_PROBE_DELAY)
        longest_delay = max(first_delay, _MAX_PROBE_FACTOR * policy.max_delay)
        return CircuitBreaker(first_delay=first_delay, longest_delay=longest_delay)

    def can_submit(self) -> bool:
        """Return whether the circuit breaker allows a submission now."""
        return self.breaker.delay(self.client_adapter.clock.now()) == 0

    def task_of(self, job: Job) -> Task:
        """Return the Task of a job: the submitted one, or one that is attached by its id."""
        if job.key not in self.tasks:
            # the server may respond to a press with an older task, which has another state
            state_token = None if job.is_step else job.state_token
            self.tasks[job.key] = self.client_adapter.task(
                job.task_id or "", job.modal, state_token
            )
        return self.tasks[job.key]

    async def submit(self, job: Job) -> JobOutcome:
        """Submit a planned job, or run its function."""
        self.client_adapter.check_open()
        parent = None
        if job.is_step:
            parent_key = job.parent or ""
            parent_job = (await self.ledger.by_keys([parent_key]))[parent_key]
            try:
                parent = self.client_adapter.task(parent_job.task_id or "")
                await parent.refresh()
                await parent.wait()
            except MJError as error:
                return await self._on_parent_unreadable(job, error)
        if not self.can_submit():
            return JobOutcome(job, next_step=NextStep.REQUEUE)
        if parent is not None and job.is_function:
            return await self._call_function(job, parent)
        return await self._submit_paid(job, parent)

    @uninterrupted
    async def _submit_paid(self, job: Job, parent: Task | None) -> JobOutcome:
        state_token = f"mjasync-{uuid.uuid4().hex}"
        try:
            task = suppress_unawaited_warning(self._new_task(job, parent, state_token))
        except MJError as error:
            return await self._on_refusal(job, error)
        job = await self._record_attempt(job, **_new_submission(job, state_token))
        refusal = await self._send(task.submit)
        if refusal is not None:
            return await self._on_refusal(job, refusal)
        self.tasks[job.key] = task
        modal = "open" if task.status is TaskStatus.MODAL else ""
        return JobOutcome(await self._record_accepted(job, task.id, modal))

    def _new_task(self, job: Job, parent: Task | None, state_token: str) -> Task:
        """Create the Task of a job without sending it.

        Raises:
            MJError: The parent has no such button, or the button cannot be answered.
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

    @uninterrupted
    async def send_answer(self, job: Job, task: Task, text: str) -> JobOutcome:
        """Answer the modal of a pressed button; the answer is what is paid for."""
        self.tasks.pop(job.key, None)
        answer = suppress_unawaited_warning(task.modal(text))
        job = await self._record_attempt(job, modal="answered")
        error = await self._send(answer.submit)
        if error is not None:
            return await self._on_refusal(job, error, status=JobStatus.ACCEPTED, modal="open")
        self.tasks[job.key] = answer
        return JobOutcome(await self._record_accepted(job, answer.id, "answered"))

    async def _call_function(self, job: Job, parent: Task) -> JobOutcome:
        """Run a function once: what it pays for is unknown."""
        function = self.functions.get(job.step)
        if function is None:
            missing = ConfigurationError(missing_function_error(job))
            return JobOutcome(await self.ledger.record_error(job, missing))
        job = await self._record_attempt(job, **_new_submission(job, None))
        submission_number = self.breaker.start_submission()
        try:
            task: object = await function(self.client.task(parent.id))
            if not isinstance(task, Task | None):
                message = f"A step returns a Task or None, not {type(task).__name__}."
                raise TypeError(message)  # noqa: TRY301 - recorded like an error of the function
            if task is not None and not task.id:
                await task.submit()
        except SubmitUncertain as error:
            self.breaker.record_uncertain(submission_number, error, self.client_adapter.clock.now())
            return await self._end(job, error, JobStatus.UNCERTAIN)
        except Exception as error:  # noqa: BLE001 - any error of the user's function
            self.breaker.record_not_taken(submission_number)
            return await self._end(job, error, JobStatus.FAILED)
        except BaseException:
            self.breaker.record_not_taken(submission_number)
            raise
        if task is None or not task.id:
            self.breaker.record_not_taken(submission_number)
            job = await self.ledger.update(job, status=JobStatus.FINISHED, error_class="", error="")
            return JobOutcome(job)
        self.breaker.record_accepted(submission_number)
        return JobOutcome(await self._record_accepted(job, task.id))

    async def _record_attempt(self, job: Job, **changes: object) -> Job:
        """Record an attempt before it is sent."""
        clock = self.client_adapter.clock
        return await self.ledger.update(
            job,
            event="submitting",
            status=JobStatus.SUBMITTING,
            submitting_at=clock.wall(),
            submitting_boot=clock.boot_id(),
            submitting_uptime=clock.uptime(),
            attempts=job.attempts + 1,
            **changes,
        )

    async def _send(self, submit: Callable[[], Awaitable[object]]) -> MJError | None:
        """Send a submission; return its error, or None if the server accepted it."""
        submission_number = self.breaker.start_submission()
        try:
            await submit()
        except (SubmitUncertain, TaskTimeout) as error:
            uncertain: MJError = error
        except MJError as error:
            self.breaker.record_not_taken(submission_number)
            return error
        except Exception as error:  # noqa: BLE001 - whatever it is, the request may be out
            uncertain = SubmitUncertain(
                f"The submission failed with {type(error).__name__}: {error}."
            )
        else:
            self.breaker.record_accepted(submission_number)
            return None
        self.breaker.record_uncertain(submission_number, uncertain, self.client_adapter.clock.now())
        return uncertain

    async def _record_accepted(self, job: Job, task_id: str, modal: str = "") -> Job:
        """Record that the server accepted a job.

        Raises:
            LedgerError: The ledger cannot be written; `unrecorded` has the id.
        """
        try:
            return await self.recovery.record_accepted(job, task_id, modal)
        except Exception as error:
            if job.task_id != task_id:
                self.unrecorded.append(task_id)
                _log.error("task %s was accepted, but could not be recorded", printable(task_id))
            if isinstance(error, MJError):
                raise
            message = f"The batch's ledger cannot be written: {printable(error)}."
            raise LedgerError(message) from error

    async def _end(
        self, job: Job, error: Exception, status: JobStatus, abort: Exception | None = None
    ) -> JobOutcome:
        return JobOutcome(await self.ledger.record_error(job, error, status=status), abort=abort)

    async def _on_refusal(
        self, job: Job, error: MJError, status: JobStatus = JobStatus.PLANNED, modal: str = ""
    ) -> JobOutcome:
        """Handle the error of a submission; `status` and `modal` are those of before it."""
        if isinstance(error, SubmitUncertain | TaskTimeout):
            return await self._end(job, error, JobStatus.UNCERTAIN)
        is_unknown_path = isinstance(error, UnsupportedEndpoint) and not job.is_step
        if is_unknown_path and await self.ledger.accepted():
            uncertain = SubmitUncertain(
                "The response was that of a server without such a path, but this one has accepted "
                "jobs before.",
                description=error.description,
                http_status=error.http_status,
            )
            return await self._end(job, uncertain, JobStatus.UNCERTAIN, abort=error)
        previous = {"status": status, "modal": modal or job.modal}
        if isinstance(error, FATAL) or is_unknown_path:  # it concerns every prompt
            job = await self.ledger.record_error(job, error, **previous)
            return JobOutcome(job, abort=error)
        is_overload = isinstance(error, ServerError) and error.http_status == 503
        if isinstance(error, _TRANSIENT) or is_overload:
            job = await self.ledger.record_error(job, error, **previous)
            can_retry = not isinstance(error, TaskNotReady) or self.recovery.record_attempt(job)
            next_step = NextStep.REQUEUE if can_retry else NextStep.NONE
            return JobOutcome(job, next_step=next_step, refusal=error)
        return await self._end(job, error, JobStatus.FAILED)

    async def _on_parent_unreadable(self, job: Job, error: MJError) -> JobOutcome:
        """Handle an error of the parent task: nothing was sent."""
        if isinstance(error, (*FATAL, UnsupportedEndpoint)):
            return await self._end(job, error, JobStatus.PLANNED, abort=error)
        if not error.retryable:
            changes = {"error": _PARENT_LOST} if isinstance(error, TaskNotFound) else {}
            job = await self.ledger.record_error(job, error, status=JobStatus.FAILED, **changes)
            return JobOutcome(job)
        job = await self.ledger.record_error(job, error, status=JobStatus.PLANNED)
        can_retry = self.recovery.record_attempt(job)
        next_step = NextStep.REQUEUE if can_retry else NextStep.NONE
        return JobOutcome(job, next_step=next_step, refusal=error)


def _new_submission(job: Job, state_token: str | None) -> dict[str, object]:
    """Return the changes that separate a submission from the earlier ones of the job."""
    return {
        "state_token": state_token,
        "accepted_at": None,
        "accepted_sequence": None,
        "task_id": None,
        "modal": "",
        "previous_charges": job.charges,
        "action": "",
        "speed": "",
    }


def missing_function_error(job: Job) -> str:
    """Return the message for a job whose function is missing."""
    name = job.step.removeprefix(FUNCTION_STEP)
    return (
        f"The function {name!r} is left to run in this batch: pass it in steps=, or a function of "
        "that name that returns None."
    )

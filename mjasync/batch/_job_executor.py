"""One job from plan to file: the ledger records every step before it is taken."""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from .._client import Client
from .._concurrency import finish_despite_cancellation
from .._task import Task
from .._text import printable
from ..errors import (
    BannedPrompt,
    MJError,
    ModalNotOpened,
    ModalRequired,
    RequestTimeout,
    TaskFailed,
    TaskNotFound,
)
from ._client_adapter import BatchClient
from ._job_submitter import FATAL, JobSubmitter
from ._jobs import BatchInUse, File, Job, JobStatus, LedgerError
from ._ledger.ledger import Ledger
from ._outcome import UNCERTAIN_STATUSES, JobListener, JobOutcome, NextStep, is_disk_error
from ._output import OutputFolder
from ._planning import StepFunction
from ._recovery import Recovery
from ._steps import fill_answer, last_step

_log: Final = logging.getLogger("mjasync")
_ENDED: Final = (TaskFailed, TaskNotFound, ModalNotOpened, BannedPrompt)
"""Errors of a task that has ended without a picture, or that the server does not have."""


class JobExecutor:
    """Runs jobs: submits them, waits for their tasks, and saves the pictures."""

    def __init__(
        self,
        client: Client,
        ledger: Ledger,
        output: OutputFolder,
        *,
        functions: Mapping[str, StepFunction],
        limit: int,
        resubmit_uncertain: bool,
        reconcile_after: float,
    ) -> None:
        self.ledger = ledger
        self.output = output
        self.client_adapter = BatchClient(client)
        self.recovery = Recovery(
            client=self.client_adapter,
            ledger=ledger,
            resubmit_uncertain=resubmit_uncertain,
            reconcile_after=reconcile_after,
        )
        self.submitter = JobSubmitter(
            client=client,
            client_adapter=self.client_adapter,
            ledger=ledger,
            functions=functions,
            recovery=self.recovery,
        )
        self._save_slots = asyncio.Semaphore(limit)

    async def run(self, job: Job, listener: JobListener) -> JobOutcome:
        """Continue a job from its status.

        An error of one job never stops the others, unless the ledger or the disk fails.

        Raises:
            BatchInUse: Another process works on the batch now.
            LedgerError: The ledger cannot be written.
            OSError: The disk is full, or cannot be written.
        """
        try:
            return await self._resume(job, listener)
        except (BatchInUse, LedgerError, *FATAL):
            raise
        except Exception as error:
            if is_disk_error(error):
                raise
            return await self._on_unexpected_error(job, error)

    async def _on_unexpected_error(self, job: Job, error: Exception) -> JobOutcome:
        """Record an unexpected error; the next run continues the job from its status."""
        _log.warning(
            "job %d failed with %s: %s", job.number, type(error).__name__, printable(error)
        )
        job = (await self.ledger.by_keys([job.key])).get(job.key, job)
        is_sent = job.status is JobStatus.SUBMITTING
        status = JobStatus.UNCERTAIN if is_sent else job.status
        return JobOutcome(await self.ledger.record_error(job, error, status=status))

    async def _resume(self, job: Job, listener: JobListener) -> JobOutcome:
        outcome = JobOutcome(job)
        is_new = job.status is JobStatus.PLANNED
        if is_new:
            outcome = await self.submitter.submit(job)
            job = outcome.job
            if job.status in {JobStatus.PLANNED, JobStatus.FAILED} or outcome.abort is not None:
                return outcome
            listener.on_submitted(job)
        if job.status in UNCERTAIN_STATUSES:
            outcome = await self.recovery.reconcile(job, can_resend=not is_new)
            job = outcome.job
            if is_new and job.status is JobStatus.ACCEPTED:
                self.submitter.breaker.record_accepted(0)  # the server's list confirms submissions
        if job.status is JobStatus.ACCEPTED:
            outcome = await self._wait_and_reconcile(job)
            job = outcome.job
        elif job.status is JobStatus.FINISHED and job.task_id:
            outcome = await self._wait(job)
            job = outcome.job
            if job.error_class:  # the links of its pictures are not known
                return outcome
        if job.status is not JobStatus.FINISHED:
            return outcome
        listener.on_finished(job)
        return await self._save(job, self.submitter.task_of(job))

    async def _wait_and_reconcile(self, job: Job) -> JobOutcome:
        """Wait for a task; find out whether the answer to its modal was accepted."""
        outcome = await self._wait(job)
        if outcome.job.status in UNCERTAIN_STATUSES:
            outcome = await self.recovery.reconcile(outcome.job, can_resend=False)
            if outcome.job.status is JobStatus.ACCEPTED:
                outcome = await self._wait(outcome.job)
        return outcome

    async def _wait(self, job: Job) -> JobOutcome:
        """Wait for the task of a job, and answer its modal if it opens one."""
        task = self.submitter.task_of(job)
        try:
            await task.wait()
        except ModalRequired as error:
            modal_required = error
        except FATAL as error:
            return JobOutcome(await self.ledger.record_error(job, error), abort=error)
        except _ENDED as error:
            return JobOutcome(await self._on_result_lost(job, error, JobStatus.FAILED))
        except MJError as error:  # the task could not be read, and continues
            return JobOutcome(await self.ledger.record_error(job, error))
        else:
            return await self._on_finished(job, task)
        return await self._answer_modal(job, task, modal_required)

    async def _answer_modal(self, job: Job, task: Task, error: ModalRequired) -> JobOutcome:
        """Answer a modal with the text of the step, or with the server's default."""
        if job.is_function or not job.is_step:
            return JobOutcome(await self.ledger.record_error(job, error, status=JobStatus.FAILED))
        _, answer = last_step(job.step)
        text = fill_answer(answer, {**job.variables, "prompt": job.prompt}) if answer else None
        text = text or task.final_prompt
        if not text:
            current_task = self.client_adapter.task(job.task_id or "")
            with suppress(MJError):
                await current_task.refresh()
            text = current_task.final_prompt or job.prompt
        if not self.submitter.can_submit():  # the press was free, and its modal stays open
            job = await self.ledger.update(job, modal="open")
            return JobOutcome(job, next_step=NextStep.REQUEUE)
        outcome = await self.submitter.send_answer(job, task, text)
        is_refused = outcome.next_step is NextStep.REQUEUE or outcome.abort is not None
        if outcome.job.status is not JobStatus.ACCEPTED or is_refused:
            return outcome
        return await self._wait(outcome.job)

    async def _on_finished(self, job: Job, task: Task) -> JobOutcome:
        if not job.modal and not job.is_function and last_step(job.step)[1] is not None:
            error = ModalNotOpened("The server started the job without a modal: see `task_id`.")
            return JobOutcome(await self.ledger.record_error(job, error, status=JobStatus.FAILED))
        job = await self.ledger.update(
            job,
            status=JobStatus.FINISHED,
            action=task.info.action,
            speed=task.info.mode or "",
            error_class="",
            error="",
        )
        return JobOutcome(job)

    async def _on_result_lost(self, job: Job, error: Exception, status: JobStatus) -> Job:
        """Record why there is no picture; one that was saved before is not paid for again."""
        if not job.files:
            return await self.ledger.record_error(job, error, status=status)
        message = f"Its picture was saved, is missing, and cannot be downloaded again. {error}"
        return await self.ledger.record_error(job, error, status=JobStatus.SAVED, error=message)

    async def _save(self, job: Job, task: Task) -> JobOutcome:
        async with self._save_slots:
            if self.ledger.is_full:  # the remaining space is for the server's responses
                disk_full = LedgerError(
                    "The disk is full: no picture was saved.", errno=errno.ENOSPC
                )
                return JobOutcome(job, abort=disk_full)
            try:
                files = await finish_despite_cancellation(self._download(job, task))
            except MJError as error:
                return JobOutcome(await self._on_result_lost(job, error, JobStatus.FINISHED))
            except Exception as error:
                if not is_disk_error(error):
                    raise
                return JobOutcome(await self.ledger.record_error(job, error), abort=error)
            job = await self.ledger.update(
                job, status=JobStatus.SAVED, files=files, error_class="", error=""
            )
            try:
                await finish_despite_cancellation(self.output.append_manifest(job))
            except OSError as error:
                return JobOutcome(job, abort=error)
        return JobOutcome(job)

    async def _download(self, job: Job, task: Task) -> tuple[File, ...]:
        """Save the pictures of a job within the client's timeout.

        Raises:
            RequestTimeout: The pictures did not arrive in time.
        """
        seconds = self.client_adapter.timeout
        deadline = asyncio.timeout(seconds)
        try:
            async with deadline:
                return await self.output.save(job, task)
        except TimeoutError:
            if not deadline.expired():
                raise
            message = f"The picture is ready, but it did not arrive within {seconds:g} s."
            raise RequestTimeout(message, task=task) from None

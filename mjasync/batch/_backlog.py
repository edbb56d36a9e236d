"""The jobs that are left to run: those of the ledger, and those that it does not have yet."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Final

import attrs

from ..errors import ConfigurationError
from ._filenames import Filenames
from ._job_submitter import missing_function_error
from ._jobs import Job, JobStatus
from ._ledger.ledger import Ledger
from ._outcome import UNCERTAIN_STATUSES
from ._planning import StepFunction
from ._prompt_sources import PromptSources

_NOT_RETRYABLE: Final = frozenset({"BannedPrompt", "ModalNotOpened", "TaskBanned"})
"""Errors after which a job is never retried."""
_SUBMITTED_STATUSES: Final = (
    JobStatus.SUBMITTING,
    JobStatus.UNCERTAIN,
    JobStatus.ACCEPTED,
    JobStatus.FINISHED,
)
_UNFINISHED_STATUSES: Final = (JobStatus.PLANNED, *_SUBMITTED_STATUSES)


@attrs.define(kw_only=True)
class Backlog:
    """Plans jobs, and selects those that a run starts."""

    ledger: Ledger
    sources: PromptSources
    filenames: Filenames
    functions: Mapping[str, StepFunction]
    retry_failed: bool | frozenset[str]
    resubmit_uncertain: bool

    async def plan(self) -> int:
        """Add the new jobs of the sources to the ledger; return how many."""
        new_jobs = [job async for job in self._new_jobs()]
        count = await self.ledger.add(new_jobs) if new_jobs else 0
        self.sources.clear()
        return count

    async def unfinished(self) -> list[Job]:
        """Return the jobs of the ledger that a run starts, with failed ones that are retried."""
        jobs = await self.ledger.jobs(*_UNFINISHED_STATUSES)
        failed = await self.ledger.jobs(JobStatus.FAILED) if self.retry_failed else []
        jobs += [
            attrs.evolve(job, status=JobStatus.PLANNED) for job in failed if self._is_retried(job)
        ]
        return sorted(jobs, key=lambda job: (job.number, job.step))

    def _is_retried(self, job: Job) -> bool:
        if isinstance(self.retry_failed, bool):
            return self.retry_failed and job.error_class not in _NOT_RETRYABLE
        return job.error_class in self.retry_failed - _NOT_RETRYABLE

    def check_functions(self, jobs: Iterable[Job]) -> None:
        """Check before anything is sent that no function is missing.

        Raises:
            ConfigurationError: A function that is left to run is not in `steps`.
        """
        for job in jobs:
            if job.is_function and self._is_submitted(job) and job.step not in self.functions:
                raise ConfigurationError(missing_function_error(job))

    def _is_submitted(self, job: Job) -> bool:
        """Return whether a run submits an unfinished job."""
        can_resubmit = self.resubmit_uncertain and job.status in UNCERTAIN_STATUSES
        return job.status is JobStatus.PLANNED or can_resubmit

    async def forecast(self) -> Counter[str]:
        """Count the submissions of a run in which nothing fails, by step."""
        failed = await self.ledger.jobs(JobStatus.FAILED)
        skipped_keys = {job.key for job in failed if not self._is_retried(job)}
        steps: dict[str, str] = {}
        async for job in self._unpaid_jobs():
            if job.parent in skipped_keys:
                skipped_keys.add(job.key)
            else:
                steps[job.key] = job.step
        return Counter(steps.values())

    async def _unpaid_jobs(self) -> AsyncIterator[Job]:
        """Yield the jobs that are not paid for, each after its parent."""
        for job in await self.unfinished():
            if self._is_submitted(job) or job.modal == "open":
                yield job
        await self.sources.buffer()
        async for job in self._new_jobs():
            yield job

    async def _new_jobs(self) -> AsyncIterator[Job]:
        """Yield the jobs of the sources that the ledger does not have."""
        async for chunk in self.sources.jobs():
            existing_keys = await self.ledger.existing_keys({job.key for job in chunk})
            for job in chunk:
                if job.key not in existing_keys:
                    self.filenames.check(job)
                    yield job

    async def not_requested(self) -> list[Job]:
        """Return the planned jobs that no source asks for."""
        await self.sources.buffer()
        if self.sources:
            async for _ in self.sources.jobs():
                pass
        requested_keys = self.sources.requested_keys
        if not requested_keys or self.ledger.is_shared:
            return []
        planned = await self.ledger.jobs(JobStatus.PLANNED)
        return [job for job in planned if job.key not in requested_keys]

    async def plan_again(self, jobs: Iterable[Job]) -> None:
        """Plan submitted jobs again.

        Raises:
            ConfigurationError: A job was not submitted, or has ended. Nothing is changed then.
        """
        submitted = list(jobs)
        for job in submitted:
            if job.status not in _SUBMITTED_STATUSES:
                message = (
                    f"Job {job.number} is {job.status}: only jobs that were submitted and have not "
                    "ended can be planned again."
                )
                raise ConfigurationError(message)
        for job in submitted:
            await self.ledger.update(job, status=JobStatus.PLANNED)

    async def drop(self, jobs: Iterable[Job]) -> int:
        """Remove planned jobs that were never accepted, and their steps; return how many."""
        keys = {job.key for job in jobs}
        for job in await self.ledger.jobs(JobStatus.PLANNED):  # each after its parent
            if job.parent in keys:
                keys.add(job.key)
        return await self.ledger.remove(keys)

"""The batch: takes prompts, plans jobs, has them done."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
from collections import Counter
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Iterable,
    Mapping,
    Sequence,
)
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Self, TypeAlias

import attrs

from .._circuit_breaker import CircuitBreaker
from .._client import Client
from .._clock import Clock
from .._concurrency import finish_despite_cancellation
from .._http.retry import RetryPolicy
from .._models import TaskInfo
from .._text import printable
from ..errors import ConfigurationError, MJError
from ._adaptive_limit import AdaptiveLimit
from ._client_adapter import BatchClient
from ._filenames import DEFAULT_NAME, Filenames
from ._gallery.page import GalleryPage
from ._job_executor import NOT_RETRYABLE, UNCERTAIN_STATUSES, JobExecutor, missing_function_error
from ._jobs import FUNCTION_STEP, Job, JobStatus, LedgerError, Totals
from ._ledger.open import open_ledger
from ._output import Images, OutputFolder
from ._planning import StepInput, expand_steps, plan_jobs
from ._readers import read_rows
from ._recovery import Recovery
from ._rows import InputRow, check_source, parse_row, template_fields
from ._runner import RunLimits, Runner

__all__ = ["Batch", "PromptInput"]

_log: Final = logging.getLogger("mjasync")

PromptInput: TypeAlias = str | Mapping[str, object]
"""A prompt, or a row: a mapping with a `prompt`, or with what goes into a template."""
PromptSource: TypeAlias = PromptInput | Iterable[PromptInput] | AsyncIterable[PromptInput]

_PLANNING_CHUNK: Final = 500
_GALLERY_INTERVAL: Final = 3.0
"""Seconds between two galleries of a run."""
_UNFINISHED_STATUSES: Final = (
    JobStatus.PLANNED,
    JobStatus.SUBMITTING,
    JobStatus.UNCERTAIN,
    JobStatus.ACCEPTED,
    JobStatus.FINISHED,
)
_INITIAL_PROBE_FACTOR: Final = 5
_MAX_PROBE_FACTOR: Final = 15
"""How much slower probes are than the client's `retries.overloaded`: 5 s and 5 min by default."""
_MIN_PROBE_DELAY: Final = 0.001
_IMAGE_CHOICES: Final[Mapping[Images, tuple[str, ...]]] = {
    "grid": (),
    "split": (),
    "upscale-all": ("U1", "U2", "U3", "U4"),
}
"""The steps that a choice of pictures means."""


class Batch:
    """Many prompts, each paid for once, however often the process dies meanwhile.

    `async with Batch("renders", client=mj) as batch:`, then `batch.add(…)`, then
    `async for job in batch.run()`. The same again goes on where it stopped.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        client: Client,
        limit: int = 8,
        steps: StepInput | Iterable[StepInput] = (),
        images: Images = "grid",
        name: str = DEFAULT_NAME,
        repeat: int = 1,
        retry_failed: bool | Iterable[str] = False,
        resubmit_uncertain: bool = False,
        max_submits: int | None = None,
        max_failures: int | None = None,
        max_uncertain: int | None = None,
        reconcile_after: float = 60.0,
        ledger: str | None = None,
        gallery: bool = True,
    ) -> None:
        """Set up a batch; nothing is touched before `async with`.

        Args:
            folder: Where the ledger and the pictures are.
            client: The client to use; never closed here.
            limit: How many tasks may be unfinished at once.
            steps: Buttons to press, as paths from the grid (`"U1>Upscale (Subtle)"`), the answer to
                a modal in brackets (`"U1>Custom Zoom[{prompt} --zoom 1.8]"`); and async functions
                that take the finished Task and may return another one to be saved.
            images: What to save of a grid: the grid, its four pictures, or both it and U1 to U4.
            name: Template of file names, relative to the folder.
            repeat: How often each prompt is drawn.
            retry_failed: Begin failed jobs anew: all, or those of one error class or several, by
                name. A banned prompt never.
            resubmit_uncertain: Send again what may have been taken; it may be paid twice.
            max_submits: Send no more than this in one run.
            max_failures: Begin nothing more once so many have failed in one run.
            max_uncertain: Begin nothing more once so many of one run may have been taken and cannot
                be looked up.
            reconcile_after: Seconds after which a submission that the server does not list counts
                as lost.
            ledger: Where the ledger is, as the URL of a SQLite or PostgreSQL database; by default
                `ledger.db` in the folder. On PostgreSQL several processes may share the batch.
            gallery: Whether to write `index.html`, the pictures to look at.

        Raises:
            ConfigurationError: One of these makes no sense.
        """
        for argument, value in (("limit", limit), ("repeat", repeat)):
            if value < 1:
                message = f"{argument} must be at least 1, not {value}."
                raise ConfigurationError(message)
        if images not in _IMAGE_CHOICES:
            message = f"images must be one of {', '.join(_IMAGE_CHOICES)}, not {images!r}."
            raise ConfigurationError(message)
        requested_steps = [steps] if isinstance(steps, str) or callable(steps) else [*steps]
        self._steps, self._functions = expand_steps([*_IMAGE_CHOICES[images], *requested_steps])
        self._folder = Path(folder)
        self._client = client
        self._limits = RunLimits(
            limit=limit,
            max_submits=max_submits,
            max_failures=max_failures,
            max_uncertain=max_uncertain,
        )
        self._repeat = repeat
        error_classes = [retry_failed] if isinstance(retry_failed, str) else retry_failed
        self._retry_failed = (
            error_classes if isinstance(error_classes, bool) else frozenset(error_classes)
        )
        self._resubmit_uncertain = resubmit_uncertain
        self._reconcile_after = reconcile_after
        self._filenames = Filenames(name)
        self._output = OutputFolder(self._folder, self._filenames, images)
        self._gallery = GalleryPage(self._folder) if gallery else None
        self._has_local_ledger = ledger is None
        opened_ledger = open_ledger(self._folder, ledger)
        ledger = None  # a traceback shows variables, and it may have a password
        if isinstance(opened_ledger, str):
            raise ConfigurationError(opened_ledger)
        self._ledger, self._lock = opened_ledger
        if self._ledger.is_shared and not self._filenames.are_unique:
            message = f"Where several processes write, {name!r} needs {{key}} or {{task_id}}."
            raise ConfigurationError(message)
        self._sources: list[tuple[PromptSource, str | None, int]] = []
        self._duplicates = 0
        self._requested: set[str] = set()
        self._columns: set[str] = set()
        self._used_columns: set[str] = set()
        self._is_open = False
        self._runner: Runner | None = None
        self._last_runner: Runner | None = None
        self._gallery_task: asyncio.Task[None] | None = None
        self._shutdown_lock = asyncio.Lock()

    @property
    def stopped(self) -> str:
        """Why the last run began no more jobs; "" while there is no reason.

        "max_submits", "max_failures", "max_uncertain", "stop", or the class of an error.
        """
        return self._last_runner.stopped if self._last_runner is not None else ""

    @property
    def unrecorded(self) -> tuple[str, ...]:
        """Ids of tasks that the server took in the last run and the ledger had no room for."""
        return () if self._last_runner is None else self._last_runner.unrecorded

    @property
    def duplicates(self) -> int:
        """How many rows, of those last planned or counted, ask for what others before them do."""
        return self._duplicates

    @property
    def unused_columns(self) -> tuple[str, ...]:
        """The columns, of rows last planned or counted, that nothing uses but the manifest has.

        Neither the prompt nor the name of a file nor the answer to a modal takes them.
        """
        return tuple(sorted(self._columns - self._used_columns))

    @property
    def active(self) -> tuple[tuple[Job, TaskInfo | None], ...]:
        """The jobs under way in the order they began, each with the last that is known of it."""
        return self._runner.active if self._runner is not None else ()

    @property
    def blocked_by(self) -> tuple[MJError, float] | None:
        """Why the server takes or tells nothing now, and for how many seconds more it is tried.

        A `SubmitUncertain` means that only single submissions are tried, ever more slowly, until
        one is accepted. None while all is well.
        """
        return self._runner.blocked_by if self._runner is not None else None

    @property
    def uncertainty(self) -> str:
        """Why the last run tried only single submissions, with the server's own words; "" else."""
        return self._last_runner.reason if self._last_runner is not None else ""

    # --- life ---

    async def __aenter__(self) -> Self:
        """Take the folder.

        Raises:
            BatchInUse: Somebody else has it.
            ConfigurationError: The ledger cannot be reached, a later version made it, or it knows
                nothing of what the manifest lists.
            LedgerError: It is damaged, locked by another program, or cannot be written.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        if self._lock is not None:
            self._lock.acquire()
        try:
            await self._ledger.open()
            await self._check_manifest()
            if self._lock is not None:  # else they may be another's, and just being written
                await asyncio.to_thread(self._output.remove_partial)
        except BaseException:
            await self._close()
            raise
        self._is_open = True
        return self

    async def _check_manifest(self) -> None:
        """See that the ledger is not an empty or an old one, which would pay everything again.

        Raises:
            ConfigurationError: It is.
        """
        listed = await asyncio.to_thread(self._output.manifest_keys)
        unknown = listed - await self._ledger.submitted(listed)
        if not unknown or not (self._has_local_ledger or unknown == listed):
            return
        noun = "job" if len(unknown) == 1 else "jobs"
        message = (
            f"manifest.jsonl lists {len(unknown)} {noun} of which the ledger does not know that "
            "they were sent: it is empty, or an old copy, and would pay for them again. Restore "
            "the ledger from a backup; to draw everything anew, remove manifest.jsonl."
        )
        raise ConfigurationError(message)

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            await self._shut_down(self._runner)  # of a loop that was left: its generator ends later
        finally:
            await self._close()

    async def _close(self) -> None:
        self._is_open = False
        try:
            await self._ledger.close()
        finally:
            if self._lock is not None:
                self._lock.release()

    def _check_open(self) -> None:
        if not self._is_open:
            message = "A Batch is used within `async with`."
            raise ConfigurationError(message)

    # --- what to do ---

    def add(self, prompts: PromptSource, *, template: str | None = None, repeat: int = 0) -> None:
        """Add a prompt, a row, or any iterable of them; they are read when the batch runs.

        Args:
            prompts: `{a, b}` in a prompt stands for several. A row is a mapping: its `prompt`, or
                the template, may name its other columns in braces.
            template: The prompt of each row, with its columns in braces. A plain prompt goes in as
                `{prompt}`.
            repeat: How often each is drawn; by default what the batch says.

        Raises:
            InvalidRequest: It is none of these. What is wrong with a row is told when it is read.
        """
        check_source(prompts)
        self._sources.append((prompts, template, repeat or self._repeat))

    def add_file(
        self,
        file: str | os.PathLike[str] | BinaryIO,
        *,
        template: str | None = None,
        repeat: int = 0,
    ) -> int:
        r"""Add what is in a file: text, CSV, TSV, JSON (an array or one row a line) or YAML.

        Text has a prompt on each line; `#` begins a comment, `\#` a prompt with a hash.

        Args:
            file: Its path, whose ending tells what it is; or text that is open for reading bytes.
            template: The prompt of each row, with its columns in braces; `{prompt}` is a line of
                text.
            repeat: How often each is drawn; by default what the batch says.

        Returns:
            How many rows there are in it.

        Raises:
            ConfigurationError: It cannot be read; the message says where.
        """
        source = Path(file) if isinstance(file, str | os.PathLike) else file
        rows = read_rows(source, template, repeat or self._repeat)
        self._sources.append((rows, None, 1))  # type: ignore[arg-type]  # rows are taken as they are
        return len(rows)

    async def dry_run(self) -> int:
        """How many submissions a run would make if all went well. Sends and writes nothing.

        Runs of functions are not among them, for nobody knows what those submit: they are in
        `forecast`.

        Raises:
            MJError: A row makes no sense.
        """
        steps = await self.forecast()
        return sum(count for step, count in steps.items() if not step.startswith(FUNCTION_STEP))

    async def forecast(self) -> Counter[str]:
        """The same by step, as `Job.step` names them: "" for grids.

        Raises:
            MJError: A row makes no sense.
        """
        self._check_open()
        failed = await self._ledger.jobs(JobStatus.FAILED)
        skipped_keys = {job.key for job in failed if not self._is_retried(job)}
        steps_by_key: dict[str, str] = {}
        async for job in self._unpaid_jobs():
            if job.parent in skipped_keys:
                skipped_keys.add(job.key)
            else:
                steps_by_key[job.key] = job.step
        return Counter(steps_by_key.values())

    async def not_requested(self) -> list[Job]:
        """The planned jobs that nothing added asks for: their prompts left the file, say.

        They are drawn with the others, unless they are dropped. None of a batch to which nothing
        was added, nor of one that several processes share, since each may add its own.

        Raises:
            MJError: A row makes no sense.
        """
        self._check_open()
        await self._read_sources()
        if self._sources:
            async for _ in self._requested_keys(self._sources):
                pass
        if not self._requested or self._ledger.is_shared:
            return []
        planned = await self._ledger.jobs(JobStatus.PLANNED)
        return [job for job in planned if job.key not in self._requested]

    async def drop(self, jobs: Iterable[Job]) -> int:
        """Forget planned jobs of which nothing was ever taken, and their steps; return how many."""
        self._check_open()
        keys = {job.key for job in jobs}
        for job in await self._ledger.jobs(JobStatus.PLANNED):  # each after what it is a step of
            if job.parent in keys:
                keys.add(job.key)
        return await self._ledger.remove(keys)

    async def _unpaid_jobs(self) -> AsyncIterator[Job]:
        """What is left to pay for, and what is new, each after the job it is a step of."""
        for job in await self._unfinished_jobs():
            can_resubmit = job.status in UNCERTAIN_STATUSES and self._resubmit_uncertain
            if job.status is JobStatus.PLANNED or job.modal == "open" or can_resubmit:
                yield job
        await self._read_sources()
        async for jobs in self._new_jobs(self._sources):
            for job in jobs:
                yield job

    async def _read_sources(self) -> None:
        """Read what can be read only once."""
        for index, (source, template, repeat) in enumerate(self._sources):
            rows: list[Any] = [row async for row in _iterate_source(source)]
            self._sources[index] = (rows, template, repeat)

    async def plan(self) -> int:
        """Put into the ledger what was added and is not there yet; return how many jobs that is.

        `run` does it when it was not done.

        Raises:
            MJError: A row makes no sense.
        """
        self._check_open()
        new_jobs = [job async for jobs in self._new_jobs(self._sources) for job in jobs]
        count = await self._ledger.add(new_jobs) if new_jobs else 0
        self._sources = []
        return count

    async def _new_jobs(
        self, sources: list[tuple[PromptSource, str | None, int]]
    ) -> AsyncIterator[list[Job]]:
        """The jobs that the ledger does not have, so many at a time."""
        async for chunk in self._requested_keys(sources):
            existing_keys = await self._ledger.existing_keys({job.key for job in chunk})
            new_jobs = [job for job in chunk if job.key not in existing_keys]
            for job in new_jobs:
                self._filenames.check(job)
            yield new_jobs

    async def _requested_keys(
        self, sources: list[tuple[PromptSource, str | None, int]]
    ) -> AsyncIterator[list[Job]]:
        chunk: list[Job] = []
        seen_keys: set[str] = set()
        if sources:
            self._duplicates = 0
            self._columns = set()
            self._used_columns = {"bot"} | self._filenames.fields
            self._used_columns |= {name for step in self._steps for name in template_fields(step)}
        for source, template, repeat in sources:
            async for item in _iterate_source(source):
                row = parse_row(item, template, repeat)
                self._columns |= row.variables.keys()
                self._used_columns |= row.template_fields
                jobs = [*plan_jobs(row, self._steps)]
                keys = {job.key for job in jobs}
                self._duplicates += keys <= seen_keys
                seen_keys |= keys
                chunk += jobs
                if len(chunk) >= _PLANNING_CHUNK:
                    yield chunk
                    chunk = []
        yield chunk
        self._requested |= seen_keys

    # --- doing it ---

    async def run(self) -> AsyncGenerator[Job, None]:
        """Do what is left to do; yield each job as it ends, failed and uncertain ones too.

        Leaving the loop early stops waiting: what is on the wire is finished and noted.

        Raises:
            ConfigurationError: A function that is left to run is not in `steps`.
            MJError: The account cannot go on (token, balance), or the server draws nothing; what
                was under way is carried to its end first, and noted.
            OSError: The disk is full, or the like; the same.
        """
        self._check_open()
        if self._runner is not None:
            message = "This Batch is running already."
            raise ConfigurationError(message)
        batch_client = BatchClient(self._client)
        recovery = Recovery(
            client=batch_client,
            ledger=self._ledger,
            resubmit_uncertain=self._resubmit_uncertain,
            reconcile_after=self._reconcile_after,
        )
        executor = JobExecutor(
            client=self._client,
            client_adapter=batch_client,
            ledger=self._ledger,
            output=self._output,
            functions=self._functions,
            recovery=recovery,
            breaker=_make_circuit_breaker(batch_client.overloaded),
            is_saving=asyncio.Semaphore(self._limits.limit),
        )
        self._runner = self._last_runner = runner = Runner(
            executor=executor,
            adaptive_limit=AdaptiveLimit(
                self._limits.limit, batch_client.overloaded, batch_client.clock.now()
            ),
            limits=self._limits,
        )
        try:
            await self.plan()
            jobs = await self._unfinished_jobs()
            self._check_functions(jobs)
            incomplete_jobs = await self._missing_results(await self._write_manifest())
            if jobs:
                await self._ledger.reserve_space(self._limits.limit)
            await runner.start([*incomplete_jobs, *jobs])
            if self._gallery is not None and runner.had_work:
                self._gallery_task = asyncio.create_task(self._update_gallery(batch_client.clock))
            while (job := await runner.next_completed()) is not None:
                yield job
        finally:
            await self._shut_down(runner)
        if runner.error is not None:
            raise _with_unrecorded_ids(runner.error, executor.unrecorded)

    async def _shut_down(self, runner: Runner | None) -> None:
        """End a run, once: what is on the wire is finished, noted and listed."""
        await finish_despite_cancellation(
            self._finish_shutdown(runner)
        )  # however often it is cancelled meanwhile

    async def _finish_shutdown(self, runner: Runner | None) -> None:
        async with self._shutdown_lock:
            if runner is None or self._runner is not runner:
                return
            try:
                if self._gallery_task is not None:
                    self._gallery_task.cancel()
                    await asyncio.gather(self._gallery_task, return_exceptions=True)
                await runner.shutdown()
                await self._write_final_manifest(runner)
            except OSError:
                if runner.error is None:  # else that one is raised, with the ids that it alone has
                    raise
            finally:
                self._runner = self._gallery_task = None

    async def _write_final_manifest(self, runner: Runner) -> None:
        if getattr(runner.error, "errno", None) != errno.ENOSPC:  # else the next run needs it
            await self._ledger.release_space()
        if runner.had_work:
            await self._write_manifest()
            await self._write_gallery(running=False)

    def stop(self) -> None:
        """Begin nothing more; `run` ends when what is under way has ended."""
        if self._runner is not None:
            self._runner.stop("stop")

    async def _write_manifest(self) -> list[Job]:
        """Write the manifest; return all jobs."""
        async with self._ledger.manifest_lock():
            jobs = await self._ledger.jobs()
            for job in jobs:
                self._filenames.reserve(job)
            try:
                await self._output.write_manifest(jobs)
            except OSError as error:
                raise _manifest_error(error) from error
        return jobs

    async def _missing_results(self, jobs: list[Job]) -> list[Job]:
        """The saved ones among some jobs of which files are gone, as they are to be saved again."""
        if self._ledger.is_shared:  # they may be in the folder of another machine
            return []
        incomplete_jobs = await asyncio.to_thread(self._output.missing_files, jobs)
        return [attrs.evolve(job, status=JobStatus.FINISHED) for job in incomplete_jobs]

    def _check_functions(self, jobs: Iterable[Job]) -> None:
        """See that every function that is left to run is there, before anything is sent."""
        states = {JobStatus.PLANNED, *(UNCERTAIN_STATUSES if self._resubmit_uncertain else ())}
        for job in jobs:
            if job.is_function and job.status in states and job.step not in self._functions:
                raise ConfigurationError(missing_function_error(job))

    async def _update_gallery(self, clock: Clock) -> None:
        """Have the gallery follow the run, for a tenth of the time at most."""
        while True:
            started_at = clock.now()
            await self._write_gallery(running=True)
            await clock.sleep(max(_GALLERY_INTERVAL, 9 * (clock.now() - started_at)))

    async def _write_gallery(self, *, running: bool) -> None:
        """Write the gallery; a run does not fail for it, as it can be made again any time."""
        if self._gallery is not None:
            try:
                await finish_despite_cancellation(
                    self._gallery.write(await self._ledger.jobs(), running=running)
                )
            except Exception as error:  # noqa: BLE001 - one odd picture, say
                _log.warning("the gallery was not written: %s", printable(error))

    async def _unfinished_jobs(self) -> list[Job]:
        """What is left to do, as it is to be begun."""
        jobs = await self._ledger.jobs(*_UNFINISHED_STATUSES)
        failed = await self._ledger.jobs(JobStatus.FAILED) if self._retry_failed else []
        retried = [
            attrs.evolve(job, status=JobStatus.PLANNED) for job in failed if self._is_retried(job)
        ]
        return sorted([*jobs, *retried], key=lambda job: (job.number, job.step))

    def _is_retried(self, job: Job) -> bool:
        if job.error_class in NOT_RETRYABLE:
            return False
        return self._retry_failed is True or job.error_class in (self._retry_failed or ())

    async def jobs(self, *states: JobStatus) -> list[Job]:
        """Every job of the ledger, or those in some states, in the order they were planned."""
        self._check_open()
        return await self._ledger.jobs(*states)

    async def totals(self) -> Totals:
        """Where the batch stands, in numbers."""
        self._check_open()
        return await self._ledger.totals()


def _make_circuit_breaker(policy: RetryPolicy) -> CircuitBreaker:
    """Slower than a server that says no is asked again: each probe may be paid for nothing."""
    initial_delay = max(_INITIAL_PROBE_FACTOR * policy.initial_delay, _MIN_PROBE_DELAY)
    return CircuitBreaker(
        first_delay=initial_delay,
        longest_delay=max(initial_delay, _MAX_PROBE_FACTOR * policy.max_delay),
    )


def _manifest_error(error: OSError) -> LedgerError:
    return LedgerError(
        f"The batch's folder cannot be written: {printable(error)}.", errno=error.errno
    )


def _with_unrecorded_ids(error: Exception, unrecorded: Sequence[str]) -> Exception:
    """What ended a run, with the ids that nothing but this error has."""
    if isinstance(error, OSError) and not isinstance(error, MJError):
        ledger_error = _manifest_error(error)
        ledger_error.__cause__, error = error, ledger_error
    if not unrecorded:
        return error
    message = error.message if isinstance(error, MJError) else str(error)
    ids = " ".join(unrecorded)
    ledger_error = LedgerError(
        f"{message} The server took {len(unrecorded)} more that could not be noted: {ids}. "
        f"`mjasync watch {ids} --save FOLDER/` has their pictures.",
        errno=error.errno if isinstance(error, OSError) else None,
        unrecorded=unrecorded,
    )
    ledger_error.__cause__ = error
    return ledger_error


async def _iterate_source(source: PromptSource) -> AsyncIterator[object]:
    if isinstance(source, str | InputRow | Mapping):
        yield source
    elif isinstance(source, AsyncIterable):
        async for item in source:
            yield item
    else:
        for item in source:
            yield item

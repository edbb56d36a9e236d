"""The batch: prompts are added, planned as jobs, and run."""

from __future__ import annotations

import asyncio
import errno
import os
from collections import Counter
from collections.abc import AsyncGenerator, Iterable
from pathlib import Path
from typing import BinaryIO, Self

from .._client import Client
from .._concurrency import uninterrupted
from .._models import TaskInfo
from ..errors import ConfigurationError, MJError
from ._backlog import Backlog
from ._batch_files import BatchFiles
from ._filenames import DEFAULT_NAME, Filenames
from ._gallery.page import GalleryPage
from ._job_executor import JobExecutor
from ._jobs import FUNCTION_STEP, Job, JobStatus, Totals, with_unrecorded_ids
from ._ledger.open import open_ledger
from ._output import STEPS_OF_IMAGES, Images, OutputFolder
from ._planning import StepInput, expand_steps
from ._prompt_sources import PromptSource, PromptSources
from ._readers import read_rows
from ._runner import RunLimits, Runner


class Batch:
    """Many prompts, each paid for once, even if the process is killed repeatedly.

    Enter `async with Batch("renders", client=mj) as batch:`, call `batch.add(…)`, and iterate
    `async for job in batch.run()`. The same code continues an interrupted batch.
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
        """Configure a batch; nothing is created before `async with`.

        Args:
            folder: The folder of the ledger and the pictures.
            client: The client to use; the batch never closes it.
            limit: How many tasks may be unfinished on the server at once.
            steps: Buttons to press, as paths from the grid (`"U1>Upscale (Subtle)"`), with the
                answer to a modal in brackets (`"U1>Custom Zoom[{prompt} --zoom 1.8]"`). Also async
                functions that take the finished Task, and may return another one to be saved.
            images: What to save of a grid: the grid itself, its four pictures, or the grid and U1
                to U4.
            name: The template of file names, relative to the folder.
            repeat: How often each prompt is drawn.
            retry_failed: Retry failed jobs: all, or those with the given names of error classes.
                Banned prompts are never retried.
            resubmit_uncertain: Submit uncertain jobs again, which may pay for them twice.
            max_submits: The maximum number of submissions in one run.
            max_failures: Start no more jobs once this many have failed in one run.
            max_uncertain: Start no more jobs once this many are uncertain in one run.
            reconcile_after: Seconds after which a submission that the server does not list counts
                as lost.
            ledger: The URL of the ledger, a SQLite or PostgreSQL database; by default `ledger.db`
                in the folder. With PostgreSQL, several processes may share the batch.
            gallery: Whether to write `index.html`, a page that shows the pictures.

        Raises:
            ConfigurationError: An argument is not valid.
        """
        for argument, value in (("limit", limit), ("repeat", repeat)):
            if value < 1:
                raise ConfigurationError(f"{argument} must be at least 1, not {value}.")
        if images not in STEPS_OF_IMAGES:
            message = f"images must be one of {', '.join(STEPS_OF_IMAGES)}, not {images!r}."
            raise ConfigurationError(message)
        requested_steps = [steps] if isinstance(steps, str) or callable(steps) else [*steps]
        step_paths, functions = expand_steps([*STEPS_OF_IMAGES[images], *requested_steps])
        self._folder = Path(folder)
        opened_ledger = open_ledger(self._folder, ledger)
        self._has_local_ledger = ledger is None
        ledger = None  # tracebacks may show variables, and the URL may have a password
        if isinstance(opened_ledger, str):
            raise ConfigurationError(opened_ledger)
        filenames = Filenames(name)
        if opened_ledger.is_shared and not filenames.are_unique:
            message = f"With several processes, the name {name!r} needs {{key}} or {{task_id}}."
            raise ConfigurationError(message)
        self._client = client
        self._ledger = opened_ledger
        self._output = OutputFolder(self._folder, filenames, images)
        self._files = BatchFiles(
            ledger=self._ledger,
            filenames=filenames,
            output=self._output,
            gallery=GalleryPage(self._folder) if gallery else None,
        )
        if not isinstance(retry_failed, bool):
            retry_failed = frozenset(
                [retry_failed] if isinstance(retry_failed, str) else retry_failed
            )
        self._sources = PromptSources(step_paths, filenames.fields, repeat)
        self._backlog = Backlog(
            ledger=self._ledger,
            sources=self._sources,
            filenames=filenames,
            functions=functions,
            retry_failed=retry_failed,
            resubmit_uncertain=resubmit_uncertain,
        )
        self._limits = RunLimits(
            limit=limit,
            max_submits=max_submits,
            max_failures=max_failures,
            max_uncertain=max_uncertain,
        )
        self._reconcile_after = reconcile_after
        self._is_open = False
        self._runner: Runner | None = None
        self._last_runner: Runner | None = None
        self._shutdown_lock = asyncio.Lock()

    @property
    def stopped(self) -> str:
        """Why the last run started no more jobs; "" if there is no reason.

        "max_submits", "max_failures", "max_uncertain", "stop", or the class of an error.
        """
        return self._last_runner.stopped if self._last_runner is not None else ""

    @property
    def unrecorded(self) -> tuple[str, ...]:
        """Ids of tasks that the server accepted in the last run, but the ledger has no room for."""
        return () if self._last_runner is None else self._last_runner.unrecorded

    @property
    def duplicates(self) -> int:
        """How many of the rows last planned or counted ask for what earlier rows ask for."""
        return self._sources.duplicates

    @property
    def unused_columns(self) -> tuple[str, ...]:
        """The columns of the rows last planned or counted that only the manifest contains.

        Prompts, file names and answers to modals do not contain them.
        """
        return self._sources.unused_columns

    @property
    def active(self) -> tuple[tuple[Job, TaskInfo | None], ...]:
        """The running jobs in the order they began, each with the last state of its task."""
        return self._runner.active if self._runner is not None else ()

    @property
    def blocked_by(self) -> tuple[MJError, float] | None:
        """The error that blocks the run, and the seconds left until it gives up; None if none does.

        With a `SubmitUncertain`, only single submissions are tried, at growing intervals, until one
        is accepted.
        """
        return self._runner.blocked_by if self._runner is not None else None

    @property
    def uncertainty(self) -> str:
        """Why the last run tried only single submissions, in the server's words; "" if not."""
        return self._last_runner.reason if self._last_runner is not None else ""

    async def __aenter__(self) -> Self:
        """Open the batch.

        Raises:
            BatchInUse: Another process, or another `Batch`, uses the folder.
            ConfigurationError: The ledger cannot be reached, a later version created it, or the
                manifest lists jobs that the ledger has not sent.
            LedgerError: The ledger is damaged, locked by another program, or not writable.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            await self._ledger.open()
            await self._files.check_manifest(is_local_ledger=self._has_local_ledger)
            if not self._ledger.is_shared:  # another process may be writing these files
                await asyncio.to_thread(self._output.remove_partial)
        except BaseException:
            await self._ledger.close()
            raise
        self._is_open = True
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            await self._shut_down(self._runner)  # the generator of a loop that was left ends later
        finally:
            self._is_open = False
            await self._ledger.close()

    def _check_open(self) -> None:
        if not self._is_open:
            raise ConfigurationError("A Batch is used within `async with`.")

    def add(self, prompts: PromptSource, *, template: str | None = None, repeat: int = 0) -> None:
        """Add a prompt, a row, or any iterable of them; they are read when the batch runs.

        Args:
            prompts: `{a, b}` in a prompt stands for alternatives. A row is a mapping. Its `prompt`,
                or the template, may contain names of its other columns in braces.
            template: The prompt of each row, with names of columns in braces. A plain prompt
                replaces `{prompt}`.
            repeat: How often each is drawn; by default `repeat` of the batch.

        Raises:
            InvalidRequest: `prompts` is none of these. Rows are checked when they are read.
        """
        self._sources.add(prompts, template, repeat)

    def add_file(
        self,
        file: str | os.PathLike[str] | BinaryIO,
        *,
        template: str | None = None,
        repeat: int = 0,
    ) -> int:
        r"""Add the rows of a file: text, CSV, TSV, JSON (an array, or one row a line) or YAML.

        A text file has a prompt on each line; `#` starts a comment, `\#` a prompt with a hash.

        Args:
            file: Its path, whose suffix determines the format; or a binary file with text.
            template: The prompt of each row, with names of columns in braces; `{prompt}` is a line
                of a text file.
            repeat: How often each is drawn; by default `repeat` of the batch.

        Returns:
            The number of rows.

        Raises:
            ConfigurationError: The file cannot be read; the message names the line.
        """
        rows = read_rows(file, template, repeat or self._sources.repeat)
        self.add(rows)
        return len(rows)

    async def dry_run(self) -> int:
        """Count the submissions of a run in which nothing fails, without sending anything.

        Functions are not counted, since their submissions are unknown: see `forecast`.

        Raises:
            MJError: A row is not valid.
        """
        steps = await self.forecast()
        return sum(count for step, count in steps.items() if not step.startswith(FUNCTION_STEP))

    async def forecast(self) -> Counter[str]:
        """Count the same by step, named as in `Job.step`: "" for grids.

        Raises:
            MJError: A row is not valid.
        """
        self._check_open()
        return await self._backlog.forecast()

    async def not_requested(self) -> list[Job]:
        """Return the planned jobs that nothing added asks for: their prompts left the file, say.

        They are drawn with the others, unless they are dropped. The list is empty if nothing was
        added, and if several processes share the batch, since each may add its own prompts.

        Raises:
            MJError: A row is not valid.
        """
        self._check_open()
        return await self._backlog.not_requested()

    async def drop(self, jobs: Iterable[Job]) -> int:
        """Remove planned jobs that were never accepted, and their steps; return how many.

        Args:
            jobs: The jobs to remove, as `not_requested` returns them.
        """
        self._check_open()
        return await self._backlog.drop(jobs)

    async def plan_again(self, jobs: Iterable[Job]) -> None:
        """Plan submitted jobs again, since the server has lost their tasks.

        Only call this if no task of these jobs can exist any more, for example because the server
        keeps its tasks in memory and has restarted. Otherwise, a job may be paid for twice.

        Args:
            jobs: Jobs that were submitted and have not ended.

        Raises:
            ConfigurationError: A job was not submitted, or has ended. Nothing is changed then.
        """
        self._check_open()
        await self._backlog.plan_again(jobs)

    async def plan(self) -> int:
        """Add the new jobs to the ledger, as `run` does; return how many.

        Raises:
            MJError: A row is not valid.
        """
        self._check_open()
        return await self._backlog.plan()

    async def run(self) -> AsyncGenerator[Job, None]:
        """Run the jobs that are left; yield each when it ends, failed and uncertain ones too.

        Leaving the loop early stops waiting: submissions in flight are completed and recorded.

        Raises:
            ConfigurationError: A function that is left to run is not in `steps`.
            MJError: The account cannot continue (token, balance), or the server cannot draw.
            OSError: The disk is full or not writable. Running jobs are recorded first in any case.
        """
        self._check_open()
        if self._runner is not None:
            raise ConfigurationError("This Batch is running already.")
        executor = JobExecutor(
            self._client,
            self._ledger,
            self._output,
            functions=self._backlog.functions,
            limit=self._limits.limit,
            resubmit_uncertain=self._backlog.resubmit_uncertain,
            reconcile_after=self._reconcile_after,
        )
        self._runner = self._last_runner = runner = Runner(executor, self._limits)
        try:
            await self.plan()
            jobs = await self._backlog.unfinished()
            self._backlog.check_functions(jobs)
            incomplete_jobs = await self._files.incomplete(await self._files.write_manifest())
            if jobs:
                await self._ledger.reserve_space(self._limits.limit)
            await runner.start([*incomplete_jobs, *jobs])
            if runner.had_work:
                self._files.start_gallery_updates(runner.clock)
            while (job := await runner.next_completed()) is not None:
                yield job
        finally:
            await self._shut_down(runner)
        if runner.error is not None:
            raise with_unrecorded_ids(runner.error, runner.unrecorded)

    @uninterrupted
    async def _shut_down(self, runner: Runner | None) -> None:
        """End a run once: submissions in flight are completed, recorded and listed."""
        async with self._shutdown_lock:
            if runner is None or self._runner is not runner:
                return
            try:
                await self._files.stop_gallery_updates()
                await runner.shutdown()
                if getattr(runner.error, "errno", None) != errno.ENOSPC:  # the next run needs it
                    await self._ledger.release_space()
                if runner.had_work:
                    await self._files.write_manifest()
                    await self._files.write_gallery(running=False)
            except OSError:
                if runner.error is None:  # the first error has the unrecorded ids
                    raise
            finally:
                self._runner = None

    def stop(self) -> None:
        """Start no more jobs; `run` ends when the running ones have ended."""
        if self._runner is not None:
            self._runner.stop("stop")

    async def jobs(self, *states: JobStatus) -> list[Job]:
        """Return all jobs, in planning order.

        Args:
            states: Return only the jobs with one of these statuses.
        """
        self._check_open()
        return await self._ledger.jobs(*states)

    async def totals(self) -> Totals:
        """Return the totals of the batch."""
        self._check_open()
        return await self._ledger.totals()

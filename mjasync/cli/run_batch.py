"""`mjasync batch`: draws a file of prompts, and resumes when it is run again."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, Final

import attrs
from sqlalchemy.exc import SQLAlchemyError

from .. import Client, errors
from ..batch import (
    Batch,
    InputRow,
    InputRows,
    Job,
    JobStatus,
    LedgerError,
    Totals,
    plan_jobs,
    read_rows,
)
from ..errors import ConfigurationError, MJError
from .batch_options import BatchOptions, flags_of
from .batch_text import (
    forecast_dict,
    format_charges,
    format_counts,
    format_forecast,
    format_input_notes,
    format_not_requested,
    format_problems,
    preview_prompts,
)
from .batch_view import BatchDisplay
from .console import print_note, print_result
from .folders import is_simulated, make_folder, mark_simulated, save_resume_command
from .server_options import ServerOptions
from .signals import GracefulShutdown
from .task_text import command, explain, is_usage, json_line, one_line, path_text

_SUBMITTED_STATUSES: Final = (
    JobStatus.SUBMITTING,
    JobStatus.UNCERTAIN,
    JobStatus.ACCEPTED,
    JobStatus.FINISHED,
)
"""Statuses of jobs that may have a task on a server."""
_UNREACHABLE_URL: Final = "http://127.0.0.1:9"
"""The server of a dry run, to which nothing is sent."""


def run_batch(file: str, *, options: BatchOptions, server: ServerOptions, as_json: bool) -> int:
    """Run or resume a batch; return the exit code.

    Raises:
        ConfigurationError: An option, the file or the folder is not valid.
    """
    for name in options.retry_failed or ():
        if name not in errors.__all__:
            message = f"--retry-failed: {name!r} is not an error class; TaskFailed is one."
            raise ConfigurationError(message)
    if options.out is not None:
        _check_not_mixed(options.out, options, server)
    if options.dry_run:
        return _dry_run(_rows(file, options), options, server, as_json=as_json)
    if options.out is None:
        message = (
            "Where to? Name a folder for the pictures: --out renders. The same command with the "
            "same folder goes on where it stopped."
        )
        raise ConfigurationError(message)
    server.check()
    rows = _rows(file, options)
    return asyncio.run(BatchRun(file, rows, options, server, options.out, as_json=as_json).run())


def _check_not_mixed(folder: Path, options: BatchOptions, server: ServerOptions) -> None:
    """Check that a folder does not mix simulated pictures with real ones."""
    simulated = is_simulated(folder)
    if server.simulate and options.ledger:
        message = "--ledger is for real servers: run one with `mjasync simulate`, and name it."
        raise ConfigurationError(message)
    if simulated and not server.simulate:
        message = f"{str(folder)!r} holds what a simulator drew: use another --out."
        raise ConfigurationError(message)
    if server.simulate and (folder / "ledger.db").exists() and not simulated:
        message = f"{str(folder)!r} is the batch of a real server: use another --out."
        raise ConfigurationError(message)


def _rows(file: str, options: BatchOptions) -> InputRows:
    """Read the rows of the file or of standard input."""
    rows = read_rows(sys.stdin.buffer if file == "-" else file, options.template, options.repeat)
    if not rows:
        name = "stdin" if file == "-" else repr(file)
        message = f"There is no prompt in {name}: write one on each line."
        raise ConfigurationError(message)
    return rows


def _batch(mj: Client, rows: Sequence[InputRow], folder: Path, options: BatchOptions) -> Batch:
    """Return the batch that the options describe."""
    retry_failed = options.retry_failed
    names: dict[str, Any] = {} if options.name is None else {"name": options.name}
    batch = Batch(
        folder,
        client=mj,
        limit=options.limit,
        steps=options.then,
        images=options.images,
        retry_failed=retry_failed or retry_failed is not None,
        resubmit_uncertain=options.resubmit_uncertain,
        max_submits=options.max_submits,
        max_failures=options.max_failures,
        max_uncertain=options.max_uncertain,
        ledger=options.ledger,
        gallery=not options.no_gallery,
        **names,
    )
    batch.add(rows)
    return batch


def _dry_run(
    rows: InputRows, options: BatchOptions, server: ServerOptions, *, as_json: bool
) -> int:
    """Print what a run would pay for; return the exit code."""
    try:
        steps, unused, missing = asyncio.run(_forecast(rows, options, server))
    except MJError as error:
        print_note(f"mjasync: {error.message if is_usage(error) else explain(error)}")
        return 2 if is_usage(error) else 1
    if as_json:
        print_result(json_line(forecast_dict(steps)))
        return 0
    grids = [job for row in rows for job in plan_jobs(row)]
    notes = format_input_notes(rows, unused)
    obsolete = format_not_requested(missing, is_dropped=options.drop_missing)
    print_result("\n".join((format_forecast(steps), *preview_prompts(grids), *notes, *obsolete)))
    return 0


async def _forecast(
    rows: Sequence[InputRow], options: BatchOptions, server: ServerOptions
) -> tuple[Mapping[str, int], Sequence[str], Sequence[Job]]:
    """Return submissions by step, unused columns, and jobs that are no longer requested.

    No folder is created if it does not exist or is not named.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.out or Path(temporary)
        if options.ledger is not None or not (folder / "ledger.db").exists():
            folder = Path(temporary)
        async with (
            Client(_UNREACHABLE_URL, "", **server.options()) as mj,
            _batch(mj, rows, folder, options) as batch,
        ):
            missing = await batch.not_requested()
            steps = await batch.forecast()
            if options.drop_missing:
                steps -= Counter(job.step for job in missing)
            return steps, batch.unused_columns, missing


@attrs.define
class BatchRun:
    """One run of a batch."""

    file: str
    rows: InputRows
    options: BatchOptions
    server: ServerOptions
    folder: Path
    as_json: bool = attrs.field(kw_only=True)
    _display: BatchDisplay = attrs.field(init=False)
    _batch: Batch | None = attrs.field(default=None, init=False)
    _is_running: bool = attrs.field(default=False, init=False)
    _before: Totals | None = attrs.field(default=None, init=False)
    """The totals before this run; None before planning."""
    _jobs: list[Job] = attrs.field(factory=list, init=False)
    """All jobs after this run."""

    def __attrs_post_init__(self) -> None:
        self._display = BatchDisplay(self.folder, as_json=self.as_json)

    async def run(self) -> int:
        """Run the batch and return the exit code."""
        started_at = time.monotonic()
        error: Exception | None = None
        with GracefulShutdown(self._on_cancel, self._on_abort, self._on_drain) as stop:
            try:
                async with self.server.open(self.options.limit) as mj:
                    await self._draw(mj)
            except Exception as caught:  # noqa: BLE001 - printed, or raised again after the summary
                error = caught
        if isinstance(error, MJError) and is_usage(error):
            self._display.error(error.message)
            return 2
        is_expected = isinstance(error, MJError | OSError | SQLAlchemyError)
        if error is not None and is_expected:
            has_ids = isinstance(error, LedgerError) and error.unrecorded
            cause = error.__cause__ if has_ids else None  # the ids are printed below
            self._display.error(explain(cause or error, self.server.flags()))
        if self._batch is not None and self._before is not None:
            seconds = time.monotonic() - started_at
            self._sum_up(self._batch, self._before, seconds, is_stopped=stop.exit_code is not None)
        if error is not None and not is_expected:
            raise error
        is_complete = error is None and all(job.status is JobStatus.SAVED for job in self._jobs)
        return stop.exit_code or (0 if is_complete else 1)

    async def _draw(self, mj: Client) -> None:
        self._batch = batch = _batch(mj, self.rows, self.folder, self.options)
        make_folder(self.folder)
        if self.server.simulate:
            mark_simulated(self.folder)
        async with batch:
            save_resume_command(self.folder, self._retry_command())
            await batch.plan()
            missing = await batch.not_requested()
            for line in format_not_requested(missing, is_dropped=self.options.drop_missing):
                self._display.info(line)
            if self.options.drop_missing:
                await batch.drop(missing)
            if batch.duplicates:
                noun = "row asks" if batch.duplicates == 1 else "rows ask"
                self._display.info(f"{batch.duplicates} {noun} for what others do: drawn once.")
            for line in format_input_notes(self.rows, batch.unused_columns):
                self._display.info(line)
            if self.server.simulate and (lost := await batch.jobs(*_SUBMITTED_STATUSES)):
                await batch.plan_again(lost)
                self._display.info(f"{len(lost)} ended with an earlier simulator: tried again.")
            self._before = await batch.totals()
            await self._run_jobs(batch, self._before)

    async def _run_jobs(self, batch: Batch, totals: Totals) -> None:
        """Run the jobs that are left."""
        before = totals.by_status.get(JobStatus.SAVED, 0)
        if self.options.retry_failed is None:
            before += totals.by_status.get(JobStatus.FAILED, 0)
        self._is_running = True
        try:
            async with self._display.display(batch, totals, before), aclosing(batch.run()) as jobs:
                async for job in jobs:
                    self._display.job_ended(job)
        finally:
            self._is_running = False
            self._jobs = await batch.jobs()

    def _sum_up(self, batch: Batch, before: Totals, seconds: float, *, is_stopped: bool) -> None:
        """Print the result, the folder of the pictures, and how to continue."""
        note, jobs = self._display.info, self._jobs
        totals, has_errors = Totals.from_jobs(jobs), any(job.error for job in jobs)
        if set(before.by_status) == {JobStatus.SAVED} and not has_errors:
            note(f"All {len(jobs)} are there already: nothing was sent.")
        else:
            if batch.stopped.startswith("max_"):
                note(f"Stopped by --{batch.stopped.replace('_', '-')}.")
            if batch.uncertainty:
                note(one_line(batch.uncertainty))
            note(f"{'Stopped: ' if is_stopped else ''}{format_counts(totals)}, in {seconds:.1f} s.")
            in_this_run = f" In this run: {totals.submits - before.submits}."
            note(format_charges(totals) + ("" if self.options.ledger else in_this_run))
        if totals.by_status.get(JobStatus.SAVED):
            page = self.folder / "index.html"
            gallery = f" Look at them: {path_text(page)}" if page.exists() else ""
            note(f"The pictures are in {path_text(self.folder)}.{gallery}")
        self._report_unrecorded()
        prefix = "Go on with:" if batch.unrecorded else "Nothing is lost. Go on with:"
        for line in format_problems(jobs, self._retry_command(), prefix):
            note(line)

    def _report_unrecorded(self) -> None:
        """Print the ids of paid tasks that the ledger does not have, and nothing else has."""
        if self._batch is not None and self._batch.unrecorded:
            self._display.info(
                "The server accepted these, which are paid, and the ledger has no record of them. "
                "Keep their ids, and save their pictures with:"
            )
            save = ("--save", f"{self.folder}/")
            watch = command("watch", *self.server.flags(), *save, *self._batch.unrecorded)
            self._display.info(f"  {watch}")

    def _retry_command(self) -> str:
        """Return the command that resumes the batch."""
        return command("batch", self.file, *flags_of(self.options), *flags_of(self.server))

    def _on_drain(self) -> bool:
        if self._batch is None or not self._is_running:
            return False
        self._display.is_stopping = True
        active = len(self._batch.active)
        self._batch.stop()
        self._display.info(
            f"Stopping: nothing more is begun; {active} under way are waited for and saved. "
            "Again to stop at once."
        )
        return True

    def _on_cancel(self) -> None:
        self._display.is_stopping = True
        self._display.info("Stopping at once: pending submissions are recorded.")

    def _on_abort(self) -> None:
        self._report_unrecorded()
        self._display.info(
            f"Stopped. What was sent is in the ledger. Go on with:\n  {self._retry_command()}"
        )
        self._display.mute()  # shutting down prints nothing more

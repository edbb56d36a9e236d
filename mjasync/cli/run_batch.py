"""`mjasync batch`: prompts in, pictures out, and the same again to go on."""

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

from .. import Client
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

__all__ = ["run_batch"]

_SUBMITTED_STATUSES: Final = (
    JobStatus.SUBMITTING,
    JobStatus.UNCERTAIN,
    JobStatus.ACCEPTED,
    JobStatus.FINISHED,
)
"""Where a job stands of which a server may have something."""
_UNREACHABLE_URL: Final = "http://127.0.0.1:9"
"""The server of a dry run, which asks none."""
_LIMIT_OPTIONS: Final = {
    "max_submits": "--max-submits",
    "max_failures": "--max-failures",
    "max_uncertain": "--max-uncertain",
}


def run_batch(file: str, *, options: BatchOptions, server: ServerOptions, as_json: bool) -> int:
    """Do a batch, or go on with it; return the exit code.

    Raises:
        ConfigurationError: It cannot work as it was asked for.
    """
    _check_classes(options.retry_failed or ())
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


def _check_classes(names: tuple[str, ...]) -> None:
    from .. import errors

    for name in names:
        if name not in errors.__all__:
            message = f"--retry-failed: {name!r} is not an error class; TaskFailed is one."
            raise ConfigurationError(message)


def _check_not_mixed(folder: Path, options: BatchOptions, server: ServerOptions) -> None:
    """See that a simulated batch and a real one do not take each other's pictures for theirs."""
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
    """What is to be drawn."""
    rows = read_rows(sys.stdin.buffer if file == "-" else file, options.template, options.repeat)
    if not rows:
        name = "stdin" if file == "-" else repr(file)
        message = f"There is no prompt in {name}: write one on each line."
        raise ConfigurationError(message)
    return rows


def _batch(mj: Client, rows: Sequence[InputRow], folder: Path, options: BatchOptions) -> Batch:
    """The batch as it was ordered."""
    retry = options.retry_failed
    names: dict[str, Any] = {} if options.name is None else {"name": options.name}
    batch = Batch(
        folder,
        client=mj,
        limit=options.limit,
        steps=options.then,
        images=options.images,
        retry_failed=retry or retry is not None,
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
    """Say what would be paid; return the exit code."""
    try:
        steps, unused, missing = asyncio.run(_forecast(rows, options, server))
    except MJError as error:
        print_note(f"mjasync: {error.message if is_usage(error) else explain(error)}")
        return 2 if is_usage(error) else 1
    if as_json:
        print_result(json_line(forecast_dict(steps)))
        return 0
    grids = [job for row in rows for job in plan_jobs(row)]
    left_out = format_input_notes(rows.comments, rows.blank, rows.multiline_places, unused)
    gone = format_not_requested(missing, is_dropped=options.drop_missing)
    print_result("\n".join((format_forecast(steps), *preview_prompts(grids), *left_out, *gone)))
    return 0


async def _forecast(
    rows: Sequence[InputRow], options: BatchOptions, server: ServerOptions
) -> tuple[Mapping[str, int], Sequence[str], Sequence[Job]]:
    """What would be paid by step, unused columns, and jobs that nothing asks for any more.

    Where no folder is yet, or none is named, none is made.
    """
    with tempfile.TemporaryDirectory() as nowhere:
        place = options.out or Path(nowhere)
        if options.ledger is not None or not (place / "ledger.db").exists():
            place = Path(nowhere)
        async with (
            Client(_UNREACHABLE_URL, "", **server.options()) as mj,
            _batch(mj, rows, place, options) as batch,
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
    """While it runs, so that it has to be stopped."""
    _before: Totals | None = attrs.field(default=None, init=False)
    """Where it stood before this run; None while it is not planned."""
    _jobs: list[Job] = attrs.field(factory=list, init=False)
    """Where they stand after it."""
    _reason: str = attrs.field(default="", init=False)
    _uncertainty: str = attrs.field(default="", init=False)
    """Why only single submissions were tried in the end."""
    _unrecorded: tuple[str, ...] = attrs.field(default=(), init=False)
    """Ids that the server gave, and the ledger had no room for."""

    def __attrs_post_init__(self) -> None:
        self._display = BatchDisplay(self.folder, as_json=self.as_json)

    async def run(self) -> int:
        """Do it, and return the exit code."""
        began = time.monotonic()
        trouble: Exception | None = None
        with GracefulShutdown(self._on_cancel, self._on_abort, self._on_drain) as stop:
            try:
                async with self.server.open(self.options.limit) as mj:
                    await self._draw(mj)
            except Exception as error:  # noqa: BLE001 - told, or raised again, when all is said
                trouble = error
        if isinstance(trouble, MJError) and is_usage(trouble):
            self._display.error(trouble.message)
            return 2
        is_expected = isinstance(trouble, MJError | OSError | SQLAlchemyError)
        if trouble is not None and is_expected:
            is_telling = isinstance(trouble, LedgerError) and trouble.unrecorded
            cause = trouble.__cause__ if is_telling else None  # the ids are told below
            self._display.error(explain(cause or trouble, self.server.flags()))
        if self._before is not None:
            self._sum_up(time.monotonic() - began, is_stopped=stop.exit_code is not None)
        if trouble is not None and not is_expected:
            raise trouble
        is_whole = trouble is None and all(job.status is JobStatus.SAVED for job in self._jobs)
        return stop.exit_code or (0 if is_whole else 1)

    async def _draw(self, mj: Client) -> None:
        batch = _batch(mj, self.rows, self.folder, self.options)
        make_folder(self.folder)
        if self.server.simulate:
            mark_simulated(self.folder)
        async with batch:
            save_resume_command(self.folder, self._retry_command())
            await batch.plan()
            missing = await batch.not_requested()
            for said in format_not_requested(missing, is_dropped=self.options.drop_missing):
                self._display.info(said)
            if self.options.drop_missing:
                await batch.drop(missing)
            if batch.duplicates:
                rows = "row asks" if batch.duplicates == 1 else "rows ask"
                self._display.info(f"{batch.duplicates} {rows} for what others do: drawn once.")
            read, unused = self.rows, batch.unused_columns
            for said in format_input_notes(
                read.comments, read.blank, read.multiline_places, unused
            ):
                self._display.info(said)
            if self.server.simulate:
                await self._plan_again(batch)
            self._before = await batch.totals()
            await self._run_once(batch, self._before)

    async def _plan_again(self, batch: Batch) -> None:
        """Have drawn again what was sent to an earlier simulator: it ended with its process."""
        gone = await batch.jobs(*_SUBMITTED_STATUSES)
        await batch.plan_again(gone)
        if gone:
            self._display.info(f"{len(gone)} ended with an earlier simulator: tried again.")

    async def _run_once(self, batch: Batch, totals: Totals) -> None:
        """Do what is left to do."""
        retries = self.options.retry_failed is not None
        ends = [JobStatus.SAVED] if retries else [JobStatus.SAVED, JobStatus.FAILED]
        before = sum(totals.by_status.get(state, 0) for state in ends)
        self._batch = batch
        try:
            async with self._display.display(batch, totals, before), aclosing(batch.run()) as jobs:
                async for job in jobs:
                    self._display.job_ended(job)
        finally:
            self._batch = None
            self._reason, self._uncertainty = batch.stopped, batch.uncertainty
            self._unrecorded = batch.unrecorded
            self._jobs = await batch.jobs()

    # --- when it is over ---

    def _sum_up(self, seconds: float, *, is_stopped: bool) -> None:
        """Say how it went, where the pictures are, and what to do about the rest."""
        note, jobs = self._display.info, self._jobs
        totals, before = Totals.from_jobs(jobs), self._before or Totals.from_jobs([])
        is_whole = set(before.by_status) == {JobStatus.SAVED} and not any(job.error for job in jobs)
        if is_whole:
            note(f"All {len(jobs)} are there already: nothing was sent.")
        else:
            if self._reason in _LIMIT_OPTIONS:
                note(f"Stopped by {_LIMIT_OPTIONS[self._reason]}.")
            if self._uncertainty:
                note(one_line(self._uncertainty))
            note(f"{'Stopped: ' if is_stopped else ''}{format_counts(totals)}, in {seconds:.1f} s.")
            mine = f" In this run: {totals.submits - before.submits}."
            note(format_charges(totals) + ("" if self.options.ledger else mine))
        if totals.by_status.get(JobStatus.SAVED):
            page = self.folder / "index.html"
            shown = f" Look at them: {path_text(page)}" if page.exists() else ""
            note(f"The pictures are in {path_text(self.folder)}.{shown}")
        self._report_unrecorded()
        lead = "Go on with:" if self._unrecorded else "Nothing is lost. Go on with:"
        for said in format_problems(jobs, self._retry_command(), lead):
            note(said)

    def _report_unrecorded(self) -> None:
        """Name what is paid and in no ledger: this is the only place where its ids are."""
        if self._unrecorded:
            self._display.info(
                "The server took these, which are paid, and the ledger could not note their ids. "
                "Keep them, and save their pictures with:"
            )
            save = ("--save", f"{self.folder}/")
            watch = command("watch", *self.server.flags(), *save, *self._unrecorded)
            self._display.info(f"  {watch}")

    def _retry_command(self) -> str:
        """The command that goes on with it."""
        return command("batch", self.file, *flags_of(self.options), *flags_of(self.server))

    # --- signals ---

    def _on_drain(self) -> bool:
        if self._batch is None:
            return False
        self._display.is_stopping = True
        under_way = len(self._batch.active)
        self._batch.stop()
        self._display.info(
            f"Stopping: nothing more is begun; {under_way} under way are waited for and saved. "
            "Again to stop at once."
        )
        return True

    def _on_cancel(self) -> None:
        self._display.is_stopping = True
        self._display.info("Stopping at once: what is being submitted is noted.")

    def _on_abort(self) -> None:
        self._unrecorded = () if self._batch is None else self._batch.unrecorded
        self._report_unrecorded()
        self._display.info(
            f"Stopped. What was sent is in the ledger. Go on with:\n  {self._retry_command()}"
        )
        self._display.mute()  # what is torn down now has nothing to add

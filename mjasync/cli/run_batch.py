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
from typing import TYPE_CHECKING, Final

import attrs
from sqlalchemy.exc import SQLAlchemyError

from ..batch import Batch, Job, JobState, LedgerError, Totals
from ..batch._filenames import DEFAULT_NAME
from ..batch._planning import jobs_of
from ..batch._readers import Rows, read_rows
from ..batch._rows import Row
from ..errors import ConfigurationError, MJError
from .batch_options import Order, flags_of
from .batch_text import asked, counts, forecast, forecast_record, money, remarks, troubles, unasked
from .batch_view import Board
from .console import print_note, print_result
from .folders import is_simulated, keep_command, make_folder, mark_simulated
from .server_options import Server
from .signals import Stop
from .task_text import command, explain, is_usage, json_line, one_line, path_text

if TYPE_CHECKING:
    from .._client import Client

__all__ = ["draw"]

_SENT: Final = (JobState.SUBMITTING, JobState.UNCERTAIN, JobState.ACCEPTED, JobState.FINISHED)
"""Where a job stands of which a server may have something."""
_NOWHERE: Final = "http://127.0.0.1:9"
"""The server of a dry run, which asks none."""
_LIMITS: Final = {
    "max_submits": "--max-submits",
    "max_failures": "--max-failures",
    "max_uncertain": "--max-uncertain",
}


def draw(file: str, *, order: Order, server: Server, as_json: bool) -> int:
    """Do a batch, or go on with it; return the exit code.

    Raises:
        ConfigurationError: It cannot work as it was asked for.
    """
    _check_classes(order.retry_failed or ())
    if order.out is not None:
        _keep_apart(order.out, order, server)
    if order.dry_run:
        return _dry_run(_rows(file, order), order, server, as_json=as_json)
    if order.out is None:
        message = (
            "Where to? Name a folder for the pictures: --out renders. The same command with the "
            "same folder goes on where it stopped."
        )
        raise ConfigurationError(message)
    server.check()
    rows = _rows(file, order)
    return asyncio.run(_Run(file, rows, order, server, order.out, as_json=as_json).run())


def _check_classes(names: tuple[str, ...]) -> None:
    from .. import errors

    for name in names:
        if name not in errors.__all__:
            message = f"--retry-failed: {name!r} is not an error class; TaskFailed is one."
            raise ConfigurationError(message)


def _keep_apart(folder: Path, order: Order, server: Server) -> None:
    """See that a simulated batch and a real one do not take each other's pictures for theirs."""
    simulated = is_simulated(folder)
    if server.simulate and order.ledger:
        message = "--ledger is for real servers: run one with `mjasync simulate`, and name it."
        raise ConfigurationError(message)
    if simulated and not server.simulate:
        message = f"{str(folder)!r} holds what a simulator drew: use another --out."
        raise ConfigurationError(message)
    if server.simulate and (folder / "ledger.db").exists() and not simulated:
        message = f"{str(folder)!r} is the batch of a real server: use another --out."
        raise ConfigurationError(message)


def _rows(file: str, order: Order) -> Rows:
    """What is to be drawn."""
    source = sys.stdin.buffer if file == "-" else Path(file)
    rows = read_rows(source, order.template, order.repeat)
    if not rows:
        name = "stdin" if file == "-" else repr(file)
        message = f"There is no prompt in {name}: write one on each line."
        raise ConfigurationError(message)
    return rows


def _batch(mj: Client, rows: Sequence[Row], folder: Path, order: Order) -> Batch:
    """The batch as it was ordered."""
    retry = order.retry_failed
    batch = Batch(
        folder,
        client=mj,
        limit=order.limit,
        then=order.then,
        images=order.images,
        name=DEFAULT_NAME if order.name is None else order.name,
        retry_failed=retry or retry is not None,
        resubmit_uncertain=order.resubmit_uncertain,
        max_submits=order.max_submits,
        max_failures=order.max_failures,
        max_uncertain=order.max_uncertain,
        ledger=order.ledger,
        gallery=not order.no_gallery,
    )
    batch.add(rows)  # type: ignore[arg-type]  # rows are taken as they are
    return batch


def _dry_run(rows: Rows, order: Order, server: Server, *, as_json: bool) -> int:
    """Say what would be paid; return the exit code."""
    try:
        steps, unused, missing = asyncio.run(_forecast(rows, order, server))
    except MJError as error:
        print_note(f"mjasync: {error.message if is_usage(error) else explain(error)}")
        return 2 if is_usage(error) else 1
    if as_json:
        print_result(json_line(forecast_record(steps)))
        return 0
    grids = [job for row in rows for job in jobs_of(row, ())]
    left_out = remarks(rows.comments, rows.blank, rows.spanning, unused)
    gone = unasked(missing, is_dropped=order.drop_missing)
    print_result("\n".join((forecast(steps), *asked(grids), *left_out, *gone)))
    return 0


async def _forecast(
    rows: Sequence[Row], order: Order, server: Server
) -> tuple[Mapping[str, int], Sequence[str], Sequence[Job]]:
    """What would be paid by step, unused columns, and jobs that nothing asks for any more.

    Where no folder is yet, or none is named, none is made.
    """
    from .._client import Client

    with tempfile.TemporaryDirectory() as nowhere:
        place = order.out or Path(nowhere)
        if order.ledger is not None or not (place / "ledger.db").exists():
            place = Path(nowhere)
        async with (
            Client(_NOWHERE, "", **server.options()) as mj,
            _batch(mj, rows, place, order) as batch,
        ):
            missing = await batch.unasked()
            steps = await batch.forecast()
            if order.drop_missing:
                steps -= Counter(job.step for job in missing)
            return steps, batch.unused_columns, missing


@attrs.define
class _Run:
    """One run of a batch."""

    file: str
    rows: Rows
    order: Order
    server: Server
    folder: Path
    as_json: bool = attrs.field(kw_only=True)
    _board: Board = attrs.field(init=False)
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
        self._board = Board(self.folder, as_json=self.as_json)

    async def run(self) -> int:
        """Do it, and return the exit code."""
        began = time.monotonic()
        trouble: Exception | None = None
        with Stop(self._leaving, self._giving_up, self._draining) as stop:
            try:
                async with self.server.open(self.order.limit) as mj:
                    await self._draw(mj)
            except Exception as error:  # noqa: BLE001 - told, or raised again, when all is said
                trouble = error
        if isinstance(trouble, MJError) and is_usage(trouble):
            self._board.complain(trouble.message)
            return 2
        is_expected = isinstance(trouble, MJError | OSError | SQLAlchemyError)
        if trouble is not None and is_expected:
            is_telling = isinstance(trouble, LedgerError) and trouble.unrecorded
            cause = trouble.__cause__ if is_telling else None  # the ids are told below
            self._board.complain(explain(cause or trouble, self.server.flags()))
        if self._before is not None:
            self._sum_up(time.monotonic() - began, is_stopped=stop.exit_code is not None)
        if trouble is not None and not is_expected:
            raise trouble
        is_whole = trouble is None and all(job.state is JobState.SAVED for job in self._jobs)
        return stop.exit_code or (0 if is_whole else 1)

    async def _draw(self, mj: Client) -> None:
        batch = _batch(mj, self.rows, self.folder, self.order)
        make_folder(self.folder)
        if self.server.simulate:
            mark_simulated(self.folder)
        async with batch:
            keep_command(self.folder, self._again())
            await batch.plan()
            missing = await batch.unasked()
            for said in unasked(missing, is_dropped=self.order.drop_missing):
                self._board.note(said)
            if self.order.drop_missing:
                await batch.drop(missing)
            if batch.duplicates:
                rows = "row asks" if batch.duplicates == 1 else "rows ask"
                self._board.note(f"{batch.duplicates} {rows} for what others do: drawn once.")
            read, unused = self.rows, batch.unused_columns
            for said in remarks(read.comments, read.blank, read.spanning, unused):
                self._board.note(said)
            if self.server.simulate:
                await self._plan_again(batch)
            self._before = await batch.totals()
            await self._pass(batch, self._before)

    async def _plan_again(self, batch: Batch) -> None:
        """Have drawn again what was sent to an earlier simulator: it ended with its process."""
        gone = await batch.jobs(*_SENT)
        for job in gone:
            await batch._ledger.note(job, state=JobState.PLANNED)  # noqa: SLF001 - with real servers nobody may
        if gone:
            self._board.note(f"{len(gone)} ended with an earlier simulator: tried again.")

    async def _pass(self, batch: Batch, totals: Totals) -> None:
        """Do what is left to do."""
        retries = self.order.retry_failed is not None
        ends = [JobState.SAVED] if retries else [JobState.SAVED, JobState.FAILED]
        before = sum(totals.states.get(state, 0) for state in ends)
        self._batch = batch
        try:
            async with self._board.showing(batch, totals, before), aclosing(batch.run()) as jobs:
                async for job in jobs:
                    self._board.end(job)
        finally:
            self._batch = None
            self._reason, self._uncertainty = batch.stopped, batch.uncertainty
            self._unrecorded = batch.unrecorded
            self._jobs = await batch.jobs()

    # --- when it is over ---

    def _sum_up(self, seconds: float, *, is_stopped: bool) -> None:
        """Say how it went, where the pictures are, and what to do about the rest."""
        note, jobs = self._board.note, self._jobs
        totals, before = Totals.of(jobs), self._before or Totals.of([])
        is_whole = set(before.states) == {JobState.SAVED} and not any(job.error for job in jobs)
        if is_whole:
            note(f"All {len(jobs)} are there already: nothing was sent.")
        else:
            if self._reason in _LIMITS:
                note(f"Stopped by {_LIMITS[self._reason]}.")
            if self._uncertainty:
                note(one_line(self._uncertainty))
            note(f"{'Stopped: ' if is_stopped else ''}{counts(totals)}, in {seconds:.1f} s.")
            mine = f" In this run: {totals.submits - before.submits}."
            note(money(totals) + ("" if self.order.ledger else mine))
        if totals.states.get(JobState.SAVED):
            page = self.folder / "index.html"
            shown = f" Look at them: {path_text(page)}" if page.exists() else ""
            note(f"The pictures are in {path_text(self.folder)}.{shown}")
        self._tell_unrecorded()
        lead = "Go on with:" if self._unrecorded else "Nothing is lost. Go on with:"
        for said in troubles(jobs, self._again(), lead):
            note(said)

    def _tell_unrecorded(self) -> None:
        """Name what is paid and in no ledger: this is the only place where its ids are."""
        if self._unrecorded:
            self._board.note(
                "The server took these, which are paid, and the ledger could not note their ids. "
                "Keep them, and save their pictures with:"
            )
            save = ("--save", f"{self.folder}/")
            watch = command("watch", *self.server.flags(), *save, *self._unrecorded)
            self._board.note(f"  {watch}")

    def _again(self) -> str:
        """The command that goes on with it."""
        return command("batch", self.file, *flags_of(self.order), *flags_of(self.server))

    # --- signals ---

    def _draining(self) -> bool:
        if self._batch is None:
            return False
        self._board.is_stopping = True
        under_way = len(self._batch.under_way)
        self._batch.stop()
        self._board.note(
            f"Stopping: nothing more is begun; {under_way} under way are waited for and saved. "
            "Again to stop at once."
        )
        return True

    def _leaving(self) -> None:
        self._board.is_stopping = True
        self._board.note("Stopping at once: what is being submitted is noted.")

    def _giving_up(self) -> None:
        self._unrecorded = () if self._batch is None else self._batch.unrecorded
        self._tell_unrecorded()
        self._board.note(f"Stopped. What was sent is in the ledger. Go on with:\n  {self._again()}")
        self._board.hush()  # what is torn down now has nothing to add

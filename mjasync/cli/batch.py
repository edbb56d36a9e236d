"""`mjasync batch`: prompts in, pictures out, and the same again to go on."""

from __future__ import annotations

import asyncio
import io
import json
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import attrs
from sqlalchemy.exc import SQLAlchemyError

from ..batch import Batch, Job, JobState, Totals
from ..batch._plan import jobs_of, read_rows
from ..errors import ConfigurationError, MJError
from .board import Board
from .order import Order, flags_of
from .paths import is_simulated, keep_command, make_folder, mark_simulated
from .server import Server
from .stop import Stop
from .tally import asked, counts, forecast, forecast_record, money, troubles
from .words import command, explain, is_usage

if TYPE_CHECKING:
    from .._client import Client

__all__ = ["draw"]

_GONE: Final = "TaskNotFound"
_NOWHERE: Final = "http://127.0.0.1:9"
"""The server of a dry run, which asks none."""
_LIMITS: Final = {"max_submits": "--max-submits", "max_failures": "--max-failures"}


def draw(file: str, *, order: Order, server: Server, as_json: bool) -> int:
    """Do a batch, or go on with it; return the exit code.

    Raises:
        ConfigurationError: It cannot work as it was asked for.
    """
    if order.out is None:
        message = (
            "Where to? Name a folder for the pictures: --out renders. The same command with the "
            "same folder goes on where it stopped."
        )
        raise ConfigurationError(message)
    _check_classes(order.retry_failed or ())
    _keep_apart(order, server)
    if not order.dry_run:
        server.check()
    source = io.BytesIO(sys.stdin.buffer.read()) if file == "-" else Path(file)
    if order.dry_run:
        return _dry_run(file, source, order, server, as_json=as_json)
    return asyncio.run(_Run(file, source, order, server, order.out, as_json=as_json).run())


def _check_classes(names: tuple[str, ...]) -> None:
    from .. import errors

    for name in names:
        if name not in errors.__all__:
            message = f"--retry-failed: {name!r} is no class of errors; TaskFailed is one."
            raise ConfigurationError(message)


def _keep_apart(order: Order, server: Server) -> None:
    """See that a simulated batch and a real one do not take each other's pictures for theirs."""
    folder = order.out or Path()
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


def _batch(mj: Client, folder: Path, order: Order, **changes: Any) -> Batch:  # noqa: ANN401 - options
    """The batch as it was ordered."""
    retry = order.retry_failed
    options: dict[str, Any] = {
        "limit": order.limit,
        "then": order.then,
        "images": order.images,
        "repeat": order.repeat,
        "retry_failed": retry or retry is not None,
        "resubmit_uncertain": order.resubmit_uncertain,
        "max_submits": order.max_submits,
        "max_failures": order.max_failures,
        "ledger": order.ledger,
        "gallery": not order.no_gallery,
    }
    if order.name is not None:
        options["name"] = order.name
    return Batch(folder, client=mj, **{**options, **changes})


def _add(batch: Batch, file: str, source: Path | BinaryIO, order: Order) -> None:
    if not batch.add_file(source, template=order.template):
        name = "stdin" if file == "-" else repr(file)
        message = f"There is no prompt in {name}: write one on each line."
        raise ConfigurationError(message)


def _dry_run(
    file: str, source: Path | BinaryIO, order: Order, server: Server, *, as_json: bool
) -> int:
    """Say what would be paid; return the exit code."""
    try:
        steps = asyncio.run(_forecast(file, source, order, server))
    except MJError as error:
        sys.stderr.write(f"mjasync: {error.message if is_usage(error) else explain(error)}\n")
        return 2 if is_usage(error) else 1
    if as_json:
        sys.stdout.write(f"{json.dumps(forecast_record(steps))}\n")
        return 0
    if not isinstance(source, Path):
        source.seek(0)
    rows = read_rows(source, order.template, order.repeat)
    grids = [job for row in rows for job in jobs_of(row, ())]
    sys.stdout.write("".join(f"{said}\n" for said in (forecast(steps), *asked(grids))))
    return 0


async def _forecast(
    file: str, source: Path | BinaryIO, order: Order, server: Server
) -> Mapping[str, int]:
    """What would be paid, by step. Where there is no batch yet, none is made."""
    from .._client import Client

    folder = order.out or Path()
    with tempfile.TemporaryDirectory() as nowhere:
        is_there = order.ledger or (folder / "ledger.db").exists()
        async with Client(_NOWHERE, "", **server.options()) as mj:
            batch = _batch(mj, folder if is_there else Path(nowhere), order)
            _add(batch, file, source, order)
            async with batch:
                return await batch.forecast()


@attrs.define
class _Run:
    """One run of a batch."""

    file: str
    source: Path | BinaryIO
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
    _new: int = attrs.field(default=0, init=False)
    _reason: str = attrs.field(default="", init=False)

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
            except (MJError, OSError) as error:
                trouble = error
            except SQLAlchemyError as error:  # its own words repeat the statement
                trouble = OSError(f"The ledger: {getattr(error, 'orig', None) or error}")
        if isinstance(trouble, MJError) and is_usage(trouble):
            self._board.complain(trouble.message)
            return 2
        if trouble is not None:
            self._board.complain(explain(trouble, self.server.flags()))
        if self._before is not None:
            self._sum_up(time.monotonic() - began, is_stopped=stop.exit_code is not None)
        is_whole = trouble is None and all(job.state is JobState.SAVED for job in self._jobs)
        return stop.exit_code or (0 if is_whole else 1)

    async def _draw(self, mj: Client) -> None:
        batch = _batch(mj, self.folder, self.order, **self._of_simulator())
        _add(batch, self.file, self.source, self.order)
        make_folder(self.folder)
        if self.server.simulate:
            mark_simulated(self.folder)
        async with batch:
            keep_command(self.folder, self._again())
            self._new = await batch.plan()
            if batch.duplicates:
                rows = "row asks" if batch.duplicates == 1 else "rows ask"
                self._board.note(f"{batch.duplicates} {rows} for what others do: drawn once.")
            self._before = await batch.totals()
            gone = await self._pass(batch)
        if gone and not self._board.is_stopping:
            self._board.note(f"{gone} ended with an earlier simulator: tried again.")
            again = _batch(mj, self.folder, self.order, retry_failed=[_GONE])
            async with again:
                await self._pass(again, is_last=True)

    def _of_simulator(self) -> dict[str, Any]:
        """What differs where each run has a server of its own, that knows nothing of the others."""
        classes = self.order.retry_failed
        retry = {} if classes == () else {"retry_failed": [*(classes or ()), _GONE]}
        return {"settle": 0.0, **retry} if self.server.simulate else {}

    async def _pass(self, batch: Batch, *, is_last: bool = False) -> int:
        """Do what is left to do; return how many ended with a simulator that is no more."""
        retries = is_last or self.order.retry_failed is not None
        ends = [JobState.SAVED] if retries else [JobState.SAVED, JobState.FAILED]
        totals = await batch.totals()
        before = sum(totals.states.get(state, 0) for state in ends)
        gone = 0
        self._batch = batch
        try:
            async with self._board.showing(batch, totals, before), aclosing(batch.run()) as jobs:
                async for job in jobs:
                    is_gone = job.state is JobState.FAILED and job.error_class == _GONE
                    if self.server.simulate and not is_last and is_gone:
                        gone += 1
                    else:
                        self._board.end(job)
        finally:
            self._batch = None
            self._reason = batch.stopped
            self._jobs = await batch.jobs()
        return gone

    # --- when it is over ---

    def _sum_up(self, seconds: float, *, is_stopped: bool) -> None:
        """Say how it went, where the pictures are, and what to do about the rest."""
        note, jobs = self._board.note, self._jobs
        totals, before = Totals.of(jobs), self._before or Totals.of([])
        is_whole = set(before.states) == {JobState.SAVED} and not any(job.error for job in jobs)
        if is_whole and not self._new:
            note(f"All {len(jobs)} are there already: nothing was sent.")
        else:
            if self._reason in _LIMITS:
                note(f"Stopped by {_LIMITS[self._reason]}.")
            note(f"{'Stopped: ' if is_stopped else ''}{counts(totals)}, in {seconds:.1f} s.")
            mine = f" In this run: {totals.submits - before.submits}."
            note(money(totals) + ("" if self.order.ledger else mine))
        if totals.states.get(JobState.SAVED):
            page = self.folder / "index.html"
            shown = f" Look at them: {page}" if page.exists() else ""
            note(f"The pictures are in {self.folder}.{shown}")
        for said in troubles(jobs, self._again(), "Nothing is lost. Go on with:"):
            note(said)

    def _again(self) -> str:
        """The command that goes on with it."""
        order = attrs.evolve(self.order, retry_failed=None, resubmit_uncertain=False)
        return command("batch", self.file, *flags_of(order), *flags_of(self.server))

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
        self._board.note(f"Stopped. What was sent is in the ledger. Go on with:\n  {self._again()}")
        self._board.hush()  # what is torn down now has nothing to add

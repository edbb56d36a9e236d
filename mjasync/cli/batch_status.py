"""`mjasync batch status` and `mjasync gallery`: a batch looked at from outside."""

from __future__ import annotations

import asyncio
import webbrowser
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..batch import Job, JobState, Totals, read_batch, write_gallery
from ..batch._ledger.open import is_running
from .batch_options import without_password
from .batch_text import counts, money, money_record, record, troubles
from .console import print_result
from .folders import is_simulated, kept_command
from .task_text import command, json_line, path_text

__all__ = ["show", "tell"]


def tell(folder: Path, *, ledger: str | None, as_json: bool) -> int:
    """Say where a batch stands; return 0 when all of it is saved.

    Raises:
        ConfigurationError: There is no batch.
    """
    jobs = asyncio.run(read_batch(folder, ledger=ledger))
    said = json_line(_record(folder, jobs)) if as_json else "\n".join(_lines(folder, jobs, ledger))
    print_result(said)
    return 0 if all(job.state is JobState.SAVED for job in jobs) else 1


def show(folder: Path, *, ledger: str | None, in_browser: bool) -> int:
    """Make the gallery again; print its path.

    Raises:
        ConfigurationError: There is no batch.
    """
    page = asyncio.run(write_gallery(folder, ledger=ledger))
    print_result(str(page))
    if in_browser:
        webbrowser.open(page.resolve().as_uri())
    return 0


def _lines(folder: Path, jobs: Sequence[Job], ledger: str | None) -> Iterable[str]:
    totals = Totals.of(jobs)
    running = is_running(folder, ledger)
    known = {True: " It is running.", False: " It is not running.", None: ""}
    yield f"{path_text(folder)}: {len(jobs)} jobs: {counts(totals)}.{known[running]}"
    yield money(totals)
    options = ["--ledger", without_password(ledger)] if ledger else []
    options += ["--simulate"] if is_simulated(folder) else []
    again = kept_command(folder) or command("batch", "FILE", "--out", str(folder), *options)
    lead = "Go on with:" if running is False else "Unless it is running, go on with:"
    yield from troubles(jobs, again, "When it has ended, go on with:" if running else lead)


def _record(folder: Path, jobs: Sequence[Job]) -> dict[str, Any]:
    """The JSON of a batch. Every key is always there."""
    totals = Totals.of(jobs)
    return {
        "ok": all(job.state is JobState.SAVED for job in jobs),
        "jobs": len(jobs),
        "states": {str(state): totals.states.get(state, 0) for state in JobState},
        "submits": totals.submits,
        "paid": money_record(totals),
        "failed": [record(job, folder) for job in jobs if job.state is JobState.FAILED],
        "uncertain": [record(job, folder) for job in jobs if job.state is JobState.UNCERTAIN],
    }

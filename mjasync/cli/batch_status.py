"""`mjasync batch status` and `mjasync gallery`, which read a batch and send nothing."""

from __future__ import annotations

import asyncio
import webbrowser
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..batch import Job, JobStatus, Totals, is_running, read_batch, write_gallery
from .batch_options import without_password
from .batch_text import charges_dict, format_charges, format_counts, format_problems, job_dict
from .console import print_result
from .folders import is_simulated, load_resume_command
from .task_text import command, json_line, path_text


def print_status(folder: Path, *, ledger: str | None, as_json: bool) -> int:
    """Print the state of a batch; return 0 if all of it is saved.

    Raises:
        ConfigurationError: There is no batch, or it cannot be read.
    """
    jobs = asyncio.run(read_batch(folder, ledger=ledger))
    if as_json:
        print_result(json_line(_batch_dict(folder, jobs)))
    else:
        print_result("\n".join(_lines(folder, jobs, ledger)))
    return 0 if all(job.status is JobStatus.SAVED for job in jobs) else 1


def write_and_open_gallery(folder: Path, *, ledger: str | None, in_browser: bool) -> int:
    """Write the gallery again; print its path.

    Raises:
        ConfigurationError: There is no batch, or it cannot be read.
    """
    page = asyncio.run(write_gallery(folder, ledger=ledger))
    print_result(str(page))
    if in_browser:
        webbrowser.open(page.resolve().as_uri())
    return 0


def _lines(folder: Path, jobs: Sequence[Job], ledger: str | None) -> Iterable[str]:
    totals = Totals.from_jobs(jobs)
    running = is_running(folder, ledger=ledger)
    activity = {True: " It is running.", False: " It is not running.", None: ""}[running]
    yield f"{path_text(folder)}: {len(jobs)} jobs: {format_counts(totals)}.{activity}"
    yield format_charges(totals)
    options = ["--ledger", without_password(ledger)] if ledger else []
    options += ["--simulate"] if is_simulated(folder) else []
    resume = load_resume_command(folder) or command("batch", "FILE", "--out", str(folder), *options)
    prefixes: dict[bool | None, str] = {
        True: "When it has ended, go on with:",
        False: "Go on with:",
        None: "Unless it is running, go on with:",
    }
    yield from format_problems(jobs, resume, prefixes[running])


def _batch_dict(folder: Path, jobs: Sequence[Job]) -> dict[str, Any]:
    """Return the JSON of a batch, in which no key is ever missing."""
    totals = Totals.from_jobs(jobs)
    return {
        "ok": all(job.status is JobStatus.SAVED for job in jobs),
        "jobs": len(jobs),
        "states": {str(status): totals.by_status.get(status, 0) for status in JobStatus},
        "submits": totals.submits,
        "paid": charges_dict(totals),
        "failed": [job_dict(job, folder) for job in jobs if job.status is JobStatus.FAILED],
        "uncertain": [job_dict(job, folder) for job in jobs if job.status is JobStatus.UNCERTAIN],
    }

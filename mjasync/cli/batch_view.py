"""How a batch goes, as people see it: bars on a terminal, a line for each job that ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from rich.text import Text

from ..batch import Batch, Job, JobStatus, Totals
from .batch_text import files_of, format_failure, format_job, format_time_left, job_dict
from .connection_notices import ConnectionNotices
from .console_output import ConsoleOutput, on_terminal
from .progress import ProgressBars
from .task_text import json_line, one_line, path_text, progress_of, task_state

__all__ = ["BatchDisplay"]

_REFRESH_SECONDS: Final = 0.1
"""Seconds between two looks at what is under way."""
_COUNT_SECONDS: Final = 10.0
"""Seconds between two counts, where there is no bar."""
_COLOURS: Final = {JobStatus.SAVED: "green", JobStatus.FAILED: "red"}
_UNFINISHED_COLOR: Final = "yellow"


class BatchDisplay(ConsoleOutput):
    """Shows a batch.

    Args:
        folder: Where its pictures are.
        as_json: Print one JSON object for each job that ended, instead of a line for each file.
    """

    def __init__(self, folder: Path, *, as_json: bool) -> None:
        super().__init__()
        self._folder = folder
        self._as_json = as_json
        self._total = self._before = self._ended = self._failed = 0
        self._began = self._counted = time.monotonic()
        self._trouble = ConnectionNotices()
        self.is_stopping = False

    @asynccontextmanager
    async def display(self, batch: Batch, totals: Totals, before: int) -> AsyncIterator[None]:
        """Show what is under way meanwhile; `before` jobs were at their end already."""
        self._total, self._before = sum(totals.by_status.values()), before
        self._ended = self._failed = 0
        self._began = self._counted = time.monotonic()
        if on_terminal(self._err):
            self._bars = ProgressBars(self._err, max(2, self._total))
            self._bars.start()
        ticking = asyncio.create_task(self._tick(batch))
        try:
            yield
        finally:
            if self._bars is not None:
                self._bars.stop()
            self._bars = None
            ticking.cancel()
            await asyncio.gather(ticking, return_exceptions=True)

    def job_ended(self, job: Job) -> None:
        """Show what became of a job."""
        self._ended += 1
        self._failed += job.status is JobStatus.FAILED
        if self._as_json:
            self._result(json_line(job_dict(job, self._folder)))
        elif job.status is JobStatus.SAVED and not job.error:
            for file in files_of(job, self._folder) or [one_line(job.prompt)]:
                self._result(_with_mark(job, f"{job.number:>4}  {path_text(file)}"))
        if job.status is not JobStatus.SAVED or job.error:  # a file that was lost
            self.info(_with_mark(job, format_failure(job)))
        self._count()

    def mute(self) -> None:
        """Say nothing more, whatever happens."""
        self._out.quiet = self._err.quiet = True

    async def _tick(self, batch: Batch) -> None:
        while True:
            if self._bars is not None:
                self._draw(batch, self._bars)
            self._remind(batch)
            await asyncio.sleep(_REFRESH_SECONDS)

    def _remind(self, batch: Batch) -> None:
        """Say what holds the batch up: soon where nothing is there, else when it lasts."""
        if batch.blocked_by is None and batch.stopped:  # which is no sign that it goes on
            return
        was_there = self._ended > 0 or any(job.task_id for job, _ in batch.active)
        said = self._trouble.update(
            batch.blocked_by, time.monotonic(), is_well=was_there, is_busy=True
        )
        if said:
            self.info(said)

    def _count(self) -> None:
        """Say how far it is, now and then, where no bar does."""
        now, ended = time.monotonic(), self._before + self._ended
        if self._bars is None and now - self._counted >= _COUNT_SECONDS and ended < self._total:
            self._counted = now
            self.info(", ".join(filter(None, (self._progress_line(), self._time_left()))))

    def _progress_line(self) -> str:
        failed = f", {self._failed} failed" if self._failed else ""
        return f"{self._before + self._ended} of {self._total}{failed}"

    def _draw(self, batch: Batch, bars: ProgressBars) -> None:
        under_way = batch.active
        bars.keep_only({job.key for job, _ in under_way})
        for job, info in under_way:
            is_saving = job.status is JobStatus.FINISHED or bool(info and info.status == "SUCCESS")
            state = "saving" if is_saving else task_state(info)
            bars.update(job.key, format_job(job), 100 if is_saving else progress_of(info), state)
        bars.overall(self._before + self._ended, self._progress_line(), self._remaining(batch))

    def _remaining(self, batch: Batch) -> str:
        if self.is_stopping:
            return "stopping"
        parts = sum(progress_of(info) for _, info in batch.active) / 100
        return self._time_left(parts)

    def _time_left(self, parts: float = 0.0) -> str:
        todo, seconds = self._total - self._before, time.monotonic() - self._began
        return format_time_left(todo, self._ended + parts, seconds)


def _with_mark(job: Job, text: str) -> Text:
    """A line that begins with what became of the job."""
    is_lost = job.status is JobStatus.SAVED and job.error
    known = job.status in {JobStatus.SAVED, JobStatus.FAILED, JobStatus.UNCERTAIN} and not is_lost
    word = str(job.status) if known else "left"
    return Text.assemble((f"{word:<9}", _COLOURS.get(job.status, _UNFINISHED_COLOR)), f" {text}")

"""The display of a batch: bars on a terminal, and a line for each job that has ended."""

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
from .progress import ConsoleOutput, ProgressBars
from .task_text import json_line, one_line, path_text, progress_of, task_state

_REFRESH_SECONDS: Final = 0.1
"""Seconds between two updates of the bars."""
_COUNT_SECONDS: Final = 10.0
"""Seconds between two counts, if there is no bar."""
_COLORS: Final = {JobStatus.SAVED: "green", JobStatus.FAILED: "red"}


class BatchDisplay(ConsoleOutput):
    """Shows the progress and the results of a batch.

    Args:
        folder: The folder of its pictures.
        as_json: Print one JSON object for each job that has ended, not a line for each file.
    """

    def __init__(self, folder: Path, *, as_json: bool) -> None:
        super().__init__()
        self._folder = folder
        self._as_json = as_json
        self._total = self._before = self._ended = self._failed = 0
        self._began = self._counted = time.monotonic()
        self._notices = ConnectionNotices()
        self.is_stopping = False

    @asynccontextmanager
    async def display(self, batch: Batch, totals: Totals, before: int) -> AsyncIterator[None]:
        """Show the running jobs meanwhile; `before` jobs had ended earlier."""
        self._total, self._before = sum(totals.by_status.values()), before
        self._ended = self._failed = 0
        self._began = self._counted = time.monotonic()
        self.start_bars(max(2, self._total))
        refresh_task = asyncio.create_task(self._tick(batch))
        try:
            yield
        finally:
            self.stop_bars()
            refresh_task.cancel()
            await asyncio.gather(refresh_task, return_exceptions=True)

    def job_ended(self, job: Job) -> None:
        """Show the result of a job."""
        self._ended += 1
        self._failed += job.status is JobStatus.FAILED
        if self._as_json:
            self._result(json_line(job_dict(job, self._folder)))
        elif job.status is JobStatus.SAVED and not job.error:
            for file in files_of(job, self._folder) or [one_line(job.prompt)]:
                self._result(_with_mark(job, f"{job.number:>4}  {path_text(file)}"))
        if job.status is not JobStatus.SAVED or job.error:  # a lost file
            self.info(_with_mark(job, format_failure(job)))
        self._count()

    def mute(self) -> None:
        """Print nothing more."""
        self._out.quiet = self._err.quiet = True

    async def _tick(self, batch: Batch) -> None:
        while True:
            if self._bars is not None:
                self._draw(batch, self._bars)
            self._remind(batch)
            await asyncio.sleep(_REFRESH_SECONDS)

    def _remind(self, batch: Batch) -> None:
        """Print what blocks the batch: soon if the server never responded, else if it lasts."""
        if batch.blocked_by is None and batch.stopped:  # which does not mean that it continues
            return
        is_well = self._ended > 0 or any(job.task_id for job, _ in batch.active)
        now = time.monotonic()
        if notice := self._notices.update(batch.blocked_by, now, is_well=is_well, is_busy=True):
            self.info(notice)

    def _count(self) -> None:
        """Print the number of jobs that have ended from time to time, if there is no bar."""
        now, ended = time.monotonic(), self._before + self._ended
        if self._bars is None and now - self._counted >= _COUNT_SECONDS and ended < self._total:
            self._counted = now
            self.info(", ".join(filter(None, (self._progress_line(), self._time_left()))))

    def _progress_line(self) -> str:
        failed = f", {self._failed} failed" if self._failed else ""
        return f"{self._before + self._ended} of {self._total}{failed}"

    def _draw(self, batch: Batch, bars: ProgressBars) -> None:
        bars.keep_only({job.key for job, _ in batch.active})
        for job, info in batch.active:
            is_saving = job.status is JobStatus.FINISHED or bool(info and info.status == "SUCCESS")
            state = "saving" if is_saving else task_state(info)
            bars.update(job.key, format_job(job), 100 if is_saving else progress_of(info), state)
        parts = sum(progress_of(info) for _, info in batch.active) / 100
        state = "stopping" if self.is_stopping else self._time_left(parts)
        bars.overall(self._before + self._ended, self._progress_line(), state)

    def _time_left(self, parts: float = 0.0) -> str:
        todo, seconds = self._total - self._before, time.monotonic() - self._began
        return format_time_left(todo, self._ended + parts, seconds)


def _with_mark(job: Job, text: str) -> Text:
    """Return a line that begins with the status of a job."""
    is_lost = job.status is JobStatus.SAVED and job.error
    has_ended = job.status in {JobStatus.SAVED, JobStatus.FAILED, JobStatus.UNCERTAIN}
    word = str(job.status) if has_ended and not is_lost else "left"
    return Text.assemble((f"{word:<9}", _COLORS.get(job.status, "yellow")), f" {text}")

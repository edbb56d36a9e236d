"""How a batch goes, as people see it: bars on a terminal, a line for each job that ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from rich.text import Text

from ..batch import Batch, Job, JobState, Totals
from .batch_text import failure, files_of, line, record, time_left
from .connection_notices import Trouble
from .output import Voice, on_terminal
from .progress import Bars
from .task_text import json_line, one_line, path_text, progress_of, stands

__all__ = ["Board"]

_TICK: Final = 0.1
"""Seconds between two looks at what is under way."""
_COUNT: Final = 10.0
"""Seconds between two counts, where there is no bar."""
_COLOURS: Final = {JobState.SAVED: "green", JobState.FAILED: "red"}
_LEFT: Final = "yellow"


class Board(Voice):
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
        self._trouble = Trouble()
        self.is_stopping = False

    @asynccontextmanager
    async def showing(self, batch: Batch, totals: Totals, before: int) -> AsyncIterator[None]:
        """Show what is under way meanwhile; `before` jobs were at their end already."""
        self._total, self._before = sum(totals.states.values()), before
        self._ended = self._failed = 0
        self._began = self._counted = time.monotonic()
        if on_terminal(self._err):
            self._bars = Bars(self._err, max(2, self._total))
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

    def end(self, job: Job) -> None:
        """Show what became of a job."""
        self._ended += 1
        self._failed += job.state is JobState.FAILED
        if self._as_json:
            self._result(json_line(record(job, self._folder)))
        elif job.state is JobState.SAVED and not job.error:
            for file in files_of(job, self._folder) or [one_line(job.prompt)]:
                self._result(_marked(job, f"{job.n:>4}  {path_text(file)}"))
        if job.state is not JobState.SAVED or job.error:  # a file that was lost
            self.note(_marked(job, failure(job)))
        self._count()

    def hush(self) -> None:
        """Say nothing more, whatever happens."""
        self._out.quiet = self._err.quiet = True

    async def _tick(self, batch: Batch) -> None:
        while True:
            if self._bars is not None:
                self._draw(batch, self._bars)
            self._remind(batch)
            await asyncio.sleep(_TICK)

    def _remind(self, batch: Batch) -> None:
        """Say what holds the batch up: soon where nothing is there, else when it lasts."""
        if batch.held_up is None and batch.stopped:  # which is no sign that it goes on
            return
        was_there = self._ended > 0 or any(job.task_id for job, _ in batch.under_way)
        said = self._trouble.notice(
            batch.held_up, time.monotonic(), is_well=was_there, is_busy=True
        )
        if said:
            self.note(said)

    def _count(self) -> None:
        """Say how far it is, now and then, where no bar does."""
        now, ended = time.monotonic(), self._before + self._ended
        if self._bars is None and now - self._counted >= _COUNT and ended < self._total:
            self._counted = now
            self.note(", ".join(filter(None, (self._so_far(), self._left()))))

    def _so_far(self) -> str:
        failed = f", {self._failed} failed" if self._failed else ""
        return f"{self._before + self._ended} of {self._total}{failed}"

    def _draw(self, batch: Batch, bars: Bars) -> None:
        under_way = batch.under_way
        bars.keep({job.key for job, _ in under_way})
        for job, info in under_way:
            is_saving = job.state is JobState.FINISHED or bool(info and info.status == "SUCCESS")
            state = "saving" if is_saving else stands(info)
            bars.show(job.key, line(job), 100 if is_saving else progress_of(info), state)
        bars.overall(self._before + self._ended, self._so_far(), self._rest(batch))

    def _rest(self, batch: Batch) -> str:
        if self.is_stopping:
            return "stopping"
        parts = sum(progress_of(info) for _, info in batch.under_way) / 100
        return self._left(parts)

    def _left(self, parts: float = 0.0) -> str:
        todo, seconds = self._total - self._before, time.monotonic() - self._began
        return time_left(todo, self._ended + parts, seconds)


def _marked(job: Job, text: str) -> Text:
    """A line that begins with what became of the job."""
    is_lost = job.state is JobState.SAVED and job.error
    known = job.state in {JobState.SAVED, JobState.FAILED, JobState.UNCERTAIN} and not is_lost
    word = str(job.state) if known else "left"
    return Text.assemble((f"{word:<9}", _COLOURS.get(job.state, _LEFT)), f" {text}")

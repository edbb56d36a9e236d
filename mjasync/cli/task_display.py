"""What people see: bars on a terminal, plain lines in a pipe, JSON for machines.

Results go to stdout, everything else to stderr.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.text import Text

from ..errors import ModalRequired
from .console_output import ConsoleOutput, on_terminal
from .progress import ProgressBars
from .task_jobs import TaskRun
from .task_text import (
    button_names,
    command,
    explain,
    is_usage,
    json_line,
    one_line,
    path_text,
    progress_of,
    run_state,
    task_dict,
)

__all__ = ["TaskDisplay", "TaskFormatter"]

_MAX_ID_LENGTH: Final = 60
"""Characters of an id in a line about it."""
_DONE_MARK: Final = ("done", "green")
_FAILED_MARK: Final = ("failed", "red")
_MODAL_MARK: Final = ("modal", "yellow")


# --- how results look --------------------------------------------------------------------------


class TaskFormatter:
    """Everything about a task.

    Args:
        fleeting: Whether links die with this process.
        flags: The options that commands to copy need.
    """

    def __init__(self, *, links_expire: bool, flags: Sequence[str] = ()) -> None:
        self._links_expire = links_expire
        self._flags = flags

    def format(self, job: TaskRun) -> Text:
        """Its id, link, buttons, words, file, and what may come next."""
        card = _headline(job, job.title)
        for name, value in self._rows(job):
            card.append(f"\n  {name:<8} ", style="dim").append(value)
        return card

    def format_failure(self, job: TaskRun) -> Text:
        """What was asked, and why it failed."""
        card = _headline(job, one_line(job.title, 60))
        if job.error is not None:
            card.append(f"\n  {explain(job.error, self._flags)}")
        if isinstance(job.error, ModalRequired) and job.task and job.task.final_prompt:
            card.append("\n  proposed ", style="dim").append(one_line(job.task.final_prompt))
        return card

    def _rows(self, job: TaskRun) -> list[tuple[str, str]]:
        if job.task is None:
            return []
        info, buttons = job.task.info, job.task.buttons
        words = job.task.prompts
        rows = [(str(number), one_line(prompt)) for number, prompt in enumerate(words, 1)]
        links = info.video_urls or filter(None, [info.image_url])
        rows += [("link", one_line(link)) for link in links if not words]
        if buttons:
            rows.append(("buttons", " · ".join(button_names(buttons))))
        if job.file is not None:
            rows.append(("saved", path_text(job.file)))
        if self._links_expire and job.file is None and not words:
            note = "the link ends with this command: keep the picture with --save PATH"
            rows.append(("note", note))
        elif buttons and not self._links_expire:
            rows.append(("next", command("action", *self._flags, job.id, button_names(buttons)[0])))
        return rows


def _mark(job: TaskRun) -> tuple[str, str]:
    """What became of it in a word, and its colour."""
    if job.error is None:
        return _DONE_MARK
    return _MODAL_MARK if isinstance(job.error, ModalRequired) else _FAILED_MARK


def _headline(job: TaskRun, title: str) -> Text:
    word, colour = _mark(job)
    line = Text.assemble((word, f"bold {colour}"))
    for part in (job.id, job.task.info.action if job.task else ""):
        if part:
            line.append(f"  {one_line(part)}", style="cyan")
    return line.append(f"  {one_line(title)}")


# --- the screen --------------------------------------------------------------------------------


class TaskDisplay(ConsoleOutput):
    """Shows jobs as they go: an `ProgressListener`.

    Args:
        cards: How results look.
        as_json: Print one JSON object for each job that ended, instead.
        total: How many jobs there are.
    """

    def __init__(self, formatter: TaskFormatter, *, as_json: bool, total: int) -> None:
        super().__init__()
        self._formatter = formatter
        self._as_json = as_json
        self._total = total
        self._ends = {True: 0, False: 0}
        self._last_lines: dict[TaskRun, str] = {}
        if on_terminal(self._err):
            self._bars = ProgressBars(self._err, total)

    def __enter__(self) -> None:
        if self._bars is not None:
            self._bars.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Take the bars away."""
        if self._bars is not None:
            self._bars.stop()
            self._bars = None

    # --- told by the jobs ---

    def task_started(self, job: TaskRun) -> None:
        """Show a job that is about to be sent."""
        if self._bars is not None:
            self._bars.update(job, one_line(job.title), 0, "sending")

    def task_changed(self, job: TaskRun) -> None:
        """Show where a job stands now."""
        state = run_state(job)
        if self._bars is not None:
            percent = 100 if job.info and job.info.status == "SUCCESS" else progress_of(job.info)
            saving = percent == 100 and job.save
            self._bars.update(job, one_line(job.title), percent, "saving" if saving else state)
        elif job.id and self._last_lines.get(job) != state:
            self._last_lines[job] = state
            self.info(f"{one_line(job.id, _MAX_ID_LENGTH)}  {state}")

    def task_ended(self, job: TaskRun) -> None:
        """Show what became of a job."""
        ok = job.error is None
        self._ends[ok] += 1
        self._last_lines.pop(job, None)
        if self._bars is not None:
            self._bars.drop(job)
            failed = f", {self._ends[False]} failed" if self._ends[False] else ""
            ended = sum(self._ends.values())
            self._bars.overall(ended, f"{ended} of {self._total}{failed}")
        if job.error is not None and self._total == 1 and is_usage(job.error):
            self.error(getattr(job.error, "message", ""))
            return
        if self._as_json:
            self._result(json_line(task_dict(job)))
        elif ok:
            self._result(self._formatter.format(job))
        if not ok:
            self.info(self._formatter.format_failure(job))

"""The display of tasks: bars on a terminal, lines in a pipe, or JSON.

Results go to stdout, everything else to stderr.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.text import Text

from ..errors import ModalRequired
from .progress import ConsoleOutput
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

_MAX_ID_LENGTH: Final = 60
"""Characters of an id in a line about it."""


class TaskFormatter:
    """Formats tasks that have ended.

    Args:
        links_expire: Whether links end with this process.
        flags: The server options of commands to copy.
    """

    def __init__(self, *, links_expire: bool, flags: Sequence[str] = ()) -> None:
        self._links_expire = links_expire
        self._flags = flags

    def format(self, run: TaskRun) -> Text:
        """Return its id, link, prompts, buttons, file, and the next command."""
        card = _headline(run, run.title)
        for name, value in self._rows(run):
            card.append(f"\n  {name:<8} ", style="dim").append(value)
        return card

    def format_failure(self, run: TaskRun) -> Text:
        """Return its prompt and its error."""
        card = _headline(run, one_line(run.title, 60))
        if run.error is not None:
            card.append(f"\n  {explain(run.error, self._flags)}")
        if isinstance(run.error, ModalRequired) and run.task and run.task.final_prompt:
            card.append("\n  proposed ", style="dim").append(one_line(run.task.final_prompt))
        return card

    def _rows(self, run: TaskRun) -> list[tuple[str, str]]:
        if run.task is None:
            return []
        info, buttons = run.task.info, run.task.buttons
        prompts = run.task.prompts
        rows = [(str(number), one_line(prompt)) for number, prompt in enumerate(prompts, 1)]
        links = info.video_urls or filter(None, [info.image_url])
        rows += [("link", one_line(link)) for link in links if not prompts]
        if buttons:
            rows.append(("buttons", " · ".join(button_names(buttons))))
        if run.file is not None:
            rows.append(("saved", path_text(run.file)))
        if self._links_expire and run.file is None and not prompts:
            note = "the link ends with this command: keep the picture with --save PATH"
            rows.append(("note", note))
        elif buttons and not self._links_expire:
            rows.append(("next", command("action", *self._flags, run.id, button_names(buttons)[0])))
        return rows


def _headline(run: TaskRun, title: str) -> Text:
    word, colour = ("done", "green") if run.error is None else ("failed", "red")
    if isinstance(run.error, ModalRequired):
        word, colour = "modal", "yellow"
    line = Text.assemble((word, f"bold {colour}"))
    for part in (run.id, run.task.info.action if run.task else ""):
        if part:
            line.append(f"  {one_line(part)}", style="cyan")
    return line.append(f"  {one_line(title)}")


class TaskDisplay(ConsoleOutput):
    """Shows the progress and the results of tasks, as a `ProgressListener`.

    Args:
        formatter: Formats the results.
        as_json: Print one JSON object for each task that has ended, instead.
        total: The number of tasks.
    """

    def __init__(self, formatter: TaskFormatter, *, as_json: bool, total: int) -> None:
        super().__init__()
        self._formatter = formatter
        self._as_json = as_json
        self._total = total
        self._ends = {True: 0, False: 0}
        self._last_lines: dict[TaskRun, str] = {}

    def __enter__(self) -> None:
        self.start_bars(self._total)

    def __exit__(self, *_: object) -> None:
        self.stop_bars()

    def task_started(self, run: TaskRun) -> None:
        """Show a task that is about to be sent."""
        if self._bars is not None:
            self._bars.update(run, one_line(run.title), 0, "sending")

    def task_changed(self, run: TaskRun) -> None:
        """Show the current state of a task."""
        state = run_state(run)
        if self._bars is not None:
            percent = 100 if run.info and run.info.status == "SUCCESS" else progress_of(run.info)
            saving = percent == 100 and run.save
            self._bars.update(run, one_line(run.title), percent, "saving" if saving else state)
        elif run.id and self._last_lines.get(run) != state:
            self._last_lines[run] = state
            self.info(f"{one_line(run.id, _MAX_ID_LENGTH)}  {state}")

    def task_ended(self, run: TaskRun) -> None:
        """Show the result of a task."""
        is_ok = run.error is None
        self._ends[is_ok] += 1
        self._last_lines.pop(run, None)
        if self._bars is not None:
            self._bars.drop(run)
            failed = f", {self._ends[False]} failed" if self._ends[False] else ""
            ended = sum(self._ends.values())
            self._bars.overall(ended, f"{ended} of {self._total}{failed}")
        if run.error is not None and self._total == 1 and is_usage(run.error):
            self.error(getattr(run.error, "message", ""))
            return
        if self._as_json:
            self._result(json_line(task_dict(run)))
        elif is_ok:
            self._result(self._formatter.format(run))
        if not is_ok:
            self.info(self._formatter.format_failure(run))

"""The output of a command, with progress bars on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Collection, Hashable
from typing import Final

import attrs
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.progress import BarColumn, Progress, ProgressColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Task as ProgressTask
from rich.table import Column
from rich.text import Text

from .console import safe_console

_BAR_WIDTH: Final = 24
_ECHO_WIDTH: Final = 4


class TitleColumn(ProgressColumn):
    """The prompt, shortened to the available width."""

    def __init__(self) -> None:
        super().__init__(table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"))

    def render(self, task: ProgressTask) -> Text:
        """Return the description on one line."""
        return Text(task.description, no_wrap=True, overflow="ellipsis")


@attrs.frozen
class NarrowRenderable:
    """Leaves room for the `^C` that a terminal echoes, which would otherwise wrap the line."""

    content: RenderableType

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        narrower = options.update_width(max(1, options.max_width - _ECHO_WIDTH))
        yield from console.render(self.content, narrower)


class JobProgress(Progress):
    """Bars that do not fill the whole line."""

    def get_renderable(self) -> RenderableType:
        """Return the bars, narrower than the line."""
        return NarrowRenderable(super().get_renderable())


class ProgressBars:
    """A bar for each running task, and one above them for all of several.

    Args:
        console: The terminal.
        total: The number of tasks.
    """

    def __init__(self, console: Console, total: int) -> None:
        self._progress = JobProgress(
            TitleColumn(),
            BarColumn(bar_width=_BAR_WIDTH),
            TextColumn("{task.fields[state]:<14}", markup=False),
            TimeElapsedColumn(),
            console=console,
            expand=True,
            transient=True,
            redirect_stdout=False,
        )
        self._progress.start()
        self._task_ids: dict[Hashable, TaskID] = {}
        self._overall: TaskID | None = None
        if total > 1:
            self._overall = self._progress.add_task(f"0 of {total}", total=total, state="")

    def stop(self) -> None:
        """Remove the bars."""
        self._progress.stop()

    def update(self, key: Hashable, title: str, percent: int, state: str) -> None:
        """Show the state of a task, in percent and in words."""
        if key not in self._task_ids:
            self._task_ids[key] = self._progress.add_task(title, total=100, state=state)
        row = self._task_ids[key]
        self._progress.update(row, completed=percent, state=state, description=title)

    def drop(self, key: Hashable) -> None:
        """Remove the bar of a task that has ended."""
        if key in self._task_ids:
            self._progress.remove_task(self._task_ids.pop(key))

    def keep_only(self, keys: Collection[Hashable]) -> None:
        """Remove the bars of all other tasks."""
        for key in [key for key in self._task_ids if key not in keys]:
            self.drop(key)

    def overall(self, done: int, title: str, state: str = "") -> None:
        """Show the state of all tasks together."""
        if self._overall is not None:
            self._progress.update(self._overall, completed=done, description=title, state=state)


class ConsoleOutput:
    """Prints results on stdout, and everything else on stderr, which may show bars."""

    def __init__(self) -> None:
        self._out = safe_console(sys.stdout)
        self._err = safe_console(sys.stderr)
        self._bars: ProgressBars | None = None

    def info(self, text: Text | str) -> None:
        """Print a note."""
        self._err.write_line(text)

    def error(self, text: str) -> None:
        """Print an error that ends the command."""
        self._err.write_line(Text.assemble(("mjasync: ", "bold red"), text))

    def start_bars(self, total: int) -> None:
        """Show bars for a number of tasks, if stderr is a terminal."""
        if self._err.is_interactive and sys.stderr.isatty():
            self._bars = ProgressBars(self._err, total)

    def stop_bars(self) -> None:
        """Remove the bars."""
        if self._bars is not None:
            self._bars.stop()
            self._bars = None

    def _result(self, text: Text | str) -> None:
        same_terminal = self._bars is not None and sys.stdout.isatty()
        (self._err if same_terminal else self._out).write_line(text)

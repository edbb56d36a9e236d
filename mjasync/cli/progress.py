"""Progress bars on a terminal."""

from __future__ import annotations

from collections.abc import Collection, Hashable
from typing import Final

import attrs
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.progress import BarColumn, Progress, ProgressColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Task as Row
from rich.table import Column
from rich.text import Text

__all__ = ["ProgressBars"]


_BAR_WIDTH: Final = 24


_ECHO_WIDTH: Final = 4


class TitleColumn(ProgressColumn):
    """The prompt, cut where the room ends."""

    def __init__(self) -> None:
        super().__init__(table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"))

    def render(self, task: Row) -> Text:
        return Text(task.description, no_wrap=True, overflow="ellipsis")


@attrs.frozen
class NarrowRenderable:
    """Leaves the end of each line to the `^C` that a terminal echoes: a wrap would upset it."""

    content: RenderableType

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        narrower = options.update_width(max(1, options.max_width - _ECHO_WIDTH))
        yield from console.render(self.content, narrower)


class JobProgress(Progress):
    """Rows that do not fill the whole line."""

    def get_renderable(self) -> RenderableType:
        return NarrowRenderable(super().get_renderable())


class ProgressBars:
    """A bar for everything under way, and one above them for all of it.

    Args:
        console: Where they are.
        total: How many things there are; the upper bar is for several.
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
        self._task_ids: dict[Hashable, TaskID] = {}
        self._overall: TaskID | None = None
        if total > 1:
            self._overall = self._progress.add_task(f"0 of {total}", total=total, state="")

    def start(self) -> None:
        """Put them on the terminal."""
        self._progress.start()

    def stop(self) -> None:
        """Take them away."""
        self._progress.stop()

    def update(self, key: Hashable, title: str, percent: int, state: str) -> None:
        """Show where something stands."""
        if key not in self._task_ids:
            self._task_ids[key] = self._progress.add_task(title, total=100, state=state)
        row = self._task_ids[key]
        self._progress.update(row, completed=percent, state=state, description=title)

    def drop(self, key: Hashable) -> None:
        """Something has ended."""
        if key in self._task_ids:
            self._progress.remove_task(self._task_ids.pop(key))

    def keep_only(self, keys: Collection[Hashable]) -> None:
        """Drop all but these."""
        for key in [key for key in self._task_ids if key not in keys]:
            self.drop(key)

    def overall(self, done: int, title: str, state: str = "") -> None:
        """Show where all of it stands."""
        if self._overall is not None:
            self._progress.update(self._overall, completed=done, description=title, state=state)

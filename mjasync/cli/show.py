"""What people see: bars on a terminal, plain lines in a pipe, JSON for machines.

Results go to stdout, everything else to stderr.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Sequence
from typing import Final, Protocol

import attrs
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.progress import BarColumn, Progress, ProgressColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Task as Row
from rich.table import Column
from rich.text import Text

from ..errors import ModalRequired
from .jobs import Job
from .words import command, explain, is_usage, names_of, one_line, record, stands

__all__ = ["BatchStyle", "CardStyle", "Screen", "Style"]

_BAR_WIDTH: Final = 24
_FOR_ECHO: Final = 4
_DONE: Final = ("done", "green")
_FAILED: Final = ("failed", "red")
_ASKED: Final = ("modal", "yellow")


class _Stream(Console):
    """A console whose end is not the end of the jobs: when its reader has left, they go on."""

    def on_broken_pipe(self) -> None:
        """Say nothing more, not even when what is left in the buffer is flushed at the end."""
        self.quiet = True
        with contextlib.suppress(OSError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.file.fileno())
            os.close(nowhere)

    def say(self, text: Text | str) -> None:
        """Print one piece of text as it is: no markup, no wrapping."""
        try:
            self.print(text, markup=False, emoji=False, highlight=False, soft_wrap=True)
            self.file.flush()
        except OSError:
            self.on_broken_pipe()


# --- how results look --------------------------------------------------------------------------


class Style(Protocol):
    """How a command shows a job that ended."""

    eager: bool
    """Whether a pipe is told every step on the way, or only the first: its id."""

    def step(self, job: Job, state: str) -> Text:
        """A job on its way."""
        ...

    def shown(self, job: Job) -> Text:
        """A job that was delivered."""
        ...

    def failed(self, job: Job) -> Text:
        """A job that was not."""
        ...


class CardStyle:
    """Everything about a task, for commands that have one or a few.

    Args:
        fleeting: Whether links die with this process.
        flags: The options that commands to copy need.
    """

    eager = True

    def __init__(self, *, fleeting: bool, flags: Sequence[str] = ()) -> None:
        self._fleeting = fleeting
        self._flags = flags

    def step(self, job: Job, state: str) -> Text:
        """Its id, and where it stands."""
        return Text(f"{job.id}  {state}")

    def shown(self, job: Job) -> Text:
        """Its id, link, buttons, words, file, and what may come next."""
        card = _headline(job, job.title)
        for name, value in self._rows(job):
            card.append(f"\n  {name:<8} ", style="dim").append(value)
        return card

    def failed(self, job: Job) -> Text:
        """What was asked, and why it failed."""
        card = _headline(job, one_line(job.title, 60))
        if job.error is not None:
            card.append(f"\n  {explain(job.error, self._flags)}")
        if isinstance(job.error, ModalRequired) and job.task and job.task.final_prompt:
            card.append("\n  proposed ", style="dim").append(one_line(job.task.final_prompt))
        return card

    def _rows(self, job: Job) -> list[tuple[str, str]]:
        if job.task is None:
            return []
        info, buttons = job.task.info, job.task.buttons
        words = job.task.prompts
        rows = [(str(number), one_line(prompt)) for number, prompt in enumerate(words, 1)]
        links = info.video_urls or filter(None, [info.image_url])
        rows += [("link", one_line(link)) for link in links if not words]
        if buttons:
            rows.append(("buttons", " · ".join(names_of(buttons))))
        if job.file is not None:
            rows.append(("saved", str(job.file)))
        if self._fleeting and job.file is None and not words:
            note = "the link ends with this command: keep the picture with --save PATH"
            rows.append(("note", note))
        elif buttons and not self._fleeting:
            rows.append(("next", command("action", *self._flags, job.id, names_of(buttons)[0])))
        return rows


class BatchStyle:
    """One line a task.

    Args:
        flags: The options that commands to copy need.
    """

    eager = False

    def __init__(self, *, flags: Sequence[str] = ()) -> None:
        self._flags = flags

    def step(self, job: Job, state: str) -> Text:
        """Its number and its id."""
        return Text(f"{'sent':<6} {job.number or '':>4}  {job.id}  {state}")

    def shown(self, job: Job) -> Text:
        """Its number and its file."""
        return _numbered(job).append(str(job.file or job.id))

    def failed(self, job: Job) -> Text:
        """Its number, its id where it has one, its prompt, and why it failed."""
        line = _numbered(job)
        if job.id:
            line.append(f"{job.id}  ", style="dim")
        line.append(one_line(job.title, 40))
        return line.append(f"  {explain(job.error, self._flags)}") if job.error else line


def _mark(job: Job) -> tuple[str, str]:
    """What became of it in a word, and its colour."""
    if job.error is None:
        return _DONE
    return _ASKED if isinstance(job.error, ModalRequired) else _FAILED


def _headline(job: Job, title: str) -> Text:
    word, colour = _mark(job)
    line = Text.assemble((word, f"bold {colour}"))
    for part in (job.id, job.task.info.action if job.task else ""):
        if part:
            line.append(f"  {one_line(part)}", style="cyan")
    return line.append(f"  {one_line(title)}")


def _numbered(job: Job) -> Text:
    word, colour = _mark(job)
    return Text.assemble((f"{word:<6}", colour), (f" {job.number or '':>4}  ", "dim"))


# --- the screen --------------------------------------------------------------------------------


class Screen:
    """Shows jobs as they go: an `Onlooker`.

    Args:
        style: How results look.
        as_json: Print one JSON object for each job that ended, instead.
        total: How many jobs there are.
    """

    def __init__(self, style: Style, *, as_json: bool, total: int) -> None:
        self._style = style
        self._as_json = as_json
        self._total = total
        self._out = _Stream(file=sys.stdout)
        self._err = _Stream(file=sys.stderr)
        self._ends = {True: 0, False: 0}
        self._said: dict[Job, str] = {}
        self._bars: _Bars | None = None
        if self._err.is_interactive and sys.stderr.isatty():
            self._bars = _Bars(self._err, total)

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

    def begin(self, job: Job) -> None:
        """Show a job that is about to be sent."""
        if self._bars is not None:
            self._bars.begin(job)

    def change(self, job: Job) -> None:
        """Show where a job stands now."""
        state = stands(job.info)
        if self._bars is not None:
            self._bars.change(job, state)
        elif self._said.get(job) != state and (self._style.eager or job not in self._said):
            self._said[job] = state
            self.note(self._style.step(job, state))

    def end(self, job: Job) -> None:
        """Show what became of a job."""
        ok = job.error is None
        self._ends[ok] += 1
        self._said.pop(job, None)
        if self._bars is not None:
            self._bars.end(job, self._ends)
        if job.error is not None and self._total == 1 and is_usage(job.error):
            self.complain(getattr(job.error, "message", ""))
            return
        if self._as_json:
            self._result(json.dumps(record(job)))
        elif ok:
            self._result(self._style.shown(job))
        if not ok:
            self.note(self._style.failed(job))

    # --- told by the command ---

    def note(self, text: Text | str) -> None:
        """Say something beside the results."""
        self._err.say(text)

    def complain(self, text: str) -> None:
        """Say that the command cannot go on."""
        self._err.say(Text.assemble(("mjasync: ", "bold red"), text))

    def _result(self, text: Text | str) -> None:
        same_terminal = self._bars is not None and sys.stdout.isatty()
        (self._err if same_terminal else self._out).say(text)


class _Title(ProgressColumn):
    """The prompt, cut where the room ends."""

    def __init__(self) -> None:
        super().__init__(table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"))

    def render(self, task: Row) -> Text:
        return Text(task.description, no_wrap=True, overflow="ellipsis")


@attrs.frozen
class _Narrower:
    """Leaves the end of each line to the `^C` that a terminal echoes: a wrap would upset it."""

    content: RenderableType

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        narrower = options.update_width(max(1, options.max_width - _FOR_ECHO))
        yield from console.render(self.content, narrower)


class _Progress(Progress):
    """Rows that do not fill the whole line."""

    def get_renderable(self) -> RenderableType:
        return _Narrower(super().get_renderable())


class _Bars:
    """A bar for every job under way, and one above them for a batch."""

    def __init__(self, console: Console, total: int) -> None:
        self._progress = _Progress(
            _Title(),
            BarColumn(bar_width=_BAR_WIDTH),
            TextColumn("{task.fields[state]:<14}", markup=False),
            TimeElapsedColumn(),
            console=console,
            expand=True,
            transient=True,
            redirect_stdout=False,
        )
        self._rows: dict[Job, TaskID] = {}
        self._whole: TaskID | None = None
        if total > 1:
            self._whole = self._progress.add_task("all", total=total, state=f"0 of {total}")
        self._total = total

    def start(self) -> None:
        self._progress.start()

    def stop(self) -> None:
        self._progress.stop()

    def begin(self, job: Job) -> None:
        title = one_line(job.title)
        self._rows[job] = self._progress.add_task(title, total=100, state="sending")

    def change(self, job: Job, state: str) -> None:
        info = job.info
        percent = 100 if info and info.status == "SUCCESS" else (info and info.progress) or 0
        shown = "saving" if percent == 100 and job.save else state
        self._progress.update(
            self._rows[job], completed=percent, state=shown, description=one_line(job.title)
        )

    def end(self, job: Job, ends: dict[bool, int]) -> None:
        self._progress.remove_task(self._rows.pop(job))
        if self._whole is not None:
            state = f"{sum(ends.values())} of {self._total}"
            if ends[False]:
                state += f", {ends[False]} failed"
            self._progress.update(self._whole, completed=sum(ends.values()), state=state)

"""What people see: bars on a terminal, plain lines in a pipe, JSON for machines.

Results go to stdout, everything else to stderr.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Collection, Hashable, Iterator, Sequence
from typing import IO, Any, Final, TextIO, cast

import attrs
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.progress import BarColumn, Progress, ProgressColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Task as Row
from rich.table import Column
from rich.text import Text

from ..errors import ModalRequired
from .console import block, silence
from .task_jobs import Job
from .task_text import (
    command,
    explain,
    is_usage,
    json_line,
    names_of,
    one_line,
    path_text,
    progress_of,
    record,
    stands_of,
)

__all__ = ["Bars", "Cards", "Screen", "Stream", "Voice", "on_terminal", "stream_to"]

_BAR_WIDTH: Final = 24
_FOR_ECHO: Final = 4
_WHICH: Final = 60
"""Characters of an id in a line about it."""
_DONE: Final = ("done", "green")
_FAILED: Final = ("failed", "red")
_ASKED: Final = ("modal", "yellow")


class Stream(Console):
    """A console whose end is not the end of the jobs: when its reader has left, they go on."""

    def on_broken_pipe(self) -> None:
        """Say nothing more, not even when what is left in the buffer is flushed at the end."""
        self.quiet = True
        silence(cast("TextIO", self.file))

    def say(self, text: Text | str) -> None:
        """Print one piece of text: no markup, no wrapping, and nothing that steers a terminal."""
        plain = block(str(text))
        shown = text if plain == str(text) else plain
        try:
            self.print(shown, markup=False, emoji=False, highlight=False, soft_wrap=True)
            self.file.flush()
        except OSError:
            self.on_broken_pipe()


class _Outlet:
    """A stream each of whose failures is that of a reader who has left, which consoles know.

    A terminal whose connection was dropped fails with another error than a pipe does.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write some text."""
        with _failing_as_a_pipe():
            return self._stream.write(text)

    def flush(self) -> None:
        """Have it written."""
        with _failing_as_a_pipe():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - the rest of the stream
        return getattr(self._stream, name)


@contextlib.contextmanager
def _failing_as_a_pipe() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BrokenPipeError from error


def stream_to(file: TextIO) -> Stream:
    """Make a console that survives its reader."""
    return Stream(file=cast("IO[str]", _Outlet(file)))


# --- how results look --------------------------------------------------------------------------


class Cards:
    """Everything about a task.

    Args:
        fleeting: Whether links die with this process.
        flags: The options that commands to copy need.
    """

    def __init__(self, *, fleeting: bool, flags: Sequence[str] = ()) -> None:
        self._fleeting = fleeting
        self._flags = flags

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
            rows.append(("saved", path_text(job.file)))
        if self._fleeting and job.file is None and not words:
            note = "the link ends with this command: keep the picture with --save PATH"
            rows.append(("note", note))
        elif buttons and not self._fleeting:
            rows.append(("next", command("action", *self._flags, job.id, names_of(buttons)[0])))
        return rows


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


# --- the screen --------------------------------------------------------------------------------


class Voice:
    """Says results on stdout, and everything else on stderr, where bars may be."""

    def __init__(self) -> None:
        self._out = stream_to(sys.stdout)
        self._err = stream_to(sys.stderr)
        self._bars: Bars | None = None

    def note(self, text: Text | str) -> None:
        """Say something beside the results."""
        self._err.say(text)

    def complain(self, text: str) -> None:
        """Say that the command cannot go on."""
        self._err.say(Text.assemble(("mjasync: ", "bold red"), text))

    def _result(self, text: Text | str) -> None:
        same_terminal = self._bars is not None and sys.stdout.isatty()
        (self._err if same_terminal else self._out).say(text)


class Screen(Voice):
    """Shows jobs as they go: an `Onlooker`.

    Args:
        cards: How results look.
        as_json: Print one JSON object for each job that ended, instead.
        total: How many jobs there are.
    """

    def __init__(self, cards: Cards, *, as_json: bool, total: int) -> None:
        super().__init__()
        self._cards = cards
        self._as_json = as_json
        self._total = total
        self._ends = {True: 0, False: 0}
        self._said: dict[Job, str] = {}
        if on_terminal(self._err):
            self._bars = Bars(self._err, total)

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
            self._bars.show(job, one_line(job.title), 0, "sending")

    def change(self, job: Job) -> None:
        """Show where a job stands now."""
        state = stands_of(job)
        if self._bars is not None:
            percent = 100 if job.info and job.info.status == "SUCCESS" else progress_of(job.info)
            saving = percent == 100 and job.save
            self._bars.show(job, one_line(job.title), percent, "saving" if saving else state)
        elif job.id and self._said.get(job) != state:
            self._said[job] = state
            self.note(f"{one_line(job.id, _WHICH)}  {state}")

    def end(self, job: Job) -> None:
        """Show what became of a job."""
        ok = job.error is None
        self._ends[ok] += 1
        self._said.pop(job, None)
        if self._bars is not None:
            self._bars.drop(job)
            failed = f", {self._ends[False]} failed" if self._ends[False] else ""
            ended = sum(self._ends.values())
            self._bars.overall(ended, f"{ended} of {self._total}{failed}")
        if job.error is not None and self._total == 1 and is_usage(job.error):
            self.complain(getattr(job.error, "message", ""))
            return
        if self._as_json:
            self._result(json_line(record(job)))
        elif ok:
            self._result(self._cards.shown(job))
        if not ok:
            self.note(self._cards.failed(job))


def on_terminal(console: Console) -> bool:
    """Whether bars can be shown there."""
    return console.is_interactive and sys.stderr.isatty()


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


class Bars:
    """A bar for everything under way, and one above them for all of it.

    Args:
        console: Where they are.
        total: How many things there are; the upper bar is for several.
    """

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
        self._rows: dict[Hashable, TaskID] = {}
        self._whole: TaskID | None = None
        if total > 1:
            self._whole = self._progress.add_task(f"0 of {total}", total=total, state="")

    def start(self) -> None:
        """Put them on the terminal."""
        self._progress.start()

    def stop(self) -> None:
        """Take them away."""
        self._progress.stop()

    def show(self, key: Hashable, title: str, percent: int, state: str) -> None:
        """Show where something stands."""
        if key not in self._rows:
            self._rows[key] = self._progress.add_task(title, total=100, state=state)
        row = self._rows[key]
        self._progress.update(row, completed=percent, state=state, description=title)

    def drop(self, key: Hashable) -> None:
        """Something has ended."""
        if key in self._rows:
            self._progress.remove_task(self._rows.pop(key))

    def keep(self, keys: Collection[Hashable]) -> None:
        """Drop all but these."""
        for key in [key for key in self._rows if key not in keys]:
            self.drop(key)

    def overall(self, done: int, title: str, state: str = "") -> None:
        """Show where all of it stands."""
        if self._whole is not None:
            self._progress.update(self._whole, completed=done, description=title, state=state)

"""What the command line says about a task or an error: to people, and to machines. Pure."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from .. import Button, TaskInfo, classify_button, printable
from ..errors import (
    ConfigurationError,
    InvalidRequest,
    LinkRefused,
    MJError,
    ModalNotOpened,
    SubmitUncertain,
    TaskFailed,
    TaskTimeout,
)

if TYPE_CHECKING:
    from .task_jobs import TaskRun

__all__ = [
    "MAX_LINE",
    "button_names",
    "command",
    "duration",
    "explain",
    "is_usage",
    "json_line",
    "one_line",
    "path_text",
    "progress_of",
    "run_state",
    "task_dict",
    "task_state",
]

MAX_LINE: Final = 4000
"""Characters of one line; signed links are long, and have to be shown whole."""
_MAX_STATUS: Final = 40
_STATES: Final[Mapping[str, str]] = {
    "NOT_START": "waiting",
    "SUBMITTED": "submitted",
    "MODAL": "modal",
    "IN_PROGRESS": "drawing",
    "SUCCESS": "done",
    "FAILURE": "failed",
    "CANCEL": "cancelled",
}
_PHASE_TEXT: Final[Mapping[str, str]] = {
    "waiting": "waiting",
    "preparing": "preparing",
    "queued": "queued here",
}
"""The same before it is sent, by phase."""
_HELD_UP: Final[Mapping[str, str]] = {
    "QueueFull": "queue full",
    "RateLimited": "rate limit",
    "NoAccount": "no account",
    "ConnectionFailed": "no connection",
}
"""What a submission is held up by."""
_NEXT_STEPS: Final[Mapping[str, str]] = {
    "ModalNotOpened": "The job runs and is paid: mjasync watch {flags}{id}",
    "ModalRequired": "Answer it: mjasync modal {flags}{id} --prompt TEXT",
    "ClientClosed": "What the server accepted goes on: mjasync watch {flags}{id}",
    "LinkRefused": "See to where the link leads before you follow it.",
    "TaskShadowed": (
        "The job may have been drawn, and paid, all the same: look for its state in the server's "
        "task list before you send it again."
    ),
    "NoAccount": "Try again later, or ask whoever runs the server.",
    "RateLimited": "Try again later, and more slowly.",
    "ReplyTooLarge": "Check the base URL, or ask whoever runs the server.",
    "TooManyOpenFiles": "Close some, or raise the limit: ulimit -n.",
    "QueueFull": "Try again later, or with a smaller --limit.",
    "SubmitUncertain": (
        "Do not send it again blindly: look for its state {state} in the server's task list first."
    ),
    "RequestTimeout": "Reads are safe to repeat: mjasync watch {flags}{id}",
    "TaskTimeout": "The job goes on: mjasync watch {flags}{id}",
}
"""What to do next, where the library's own hint speaks of Python. By class, subclasses too."""

_OPTIONS: Final[Mapping[str, str]] = {
    "Check the token": "Check MJASYNC_TOKEN (or --token)",
    "pass one to Client, or set MJASYNC_TOKEN": "set MJASYNC_TOKEN, or pass --token",
}
"""What the library calls by arguments, and commands by options."""
_ARGUMENT: Final = re.compile(r'\b(auth|speed_via|speed|image_host)="(\w+)"')


def one_line(text: str, max_length: int = MAX_LINE) -> str:
    """Render text from elsewhere as one line that cannot steer a terminal, cut to `max_length`."""
    line = printable(" ".join(text.split()), max_length)
    return line if len(line) <= max_length else f"{line[: max_length - 1].rstrip()}…"


def path_text(path: object) -> str:
    """Render a path, its spaces as they are."""
    return printable(path, None)


def command(*words: str) -> str:
    """A command to copy, quoted for a shell."""
    return " ".join(map(_quoted, ("mjasync", *words)))


def _quoted(word: str) -> str:
    """Quote a word; what cannot be shown is written as an escape that shells read."""
    if printable(word, None) == word:
        return shlex.quote(word)
    escaped = word.replace("\\", "\\\\").replace("'", "\\'")
    return f"$'{printable(escaped, None)}'"


def json_line(record: object) -> str:
    """One line of JSON in ASCII, so that a terminal shows what it says instead of obeying it."""
    return json.dumps(record).replace("\x7f", "\\u007f")


def duration(seconds: float) -> str:
    """About how long: seconds, or minutes from two on."""
    return f"{round(seconds)} s" if seconds < 120 else f"{round(seconds / 60)} min"


def task_state(info: TaskInfo | None) -> str:
    """Where a task stands, in a word and perhaps a percentage."""
    if info is None or not info.id:
        return "sending"
    word = _STATES.get(info.status) or one_line(info.status.lower(), _MAX_STATUS)
    running = info.status == "IN_PROGRESS" and info.progress is not None
    return f"{word} {info.progress}%" if running else word


def run_state(job: TaskRun) -> str:
    """Where a job stands, while the server does not have it yet as well."""
    task = job.task
    if task is None:
        return task_state(None)
    if task.held_up is not None:
        classes = (cls.__name__ for cls in type(task.held_up.error).__mro__)
        return next((_HELD_UP[name] for name in classes if name in _HELD_UP), "held up")
    return _PHASE_TEXT.get(task.phase) or task_state(task.info)


def progress_of(info: TaskInfo | None) -> int:
    """How far a task is, in percent; 0 where nobody knows."""
    return (info.progress if info else None) or 0


def button_names(buttons: Collection[Button]) -> list[str]:
    """What to type for each button: its label, else what it means, else its emoji."""
    return [
        one_line(
            button.label or str(classify_button(button) or "") or button.emoji or button.custom_id
        )
        for button in buttons
    ]


# --- errors ------------------------------------------------------------------------------------


def explain(error: BaseException, flags: Sequence[str] = ()) -> str:
    """An error in one line: what happened, the server's own words, and the command that helps.

    `flags` are the options which that command needs to reach the same server.
    """
    if not isinstance(error, MJError):
        cause = getattr(error, "orig", None)  # a database's: SQLAlchemy repeats the statement
        if cause is not None:
            return one_line(f"The ledger cannot be used: {cause}")
        words = _without_number(error) or type(error).__name__
        known = isinstance(error, OSError)
        return one_line(words if known else f"{type(error).__name__}: {words}")
    classes = (cls.__name__ for cls in type(error).__mro__)
    hint = next((_NEXT_STEPS[name] for name in classes if name in _NEXT_STEPS), None)
    if isinstance(error, ModalNotOpened) and error.info is not None and error.info.status.is_final:
        hint = "It is finished and asks for nothing: mjasync watch {flags}{id} --save PATH"
    if isinstance(error, LinkRefused) and error.http_status is not None:
        hint = None  # the gateway refuses, and the error says what it has to be told
    if hint is None:
        return one_line(_in_options(str(error)))
    happened = str(error).removesuffix(error.next_step).strip()
    if isinstance(error, TaskTimeout) and error.is_unsent and not error.task_id:
        return one_line(f"{happened} The server does not have it: try again, or raise --timeout.")
    if "{id}" in hint and not error.task_id:
        return one_line(happened)
    given = "".join(f"{_quoted(flag)} " for flag in flags)
    step = hint.format(id=_quoted(error.task_id), state=_run_phase(error), flags=given)
    return one_line(f"{happened} {step}")


def _without_number(error: BaseException) -> str:
    """The words of an error, without the number that the system has for it."""
    said = str(error)
    if isinstance(error, OSError) and error.strerror:
        said = said.removeprefix(f"[Errno {error.errno}] ")
    return said


def _in_options(text: str) -> str:
    """What the library says of its arguments, as options of the command line."""
    for said, here in _OPTIONS.items():
        text = text.replace(said, here)
    return _ARGUMENT.sub(lambda found: f"--{found[1].replace('_', '-')} {found[2]}", text)


def is_usage(error: BaseException | None) -> bool:
    """Whether an error is about how the command was called, not about what a server said."""
    if isinstance(error, ConfigurationError):
        return True
    return (
        isinstance(error, InvalidRequest)
        and not isinstance(error, TaskFailed)
        and error.code is None
        and error.http_status is None
        and not error.task_id
    )


def _run_phase(error: BaseException) -> str | None:
    return error.state if isinstance(error, SubmitUncertain) else None


# --- for machines ------------------------------------------------------------------------------


def task_dict(job: TaskRun) -> dict[str, Any]:
    """The JSON of one finished job. Every key is always there."""
    info = job.info
    known = info.to_dict() if info is not None and info.id else _empty_task_dict()
    return {
        "ok": job.error is None,
        **known,
        "prompt": (known["prompt"] or job.prompt) or None,
        "file": str(job.file) if job.file else None,
        "error": None if job.error is None else _error_dict(job.error),
    }


def _empty_task_dict() -> dict[str, Any]:
    """Return the record of a task that no server has told of."""
    return {
        name: [] if name in {"buttons", "prompts"} else None for name in TaskInfo(id="").to_dict()
    }


def _error_dict(error: BaseException) -> dict[str, Any]:
    return {
        "type": type(error).__name__,
        "message": explain(error),
        "reason": getattr(error, "reason", None) or getattr(error, "description", None) or None,
        "code": getattr(error, "code", None),
        "http_status": getattr(error, "http_status", None),
        "retryable": getattr(error, "retryable", False),
        "state": _run_phase(error),
    }

"""Text and JSON about a task or an error."""

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

MAX_LINE: Final = 4000
"""Characters of one line; signed links are long, and must be complete."""
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
"""States of a task before it is sent, by phase."""
_HELD_UP: Final[Mapping[str, str]] = {
    "QueueFull": "queue full",
    "RateLimited": "rate limit",
    "NoAccount": "no account",
    "ConnectionFailed": "no connection",
}
"""States of a submission that is held up, by error."""
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
"""The next step by error, subclasses included, in place of hints that are about Python."""
_OPTIONS: Final[Mapping[str, str]] = {
    "Check the token": "Check MJASYNC_TOKEN (or --token)",
    "pass one to Client, or set MJASYNC_TOKEN": "set MJASYNC_TOKEN, or pass --token",
}
"""Hints about arguments of the library, and the same about options."""
_ARGUMENT: Final = re.compile(r'\b(auth|speed_via|speed|image_host)="(\w+)"')


def one_line(text: str, max_length: int = MAX_LINE) -> str:
    """Return text as one escaped line of at most `max_length` characters."""
    line = printable(" ".join(text.split()), max_length)
    return line if len(line) <= max_length else f"{line[: max_length - 1].rstrip()}…"


def path_text(path: object) -> str:
    """Return a path, escaped, with its spaces unchanged."""
    return printable(path, None)


def command(*arguments: str) -> str:
    """Return a command to copy, quoted for a shell."""
    return " ".join(map(_quoted, ("mjasync", *arguments)))


def _quoted(argument: str) -> str:
    """Quote an argument; invisible characters become escapes that shells understand."""
    if printable(argument, None) == argument:
        return shlex.quote(argument)
    escaped = argument.replace("\\", "\\\\").replace("'", "\\'")
    return f"$'{printable(escaped, None)}'"


def json_line(record: object) -> str:
    """Return one line of JSON in ASCII, which cannot control a terminal."""
    return json.dumps(record).replace("\x7f", "\\u007f")


def task_state(info: TaskInfo | None) -> str:
    """Return the state of a task in a word, while it runs with its percentage."""
    if info is None or not info.id:
        return "sending"
    word = _STATES.get(info.status) or one_line(info.status.lower(), _MAX_STATUS)
    running = info.status == "IN_PROGRESS" and info.progress is not None
    return f"{word} {info.progress}%" if running else word


def run_state(run: TaskRun) -> str:
    """Return the state of a task, also before the server has it."""
    task = run.task
    if task is None:
        return task_state(None)
    if task.held_up is not None:
        classes = (cls.__name__ for cls in type(task.held_up.error).__mro__)
        return next((_HELD_UP[name] for name in classes if name in _HELD_UP), "held up")
    return _PHASE_TEXT.get(task.phase) or task_state(task.info)


def progress_of(info: TaskInfo | None) -> int:
    """Return the progress of a task in percent; 0 if unknown."""
    return (info.progress if info else None) or 0


def button_names(buttons: Collection[Button]) -> list[str]:
    """Return what to type for each button: its label, meaning, emoji or custom id."""
    return [
        one_line(
            button.label or str(classify_button(button) or "") or button.emoji or button.custom_id
        )
        for button in buttons
    ]


def explain(error: BaseException, flags: Sequence[str] = ()) -> str:
    """Return an error as one line: what happened, the server's own words, and the next command.

    Args:
        error: The error.
        flags: The server options of that command.
    """
    if not isinstance(error, MJError):
        return one_line(_explain_foreign(error))
    classes = (cls.__name__ for cls in type(error).__mro__)
    hint = next((_NEXT_STEPS[name] for name in classes if name in _NEXT_STEPS), None)
    if isinstance(error, ModalNotOpened) and error.info is not None and error.info.status.is_final:
        hint = "It is finished and asks for nothing: mjasync watch {flags}{id} --save PATH"
    if isinstance(error, LinkRefused) and error.http_status is not None:
        hint = None  # the gateway refuses, and the error has a hint of its own
    if hint is None:
        return one_line(_in_options(str(error)))
    happened = str(error).removesuffix(error.next_step).strip()
    if isinstance(error, TaskTimeout) and error.is_unsent and not error.task_id:
        return one_line(f"{happened} The server does not have it: try again, or raise --timeout.")
    if "{id}" in hint and not error.task_id:
        return one_line(happened)
    options = "".join(f"{_quoted(flag)} " for flag in flags)
    state = getattr(error, "state", None)
    next_step = hint.format(id=_quoted(error.task_id), state=state, flags=options)
    return one_line(f"{happened} {next_step}")


def _explain_foreign(error: BaseException) -> str:
    """Return the text of an error of the system, a database or Python."""
    cause = getattr(error, "orig", None)  # of a database: SQLAlchemy repeats the statement
    if cause is not None:
        return f"The ledger cannot be used: {cause}"
    text, name = str(error), type(error).__name__
    if isinstance(error, OSError):
        return text.removeprefix(f"[Errno {error.errno}] ") or name
    return f"{name}: {text or name}"


def _in_options(text: str) -> str:
    """Replace arguments of the library by options of the command line."""
    for argument, option in _OPTIONS.items():
        text = text.replace(argument, option)
    return _ARGUMENT.sub(lambda match: f"--{match[1].replace('_', '-')} {match[2]}", text)


def is_usage(error: BaseException | None) -> bool:
    """Return whether an error is about the command line, not about a reply of a server."""
    if isinstance(error, ConfigurationError):
        return True
    return (
        isinstance(error, InvalidRequest)
        and not isinstance(error, TaskFailed)
        and error.code is None
        and error.http_status is None
        and not error.task_id
    )


def task_dict(run: TaskRun) -> dict[str, Any]:
    """Return the JSON of a task that has ended, in which no key is ever missing."""
    info = run.info or TaskInfo(id="")
    fields = info.to_dict()
    if not info.id:
        fields = {name: [] if name in {"buttons", "prompts"} else None for name in fields}
    return {
        "ok": run.error is None,
        **fields,
        "prompt": (fields["prompt"] or run.prompt) or None,
        "file": str(run.file) if run.file else None,
        "error": None if run.error is None else _error_dict(run.error),
    }


def _error_dict(error: BaseException) -> dict[str, Any]:
    return {
        "type": type(error).__name__,
        "message": explain(error),
        "reason": getattr(error, "reason", None) or getattr(error, "description", None) or None,
        "code": getattr(error, "code", None),
        "http_status": getattr(error, "http_status", None),
        "retryable": getattr(error, "retryable", False),
        "state": error.state if isinstance(error, SubmitUncertain) else None,
    }

"""The base class of all errors: its message, its facts, and how it is pickled and copied."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self, TypeVar

from ._text import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._models import TaskInfo

E = TypeVar("E", bound="MJError")


class MJError(Exception):
    """The base class of all errors of this package.

    Attributes:
        message: What happened, in one sentence.
        description: The server's own words, unchanged; "" if there are none.
        code: The protocol code of the reply (PROTOCOL §2), or None.
        http_status: The HTTP status of the reply, or None if there was no reply.
        retry_after: Seconds that the server asked to wait, or None.
        task: The `Task` concerned, or None.
        task_id: The id of that task, or "". It survives pickling, unlike `task`.
        info: The last state of that task, or None.
        gathered: All Tasks of the `gather` that raised this error, each with its own `error`.
    """

    retryable: ClassVar[bool] = False
    """Whether the same call may be repeated later without the risk of paying twice."""
    hint: str = ""
    """What to do next, for every error of this class."""

    def __init__(
        self,
        message: str,
        *,
        description: str = "",
        code: int | None = None,
        http_status: int | None = None,
        retry_after: float | None = None,
        task: Any = None,  # noqa: ANN401 - a Task, which this module cannot import
        task_id: str = "",
        info: TaskInfo | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.description = description
        self.code = code
        self.http_status = http_status
        self.retry_after = retry_after
        self.info: TaskInfo | None = info
        self.task_id: str = task_id
        self.task: Any = None
        self.gathered: tuple[Any, ...] = ()
        if task is not None:
            self._attach(task)

    def _attach(self, task: Any) -> Self:  # noqa: ANN401
        """Attach the Task that this error is about."""
        self.task = task
        self.info = task.info
        self.task_id = task.id
        return self

    def __str__(self) -> str:
        parts = [self.message]
        if self.task_id and self.task_id not in self.message:
            parts.append(f"(task {printable(self.task_id)})")
        parts += [text for text in (self.server_text, self.next_step) if text]
        return printable(" ".join(parts), None)

    @property
    def server_text(self) -> str:
        """The server's own words with the code and the HTTP status; "" if it did not reply."""
        facts = [f"code {self.code}"] if self.code is not None else []
        if self.http_status is not None:
            facts.append(f"HTTP {self.http_status}")
        origin = f" ({', '.join(facts)})" if facts else ""
        if self.description:
            return f"The server said: '{printable(self.description)}'{origin}."
        return f"The server gave no reason{origin}." if facts else ""

    @property
    def next_step(self) -> str:
        """What to do next: the end of the message."""
        return self.hint

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self}>"

    def __reduce__(self) -> tuple[Any, ...]:
        kept = {
            name: value
            for name, value in self.__dict__.items()
            if name not in _UNPICKLED_ATTRIBUTES
        }
        return _rebuild, (type(self), self.message, kept)

    def _copy(self) -> Self:
        """Return a copy without a traceback, so that every waiter raises its own."""
        error = _rebuild(type(self), self.message, self.__dict__)
        error.__cause__ = self.__cause__
        return error


MJError.__module__ = "mjasync.errors"  # as tracebacks and pickles name it
_UNPICKLED_ATTRIBUTES: Final = frozenset({"task", "gathered"})
"""Attributes that belong to a running client and cannot be pickled."""


def _rebuild(cls: type[E], message: str, kept: Mapping[str, Any]) -> E:
    error = cls.__new__(cls, message)
    error.args = (message,)
    error.__dict__.update({"task": None, "gathered": (), **kept})
    if "__notes__" in kept:  # each waiter adds its own notes
        error.__notes__ = list(kept["__notes__"])
    return error


def copy_for_raising(error: BaseException) -> BaseException:
    """Return a copy of an error, so that several waiters can add notes of their own."""
    if isinstance(error, MJError):
        return error._copy()  # noqa: SLF001 - defined above
    try:
        copied = copy(error)
    except Exception:  # noqa: BLE001 - not every exception can be copied
        return error
    if hasattr(error, "__notes__"):
        copied.__notes__ = list(error.__notes__)
    copied.__cause__ = error.__cause__
    return copied.with_traceback(error.__traceback__)

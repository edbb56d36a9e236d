"""Everything mjasync raises, in one tree under `MJError`.

Each message has three parts: what happened, the server's own words, and what to do next. Each class
has `retryable`: True when the very same call may be made again later without the risk of paying
twice. All of them pickle (a pickled error keeps `task_id` and `info`, not the live `task`).
"""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self, TypeVar

from ._text import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._models import TaskInfo

__all__ = [
    "AuthenticationError",
    "BannedPrompt",
    "ButtonNotFound",
    "ClientClosed",
    "ConfigurationError",
    "ConnectionFailed",
    "InvalidRequest",
    "LinkExpired",
    "LinkRefused",
    "MJError",
    "MalformedReply",
    "ModalNotOpened",
    "ModalRequired",
    "NoAccount",
    "QueueFull",
    "QuotaExhausted",
    "RateLimited",
    "ReplyTooLarge",
    "RequestTimeout",
    "ServerError",
    "SubmitUncertain",
    "TaskBanned",
    "TaskCancelled",
    "TaskFailed",
    "TaskNotFound",
    "TaskNotReady",
    "TaskShadowed",
    "TaskStalled",
    "TaskTimeout",
    "TooManyOpenFiles",
    "UnsupportedEndpoint",
]


E = TypeVar("E", bound="MJError")


class MJError(Exception):
    """Base of every error of this package.

    Attributes:
        message: What happened, in one sentence.
        description: The server's own words, untouched, or "".
        code: The protocol code of the reply (PROTOCOL §2), or None.
        http_status: The HTTP status of the reply, or None when there was none.
        retry_after: Seconds the server asked to wait, or None.
        task: The `Task` concerned, or None. It can be awaited again where the class says so.
        task_id: Its id, or "" (survives pickling, unlike `task`).
        info: Its last snapshot, or None.
        gathered: All the Tasks of the `gather` that raised this, each with its own `error`.
    """

    retryable: ClassVar[bool] = False
    """Whether the very same call may be made again later without the risk of paying twice."""
    hint: str = ""
    """What to do next."""

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
        """Say which Task this is about."""
        self.task = task
        self.info = task.info
        self.task_id = task.id
        return self

    def __str__(self) -> str:
        parts = [self.message]
        if self.task_id and self.task_id not in self.message:
            parts.append(f"(task {printable(self.task_id)})")
        said = self._server_text()
        if said:
            parts.append(said)
        if self.next_step:
            parts.append(self.next_step)
        return printable(" ".join(parts), None)

    def _server_text(self) -> str:
        facts = [f"code {self.code}"] if self.code is not None else []
        if self.http_status is not None:
            facts.append(f"HTTP {self.http_status}")
        origin = f" ({', '.join(facts)})" if facts else ""
        if self.description:
            return f"The server said: '{printable(self.description)}'{origin}."
        return f"The server gave no reason{origin}." if facts else ""

    @property
    def next_step(self) -> str:
        """What to do next, as the message ends."""
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
        """Return a twin without a traceback, so that every waiter raises one of its own."""
        twin = _rebuild(type(self), self.message, self.__dict__)
        twin.__cause__ = self.__cause__
        return twin


_CONTENT_TOO_LARGE: Final = 413
_UNPICKLED_ATTRIBUTES: Final = frozenset({"task", "gathered"})
"""What belongs to a running client and does not pickle."""


def _rebuild(cls: type[E], message: str, kept: Mapping[str, Any]) -> E:
    error = cls.__new__(cls, message)
    error.args = (message,)
    error.__dict__.update({"task": None, "gathered": (), **kept})
    if "__notes__" in kept:  # each waiter adds notes to its own
        error.__notes__ = list(kept["__notes__"])
    return error


def copy_for_raising(error: BaseException) -> BaseException:
    """Return a copy of an error, so that what one waiter adds to it no other sees."""
    if isinstance(error, MJError):
        return error._copy()  # noqa: SLF001 - one of ours
    try:
        twin = copy(error)
    except Exception:  # noqa: BLE001 - some cannot be copied
        return error
    if hasattr(error, "__notes__"):
        twin.__notes__ = list(error.__notes__)
    twin.__cause__ = error.__cause__
    return twin.with_traceback(error.__traceback__)


class ConfigurationError(MJError, ValueError):
    """The client was set up in a way that cannot work (no base URL, unknown speed…)."""


class ClientClosed(MJError, RuntimeError):
    """The client was used after it was closed, or closed while this was waiting."""

    hint = "Open a new Client; tasks the server accepted go on: resume them with mj.task(id)."


# --- the way to the server ---------------------------------------------------------------------


class ConnectionFailed(MJError, ConnectionError):
    """No connection came about, or a read was cut off: the server took nothing new."""

    retryable = True
    hint = "Check the base URL, the network and that the server is up, then try again."


class TooManyOpenFiles(ConnectionFailed):
    """No connection came about for want of a free file descriptor on this side."""

    hint = (
        "Close some, raise the limit (`ulimit -n`), or pass a session with fewer connections: "
        "ClientSession(connector=TCPConnector(limit=…))."
    )


class RequestTimeout(MJError, TimeoutError):
    """A read (never a submission) got no answer in time."""

    retryable = True
    hint = "Reads are safe to repeat: try again, or raise read_timeout."


class SubmitUncertain(MJError):
    """A submission went out, but whether the server took it is unknown. It may have been paid.

    Attributes:
        endpoint: What was asked ("imagine", "action"…).
        payload: The JSON body as sent.
        state: The unique mark sent along; the server keeps it on the task it may have made.
    """

    hint = (
        "Do not send it again blindly: look for its `state` in the server's task list first, where "
        "it has one."
    )

    def __init__(
        self,
        message: str,
        *,
        endpoint: str = "",
        payload: Mapping[str, Any] | None = None,
        state: str = "",
        **facts: Any,  # noqa: ANN401 - the base's keywords
    ) -> None:
        super().__init__(message, **facts)
        self.endpoint = endpoint
        self.payload: Mapping[str, Any] = payload or {}
        self.state = state


# --- what the server refuses -------------------------------------------------------------------


class AuthenticationError(MJError):
    """The server does not accept the token (or this address)."""

    hint = 'Check the token; some gateways want auth="bearer".'


class InvalidRequest(MJError, ValueError):
    """The request is wrong as it stands; the same request will be refused again."""

    hint = "Change the request: sending it again unchanged will be refused again."

    @property
    def next_step(self) -> str:
        """What to do next; where no server has said no, it can only be to mend it."""
        if type(self) is InvalidRequest and self.http_status == _CONTENT_TOO_LARGE:
            return (
                "Send smaller pictures, or links to them; or raise the limit of what stands in "
                "front of the server."
            )
        is_local = type(self) is InvalidRequest and not self._server_text()
        return "Correct it and try again." if is_local else self.hint


class BannedPrompt(InvalidRequest):
    """The prompt holds a word the server refuses.

    Attributes:
        word: The word the server named, or "".
        prompt_en: The English prompt it was found in, or "".
    """

    hint = "Reword the prompt: the same words will be refused again."

    def __init__(
        self,
        message: str,
        *,
        word: str = "",
        prompt_en: str = "",
        **facts: Any,  # noqa: ANN401 - the base's keywords
    ) -> None:
        super().__init__(message, **facts)
        self.word = word
        self.prompt_en = prompt_en


class QueueFull(MJError):
    """The server's queue is full; it did not take the job."""

    retryable = True
    hint = "Submit a new Task later, or run fewer at once (gather(limit=…))."


class RateLimited(MJError):
    """Too many requests; `retry_after` says how long to wait where the server did."""

    retryable = True
    hint = "Wait (see retry_after), then ask again more slowly; a submission by a new Task."


class NoAccount(MJError):
    """No usable Midjourney account or channel behind the server; the job was not taken."""

    retryable = True
    hint = "Submit a new Task later, or ask whoever runs the server."


class QuotaExhausted(MJError):
    """The balance or daily allowance behind the token is used up."""

    hint = "Top up the balance or wait for the next day."


class TaskNotFound(MJError, LookupError):
    """The server does not know this task (any more)."""

    hint = (
        "Check the id and that it belongs to this token; "
        "servers with an in-memory store lose their tasks when restarted."
    )


class TaskShadowed(TaskNotFound):
    """The server gave the task's id to another one as well, and shows that one instead."""

    hint = (
        "The job may have been drawn, and paid, all the same: look for its `state` in the server's "
        "task list. To have it drawn again, submit a new Task."
    )


class TaskNotReady(MJError):
    """The server does not yet see the task as finished, so it takes no follow-up of it."""

    retryable = True
    hint = "Gateways lag up to 15 s behind: try again shortly."


class UnsupportedEndpoint(MJError):
    """This server does not offer that operation (or the base URL points elsewhere)."""

    hint = "Check the base URL; if that is right, this server cannot do it."

    @property
    def next_step(self) -> str:
        """What to do next: a server that said so in its own JSON is the right one."""
        is_known = self.code is not None or self.http_status is None
        return "Do without it, or use another server or account." if is_known else self.hint


class ServerError(MJError):
    """The server failed; where it was a submission, the server said that it took nothing."""

    retryable = True
    hint = "Try again later; if it stays, ask whoever runs the server."


class MalformedReply(MJError):
    """A read was answered with something that is not what the protocol promises."""

    retryable = True
    hint = "Try again; if it stays, check that the base URL is that of a Midjourney-Proxy server."


class ReplyTooLarge(MalformedReply):
    """An answer, a picture or a video is longer than `Client(limits=…)` lets it be."""

    retryable = False
    hint = "If that is what you want, allow more: Client(limits=Limits(…))."


class LinkRefused(MJError):
    """The picture's link may not be followed: `image_links` forbids it, or the gateway does."""

    hint = 'If you trust the server, pass image_links="any", or a function that allows the link.'

    @property
    def next_step(self) -> str:
        """What to do next: it depends on who refuses."""
        by_gateway = (
            "Whoever runs the gateway can allow it: in new-api's system settings, let its SSRF "
            "protection pass private IPs and the upstream's port, or stop it from forwarding "
            "Midjourney's links."
        )
        return by_gateway if self.http_status == 403 else self.hint


class LinkExpired(MJError):
    """The picture's link no longer answers, and the server gave no fresh one that does."""

    hint = "Save pictures soon after they are finished: servers keep their links for a while only."


# --- what becomes of a task --------------------------------------------------------------------


class ButtonNotFound(MJError, LookupError):
    """The task has no such button; the message names those it has and the nearest match."""


class ModalRequired(MJError):
    """The server waits for the answer to a modal: `await error.task.modal(…)` goes on."""

    hint = "Answer it: await error.task.modal(prompt); without a prompt its own text is kept."


class ModalNotOpened(MJError):
    """`modal()` was asked for, but the server went ahead without one: `task` is that job."""

    hint = "The job runs and is paid: await error.task for its result."


class TaskFailed(MJError):
    """The task ended in FAILURE; `reason` is the server's own.

    Attributes:
        reason: The server's failReason, or "".
    """

    hint = "The job is over; a new one may be submitted."

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        **facts: Any,  # noqa: ANN401 - the base's keywords
    ) -> None:
        super().__init__(message, **facts)
        self.reason = reason
        self.description: str = self.description or reason


class TaskBanned(BannedPrompt, TaskFailed):
    """The task ended in FAILURE because of a banned word the server found late."""

    hint = "Reword the prompt: the same words will fail again."


class TaskCancelled(TaskFailed):
    """The task was cancelled on the server, or closed before it was sent."""


class TaskTimeout(MJError, TimeoutError):
    """Waiting took longer than `timeout`; the remote job goes on and can be awaited again.

    Attributes:
        is_unsent: Whether the server had certainly not taken the job by then.
    """

    retryable = True
    hint = "The job goes on: await error.task again, or mj.task(id) in another process."
    is_unsent: bool = False

    def _mark_unsent(self, held_up_by: MJError | None) -> None:
        """Say that the server does not have the job, and what it was last refused for."""
        self.is_unsent = True
        if held_up_by is None:
            return
        self.message: str = f"{self.message} It could not be submitted so far: {held_up_by.message}"
        self.description: str = held_up_by.description
        self.code: int | None = held_up_by.code
        self.http_status: int | None = held_up_by.http_status

    @property
    def next_step(self) -> str:
        """What to do next: it depends on whether the server has the job."""
        if self.task_id:
            return self.hint
        if self.is_unsent:
            return "The server does not have it yet: await error.task again to go on."
        return (
            "Whether the server accepted it is not known yet: await error.task again to go on; "
            "a new Task could be paid twice."
        )


class TaskStalled(TaskTimeout):
    """Nothing changed for as long as `stall_timeout`; the job may be stuck on the server."""

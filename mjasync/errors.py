"""The errors of this package, in one tree under `MJError`.

Each message has three parts: what happened, the server's own words, and what to do next. Each class
has `retryable`: True if the same call may be repeated later without the risk of paying twice. All
errors can be pickled; a pickled error keeps `task_id` and `info`, but not `task`.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from ._error_base import MJError

if TYPE_CHECKING:
    from collections.abc import Mapping

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


class ConfigurationError(MJError, ValueError):
    """A setting is missing or invalid, for example the base URL or the speed."""


class ClientClosed(MJError, RuntimeError):
    """The client was used after it was closed, or was closed during a wait."""

    hint = "Open a new Client; accepted tasks continue on the server: use mj.task(id)."


class ConnectionFailed(MJError, ConnectionError):
    """There was no connection, or a read was interrupted. The server accepted nothing."""

    retryable = True
    hint = "Check the base URL, the network and whether the server is up, then try again."


class TooManyOpenFiles(ConnectionFailed):
    """There was no connection because this process has too many open files."""

    hint = (
        "Close files, raise the limit (`ulimit -n`), or pass a session with fewer connections: "
        "ClientSession(connector=TCPConnector(limit=…))."
    )


class RequestTimeout(MJError, TimeoutError):
    """A read took too long. Submissions raise `SubmitUncertain` instead."""

    retryable = True
    hint = "Reads are safe to repeat: try again, or raise read_timeout."


class SubmitUncertain(MJError):
    """A submission was sent, but the server may or may not have accepted it. It may be paid.

    Attributes:
        endpoint: The name of the submission, for example "imagine" or "action".
        payload: The JSON body as sent.
        state: The unique identifier in the payload. If the server created a task, it has it, too.
    """

    hint = (
        "Do not send it again blindly: look for its `state` in the server's task list first, if "
        "the server has one."
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


class AuthenticationError(MJError):
    """The server refuses the token, or the address of this machine."""

    hint = 'Check the token; some gateways require auth="bearer".'


class InvalidRequest(MJError, ValueError):
    """The request is wrong: the same request will be refused again."""

    hint = "Change the request: sending it again unchanged will be refused again."

    @property
    def next_step(self) -> str:
        """What to do next; it depends on whether the server or this package refused."""
        if type(self) is InvalidRequest and self.http_status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            return (
                "Send smaller images, or links to them; or raise the limit of the proxy in front "
                "of the server."
            )
        is_local = type(self) is InvalidRequest and not self.server_text
        return "Correct it and try again." if is_local else self.hint


class BannedPrompt(InvalidRequest):
    """The prompt contains a word that the server refuses.

    Attributes:
        word: The banned word, or "" if the server does not name it.
        prompt_en: The translated prompt that contains the word, or "".
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
    """The queue of the server is full. It did not accept the submission."""

    retryable = True
    hint = "Submit a new Task later, or run fewer at once (gather(limit=…))."


class RateLimited(MJError):
    """There were too many requests. `retry_after` has the delay, if the server requested one."""

    retryable = True
    hint = "Wait (see retry_after), then send fewer requests; submit again with a new Task."


class NoAccount(MJError):
    """The server has no usable Midjourney account. It did not accept the submission."""

    retryable = True
    hint = "Submit a new Task later, or ask the operator of the server."


class QuotaExhausted(MJError):
    """The balance or the daily quota of the token is used up."""

    hint = "Top up the balance or wait for the next day."


class TaskNotFound(MJError, LookupError):
    """The server does not know this task, or not any more."""

    hint = (
        "Check the id, and that it belongs to this token; "
        "servers that keep tasks in memory lose them when they restart."
    )


class TaskShadowed(TaskNotFound):
    """The server has given the id of this task to another one, and returns that one instead."""

    hint = (
        "The task may run, and be paid, all the same: look for its `state` in the server's task "
        "list. To run it again, submit a new Task."
    )


class TaskNotReady(MJError):
    """The server does not see the task as finished yet, so it accepts no follow-up."""

    retryable = True
    hint = "Gateways lag by up to 15 s: try again soon."


class UnsupportedEndpoint(MJError):
    """The server does not have this operation, or the base URL is wrong."""

    hint = "Check the base URL; if it is right, this server does not have this operation."

    @property
    def next_step(self) -> str:
        """What to do next; a server that refused in its own JSON has the right URL."""
        is_known = self.code is not None or self.http_status is None
        return "Do without it, or use another server or account." if is_known else self.hint


class ServerError(MJError):
    """The server failed. If this was a submission, it reported that it accepted nothing."""

    retryable = True
    hint = "Try again later; if the error persists, ask the operator of the server."


class MalformedReply(MJError):
    """The response to a read does not follow the protocol."""

    retryable = True
    hint = "Try again; if the error persists, check that the base URL is a Midjourney-Proxy server."


class ReplyTooLarge(MalformedReply):
    """A response, an image or a video is larger than `Client(limits=…)` allows."""

    retryable = False
    hint = "If the size is expected, raise the limit: Client(limits=Limits(…))."


class LinkRefused(MJError):
    """The link of an image may not be followed: `image_links` or the gateway forbids it."""

    hint = 'If you trust the server, pass image_links="any", or a function that allows the link.'

    @property
    def next_step(self) -> str:
        """What to do next; it depends on whether the gateway refused."""
        by_gateway = (
            "The operator of the gateway can allow it: in the system settings of new-api, let the "
            "SSRF protection pass private IPs and the port of the upstream, or turn off the "
            "forwarding of Midjourney's links."
        )
        return by_gateway if self.http_status == 403 else self.hint


class LinkExpired(MJError):
    """The link of an image has expired, and the server has no newer one that works."""

    hint = "Save images soon after they are finished: links work for a limited time."


class ButtonNotFound(MJError, LookupError):
    """The task has no such button. The message lists its buttons and the nearest match."""


class ModalRequired(MJError):
    """The server waits for the answer to a modal: `await error.task.modal(…)` continues."""

    hint = "Answer it: await error.task.modal(prompt); without a prompt, its own text is used."


class ModalNotOpened(MJError):
    """`modal()` was called, but the server started the task without a modal. See `task`."""

    hint = "The task runs and is paid: await error.task for its result."


class TaskFailed(MJError):
    """The task ended in FAILURE.

    Attributes:
        reason: The `failReason` of the server, or "".
    """

    hint = "The task has ended; you may submit a new one."

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
    """The task ended in FAILURE because of a banned word."""

    hint = "Reword the prompt: the same words will fail again."


class TaskCancelled(TaskFailed):
    """The task was cancelled on the server, or closed before it was sent."""


class TaskTimeout(MJError, TimeoutError):
    """A wait took longer than `timeout`. The task continues and can be awaited again.

    Attributes:
        is_unsent: Whether the server had certainly not accepted the task by then.
    """

    retryable = True
    hint = "The task continues: await error.task again, or mj.task(id) in another process."
    is_unsent: bool = False

    def _mark_unsent(self, held_up_by: MJError | None) -> None:
        """Note that the server does not have the task, and the last refusal."""
        self.is_unsent = True
        if held_up_by is None:
            return
        self.message: str = f"{self.message} It could not be submitted so far: {held_up_by.message}"
        self.description: str = held_up_by.description
        self.code: int | None = held_up_by.code
        self.http_status: int | None = held_up_by.http_status

    @property
    def next_step(self) -> str:
        """What to do next; it depends on whether the server has the task."""
        if self.task_id:
            return self.hint
        if self.is_unsent:
            return "The server does not have it yet: await error.task again to continue."
        return (
            "Whether the server accepted it is not known yet: await error.task again to continue; "
            "a new Task could be paid twice."
        )


class TaskStalled(TaskTimeout):
    """Nothing changed for `stall_timeout` seconds. The task may be stuck on the server."""

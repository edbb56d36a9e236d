"""One submission as it is sent: its operation, endpoint and payload."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import attrs

from .._protocol.parsing import Operation
from .._protocol.urls import Route
from .._text import printable
from ..errors import InvalidRequest, SubmitUncertain
from .bodies import Body, in_words, make_body

__all__ = ["Submission", "_about", "_as_sent", "_check", "make_submission", "torn_off"]


@attrs.frozen(kw_only=True)
class Submission:
    """One paid POST, ready to be sent."""

    endpoint: str
    """`imagine`, `action`…: what stands after `/submit/`."""
    payload: Mapping[str, Any] = attrs.field(repr=False)
    body: bytes | Body = attrs.field(repr=False)
    operation: Operation
    expects: str = ""
    """What the server will probably call the job: how long it takes depends on that."""
    path: str | None = None
    """Where it goes, where that is not `submit/<endpoint>`."""
    content_type: str = "application/json"
    route: Route | None = None
    """Another speed or image host than the client's."""
    exclusive: str = ""
    """Of submissions with the same word here, one job is under way at a time."""

    @property
    def title(self) -> str:
        """What it asks for, and its mark, for the log."""
        about = self.payload.get("prompt") or self.payload.get("taskId") or ""
        return f"{self.endpoint} {printable(about, 40)!r} ({printable(self.state, 60)})"

    @property
    def state(self) -> str:
        """The mark by which it can be found again."""
        return str(self.payload.get("state", ""))


def make_submission(
    endpoint: str,
    payload: Mapping[str, Any],
    operation: Operation,
    *,
    expects: str = "",
    path: str | None = None,
    route: Route | None = None,
    exclusive: str = "",
) -> Submission:
    """Put a request together; in a thread where pictures make it large."""
    return Submission(
        endpoint=endpoint,
        payload=payload,
        body=make_body(payload),
        operation=operation,
        expects=expects,
        path=path,
        route=route,
        exclusive=exclusive,
    )


def torn_off(submission: Submission) -> SubmitUncertain:
    """What a submission is that somebody cancelled while it was on the wire."""
    message = f"The {submission.endpoint} request was cancelled while it was on the wire."
    return _about(submission, SubmitUncertain(message))


def _about(submission: Submission, error: SubmitUncertain) -> SubmitUncertain:
    """Say on an error which submission it is about."""
    error.endpoint, error.state = submission.endpoint, submission.state
    error.payload = submission.payload
    return error


async def _check(body: bytes | Body) -> None:
    """See to it that all of it can be sent, while whoever leaves still keeps it from being sent.

    Raises:
        InvalidRequest: A file is gone, or has changed.
    """
    if isinstance(body, Body):
        await body.check()


async def _as_sent(submission: Submission) -> Mapping[str, Any]:
    """The payload, its pictures as the texts that went out, if they can be read and kept."""
    if isinstance(submission.body, bytes):
        return submission.payload
    try:
        return await asyncio.to_thread(in_words, submission.payload)
    except (MemoryError, InvalidRequest):
        return submission.payload

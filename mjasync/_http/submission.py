"""The request of a submission: its operation, endpoint and payload."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import attrs

from .._protocol.parsing import Operation
from .._protocol.urls import ServerUrl
from .._text import printable
from ..errors import InvalidRequest, SubmitUncertain
from .bodies import RequestBody, encode_body, payload_with_data_urls


@attrs.frozen(kw_only=True)
class SubmitRequest:
    """One paid POST, ready to be sent."""

    endpoint: str
    """The path after `/submit/`: "imagine", "action"…"""
    payload: Mapping[str, Any] = attrs.field(repr=False)
    body: bytes | RequestBody = attrs.field(repr=False)
    operation: Operation
    expected_action: str = ""
    """The probable `action` of the task, on which its duration depends."""
    path: str | None = None
    """The path after `/mj/`, if it is not `submit/<endpoint>`."""
    content_type: str = "application/json"
    url: ServerUrl | None = None
    """The URL with the speed and the image host of this submission."""
    exclusive_key: str = ""
    """Of submissions with the same key, only one runs at a time; "" for no such limit."""

    @property
    def log_label(self) -> str:
        """A description with the prompt or the task, and the state, for the log."""
        subject = self.payload.get("prompt") or self.payload.get("taskId") or ""
        return f"{self.endpoint} {printable(subject, 40)!r} ({printable(self.state, 60)})"

    @property
    def state(self) -> str:
        """The identifier by which the task can be found in the list of the server."""
        return str(self.payload.get("state", ""))


def build_submit_request(
    endpoint: str,
    payload: Mapping[str, Any],
    operation: Operation,
    *,
    expected_action: str = "",
    path: str | None = None,
    url: ServerUrl | None = None,
    exclusive_key: str = "",
) -> SubmitRequest:
    """Return a request with an encoded body; call it in a thread if there are images."""
    return SubmitRequest(
        endpoint=endpoint,
        payload=payload,
        body=encode_body(payload),
        operation=operation,
        expected_action=expected_action,
        path=path,
        url=url,
        exclusive_key=exclusive_key,
    )


def cancelled_in_flight(submission: SubmitRequest) -> SubmitUncertain:
    """Return the error of a submission that was cancelled in flight."""
    message = f"The {submission.endpoint} request was cancelled in flight."
    return attach_submission(submission, SubmitUncertain(message))


def attach_submission(submission: SubmitRequest, error: SubmitUncertain) -> SubmitUncertain:
    """Attach a submission to an error, and return the error."""
    error.endpoint, error.state = submission.endpoint, submission.state
    error.payload = submission.payload
    return error


async def check_body(body: bytes | RequestBody) -> None:
    """Check that all files can be sent, while a cancellation still prevents the request.

    Raises:
        InvalidRequest: A file is gone, or has changed.
    """
    if isinstance(body, RequestBody):
        await body.check()


async def payload_as_sent(submission: SubmitRequest) -> Mapping[str, Any]:
    """Return the payload with its images as sent, if they can still be read."""
    if isinstance(submission.body, bytes):
        return submission.payload
    try:
        return await asyncio.to_thread(payload_with_data_urls, submission.payload)
    except (MemoryError, InvalidRequest):
        return submission.payload

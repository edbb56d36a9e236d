"""The bodies the simulator answers with, built by hand so that no client code is involved."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import attrs
import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "Refusal",
    "Reply",
    "bare",
    "json_reply",
    "not_successful",
    "refuse",
    "spring_error",
    "submit_result",
    "success_false",
]

_REASONS = {
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    405: "Method Not Allowed",
    415: "Unsupported Media Type",
    500: "Internal Server Error",
}
_TICKS_AT_EPOCH = 621_355_968_000_000_000


@attrs.frozen(kw_only=True)
class Reply:
    """One HTTP answer, before any scripted misbehaviour."""

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"
    """Left out of the answer when the body is empty."""
    delay: float = 0.0
    """Real seconds the server takes over it."""
    headers: Mapping[str, str] = attrs.field(factory=dict)
    """Headers besides the usual ones."""
    dropped: bool = False
    """Whether the connection is closed instead of an answer."""


class Refusal(Exception):
    """Raised by a handler to answer at once with ``reply``."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.status)
        self.reply = reply


def json_reply(value: object, status: int = 200) -> Reply:
    """Any value as JSON."""
    return Reply(status=status, body=orjson.dumps(value))


def submit_result(
    code: int,
    description: str,
    result: object = None,
    properties: Mapping[str, object] | None = None,
    *,
    status: int = 200,
) -> Reply:
    """A SubmitResult (PROTOCOL §2)."""
    body = {
        "code": code,
        "description": description,
        "result": result,
        "properties": properties or {},
    }
    return json_reply(body, status)


def refuse(
    code: int,
    description: str,
    properties: Mapping[str, object] | None = None,
    *,
    status: int = 200,
) -> Refusal:
    """The exception that answers with a SubmitResult that accepts nothing."""
    return Refusal(submit_result(code, description, None, properties, status=status))


def bare(refusal: Refusal) -> Refusal:
    """The same with nothing but its code and its description (PROTOCOL §1.12)."""
    body = orjson.loads(refusal.reply.body)
    kept = {key: body[key] for key in ("code", "description")}
    return Refusal(json_reply(kept, refusal.reply.status))


def spring_error(status: int, path: str) -> Reply:
    """What Spring answers when a request does not bind (PROTOCOL §7.1-H)."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    body = {"timestamp": now, "status": status, "error": _REASONS[status], "path": path}
    return json_reply(body, status)


def success_false(status: int, path: str) -> Reply:
    """What the .NET server answers when a request does not bind (PROTOCOL §7.1-C).

    A wrong media type never reaches its model binder: it is a bare 415.
    """
    if status == 415:
        return Reply(status=status)
    return not_successful(f"The request to {path} could not be read.")


def not_successful(message: str) -> Reply:
    """What the .NET server answers when its logic objects (PROTOCOL §7.1-C)."""
    ticks = str(_TICKS_AT_EPOCH + time.time_ns() // 100)
    return json_reply({"success": False, "code": -1, "message": message, "timestamp": ticks})

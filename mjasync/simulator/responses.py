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
    "RequestRefused",
    "SimResponse",
    "asp_net_binding_error",
    "asp_net_error",
    "empty_response",
    "json_response",
    "make_refusal",
    "spring_error",
    "submit_result",
]

_REASON_PHRASES = {
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    405: "Method Not Allowed",
    415: "Unsupported Media Type",
    500: "Internal Server Error",
}
_TICKS_AT_EPOCH = 621_355_968_000_000_000


@attrs.frozen(kw_only=True)
class SimResponse:
    """One HTTP answer, before any scripted misbehaviour."""

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"
    """Left out of the answer when the body is empty."""
    delay: float = 0.0
    """Real seconds the server takes over it."""
    headers: Mapping[str, str] = attrs.field(factory=dict)
    """Headers besides the usual ones."""
    closes_connection: bool = False
    """Whether the connection is closed instead of an answer."""


class RequestRefused(Exception):
    """Raised by a handler to answer at once with ``response``."""

    def __init__(self, response: SimResponse) -> None:
        super().__init__(response.status)
        self.response = response


def json_response(value: object, status: int = 200) -> SimResponse:
    """Any value as JSON."""
    return SimResponse(status=status, body=orjson.dumps(value))


def submit_result(
    code: int,
    description: str,
    result: object = None,
    properties: Mapping[str, object] | None = None,
    *,
    status: int = 200,
) -> SimResponse:
    """A SubmitResult (PROTOCOL §2)."""
    body = {
        "code": code,
        "description": description,
        "result": result,
        "properties": properties or {},
    }
    return json_response(body, status)


def make_refusal(
    code: int,
    description: str,
    properties: Mapping[str, object] | None = None,
    *,
    status: int = 200,
) -> RequestRefused:
    """The exception that answers with a SubmitResult that accepts nothing."""
    return RequestRefused(submit_result(code, description, None, properties, status=status))


def empty_response(refusal: RequestRefused) -> RequestRefused:
    """The same with nothing but its code and its description (PROTOCOL §1.12)."""
    body = orjson.loads(refusal.response.body)
    fields = {key: body[key] for key in ("code", "description")}
    return RequestRefused(json_response(fields, refusal.response.status))


def spring_error(status: int, path: str) -> SimResponse:
    """What Spring answers when a request does not bind (PROTOCOL §7.1-H)."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    body = {"timestamp": now, "status": status, "error": _REASON_PHRASES[status], "path": path}
    return json_response(body, status)


def asp_net_binding_error(status: int, path: str) -> SimResponse:
    """What the .NET server answers when a request does not bind (PROTOCOL §7.1-C).

    A wrong media type never reaches its model binder: it is a bare 415.
    """
    if status == 415:
        return SimResponse(status=status)
    return asp_net_error(f"The request to {path} could not be read.")


def asp_net_error(message: str) -> SimResponse:
    """What the .NET server answers when its logic objects (PROTOCOL §7.1-C)."""
    ticks = str(_TICKS_AT_EPOCH + time.time_ns() // 100)
    return json_response({"success": False, "code": -1, "message": message, "timestamp": ticks})

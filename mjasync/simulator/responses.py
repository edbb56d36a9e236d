"""The responses of the simulator, built without any code of the client."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import attrs
import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping

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
    """One HTTP response, before any scripted fault."""

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"
    """Omitted when the body is empty."""
    delay: float = 0.0
    """Real seconds before it is sent."""
    headers: Mapping[str, str] = attrs.field(factory=dict)
    """Additional headers."""
    closes_connection: bool = False
    """Whether the connection is closed without a response."""


class RequestRefused(Exception):
    """Raised to end the handling of a request with ``response``."""

    def __init__(self, response: SimResponse) -> None:
        super().__init__(response.status)
        self.response = response


def json_response(value: object, status: int = 200) -> SimResponse:
    """Return a value as JSON."""
    return SimResponse(status=status, body=orjson.dumps(value))


def submit_result(
    code: int,
    description: str,
    result: object = None,
    properties: Mapping[str, object] | None = None,
    *,
    status: int = 200,
) -> SimResponse:
    """Return a SubmitResult (PROTOCOL §2)."""
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
    """Return the refusal with a SubmitResult (PROTOCOL §2)."""
    return RequestRefused(submit_result(code, description, None, properties, status=status))


def empty_response(refusal: RequestRefused) -> RequestRefused:
    """Return a refusal with nothing but its code and its description (PROTOCOL §1.12)."""
    body = orjson.loads(refusal.response.body)
    fields = {key: body[key] for key in ("code", "description")}
    return RequestRefused(json_response(fields, refusal.response.status))


def spring_error(status: int, path: str) -> SimResponse:
    """Return the response of Spring to a request that does not bind (PROTOCOL §7.1-H)."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    body = {"timestamp": now, "status": status, "error": _REASON_PHRASES[status], "path": path}
    return json_response(body, status)


def asp_net_binding_error(status: int, path: str) -> SimResponse:
    """Return the response of the .NET server to a request that does not bind (PROTOCOL §7.1-C).

    A wrong media type is an empty 415: it never reaches the model binder.
    """
    if status == 415:
        return SimResponse(status=status)
    return asp_net_error(f"The request to {path} could not be read.")


def asp_net_error(message: str) -> SimResponse:
    """Return the response of the .NET server to an error of its logic (PROTOCOL §7.1-C)."""
    ticks = str(_TICKS_AT_EPOCH + time.time_ns() // 100)
    return json_response({"success": False, "code": -1, "message": message, "timestamp": ticks})

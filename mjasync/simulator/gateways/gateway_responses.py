"""The answers that only gateways give (PROTOCOL §7.1 D, E, F, G, K)."""

from __future__ import annotations

from typing import Final

import attrs

from ..responses import RequestRefused, SimResponse, json_response

__all__ = [
    "CLOSED_CONNECTION",
    "GO_JSON_TYPE",
    "NOT_FOUND_PAGE",
    "PLAIN_TEXT_TYPE",
    "local_error",
    "moved_response",
    "openai_error",
    "panic_response",
    "string_error",
    "typed_response",
    "unknown_url_error",
]

GO_JSON_TYPE: Final = "application/json; charset=utf-8"
"""What Go's web framework calls its own JSON."""
PLAIN_TEXT_TYPE: Final = "text/plain; charset=utf-8"
"""What Go takes a body for when nobody says what it is (PROTOCOL §7.1)."""

_WEB_PAGE: Final = b"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>API gateway</title></head>
<body><noscript>You need to enable JavaScript to run this app.</noscript><div id="root"></div>
<script type="module" src="/assets/index.js"></script></body></html>
"""

NOT_FOUND_PAGE: Final = SimResponse(body=_WEB_PAGE, content_type="text/html")
"""Any path or method that is not registered: the web page, 200 (PROTOCOL §7.1-K, §7.5)."""
CLOSED_CONNECTION: Final = SimResponse(closes_connection=True)
"""No answer: the connection is closed."""


def typed_response(
    value: object, status: int = 200, content_type: str = GO_JSON_TYPE
) -> SimResponse:
    """Any value as JSON, called by a name of Go's."""
    return attrs.evolve(json_response(value, status), content_type=content_type)


def local_error(
    description: str,
    code: int = 4,
    error_type: str = "upstream_error",
    *,
    result: str = "",
    content_type: str = GO_JSON_TYPE,
) -> RequestRefused:
    """Shape D; the description ends in the result, or in a blank where there is none."""
    body = {"code": code, "description": f"{description} {result}", "type": error_type}
    return RequestRefused(typed_response(body, 400, content_type))


def openai_error(
    status: int, message: str, error_type: str, request_id: str, code: str | None = None
) -> RequestRefused:
    """Shape E; newer gateways have a ``code``, mostly an empty one."""
    full_message = f"{message} (request id: {request_id})"
    code_field = {} if code is None else {"code": code}
    return RequestRefused(
        typed_response(
            {"error": {**code_field, "message": full_message, "type": error_type}}, status
        )
    )


def unknown_url_error(method: str, path: str, keys: tuple[str, ...]) -> SimResponse:
    """The answer to what looks like an API of OpenAI, or of the gateway itself, and is none."""
    error = {"message": f"Invalid URL ({method} {path})", "type": "invalid_request_error"}
    return typed_response({"error": {key: error.get(key, "") for key in keys}}, 404)


def moved_response(method: str, path: str) -> SimResponse:
    """A redirect to the path without its last slash."""
    headers = {"Location": path}
    if method == "GET":
        body = f'<a href="{path}">Moved Permanently</a>.\n\n'.encode()
        return SimResponse(status=301, body=body, content_type="text/html", headers=headers)
    return SimResponse(status=307, headers=headers)


def string_error(status: int, error: str) -> SimResponse:
    """Shape F."""
    return typed_response({"error": error}, status)


def panic_response(body: dict[str, object]) -> RequestRefused:
    """What is left of a handler that crashed: HTTP 500."""
    return RequestRefused(typed_response({"error": body}, 500))

"""The answers that only gateways give (PROTOCOL §7.1 D, E, F, G, K)."""

from __future__ import annotations

from typing import Final

import attrs

from ..responses import Refusal, Reply, json_reply

__all__ = [
    "DROPPED",
    "JSON",
    "NOTHING_HERE",
    "PLAIN",
    "fault",
    "local_error",
    "moved",
    "openai_error",
    "panic",
    "typed",
    "unknown_url",
]

JSON: Final = "application/json; charset=utf-8"
"""What Go's web framework calls its own JSON."""
PLAIN: Final = "text/plain; charset=utf-8"
"""What Go takes a body for when nobody says what it is (PROTOCOL §7.1)."""

_PAGE: Final = b"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>API gateway</title></head>
<body><noscript>You need to enable JavaScript to run this app.</noscript><div id="root"></div>
<script type="module" src="/assets/index.js"></script></body></html>
"""

NOTHING_HERE: Final = Reply(body=_PAGE, content_type="text/html")
"""Any path or method that is not registered: the web page, 200 (PROTOCOL §7.1-K, §7.5)."""
DROPPED: Final = Reply(dropped=True)
"""No answer: the connection is closed."""


def typed(value: object, status: int = 200, content_type: str = JSON) -> Reply:
    """Any value as JSON, called by a name of Go's."""
    return attrs.evolve(json_reply(value, status), content_type=content_type)


def local_error(
    description: str,
    code: int = 4,
    kind: str = "upstream_error",
    *,
    result: str = "",
    content_type: str = JSON,
) -> Refusal:
    """Shape D; the description ends in the result, or in a blank where there is none."""
    body = {"code": code, "description": f"{description} {result}", "type": kind}
    return Refusal(typed(body, 400, content_type))


def openai_error(
    status: int, message: str, kind: str, request_id: str, code: str | None = None
) -> Refusal:
    """Shape E; newer gateways have a ``code``, mostly an empty one."""
    told = f"{message} (request id: {request_id})"
    coded = {} if code is None else {"code": code}
    return Refusal(typed({"error": {**coded, "message": told, "type": kind}}, status))


def unknown_url(method: str, path: str, keys: tuple[str, ...]) -> Reply:
    """The answer to what looks like an API of OpenAI, or of the gateway itself, and is none."""
    told = {"message": f"Invalid URL ({method} {path})", "type": "invalid_request_error"}
    return typed({"error": {key: told.get(key, "") for key in keys}}, 404)


def moved(method: str, path: str) -> Reply:
    """A redirect to the path without its last slash."""
    headers = {"Location": path}
    if method == "GET":
        body = f'<a href="{path}">Moved Permanently</a>.\n\n'.encode()
        return Reply(status=301, body=body, content_type="text/html", headers=headers)
    return Reply(status=307, headers=headers)


def fault(status: int, error: str) -> Reply:
    """Shape F."""
    return typed({"error": error}, status)


def panic(body: dict[str, object]) -> Refusal:
    """What is left of a handler that crashed: HTTP 500."""
    return Refusal(typed({"error": body}, 500))

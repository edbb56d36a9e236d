"""The responses that only gateways give (PROTOCOL §7.1 D, F, K)."""

from __future__ import annotations

from typing import Final

import attrs

from ..responses import RequestRefused, SimResponse, json_response

GO_JSON_TYPE: Final = "application/json; charset=utf-8"
"""The content type that Go's web framework gives to its own JSON."""
PLAIN_TEXT_TYPE: Final = "text/plain; charset=utf-8"
"""The content type that Go detects for a body that has none (PROTOCOL §7.1)."""
WEB_PAGE: Final = SimResponse(
    body=b"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>API gateway</title></head>
<body><noscript>You need to enable JavaScript to run this app.</noscript><div id="root"></div>
<script type="module" src="/assets/index.js"></script></body></html>
""",
    content_type="text/html",
)
"""The response to any path or method that is not registered: 200 (PROTOCOL §7.1-K, §7.5)."""


def go_json_response(
    value: object, status: int = 200, content_type: str = GO_JSON_TYPE
) -> SimResponse:
    """Return a value as JSON with the content type that Go gives to it."""
    return attrs.evolve(json_response(value, status), content_type=content_type)


def local_error(
    description: str,
    code: int = 4,
    error_type: str = "upstream_error",
    *,
    result: str = "",
    content_type: str = GO_JSON_TYPE,
) -> RequestRefused:
    """Return a refusal of shape D; its description ends in the result, or in a blank."""
    body = {"code": code, "description": f"{description} {result}", "type": error_type}
    return RequestRefused(go_json_response(body, 400, content_type))


def string_error(status: int, error: str) -> SimResponse:
    """Return a response of shape F."""
    return go_json_response({"error": error}, status)

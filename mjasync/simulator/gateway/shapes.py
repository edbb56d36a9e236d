"""The answers that only gateways give (PROTOCOL §7.1 D, E, F, G, K)."""

from __future__ import annotations

from typing import Final

from ..replies import Refusal, Reply, json_reply

__all__ = ["NOTHING_HERE", "PLAIN", "fault", "local_error", "openai_error", "panic"]

PLAIN: Final = "text/plain; charset=utf-8"
"""What Go takes a body for when nobody says what it is (PROTOCOL §7.1)."""

_PAGE: Final = b"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>API gateway</title></head>
<body><noscript>You need to enable JavaScript to run this app.</noscript><div id="root"></div>
<script type="module" src="/assets/index.js"></script></body></html>
"""

NOTHING_HERE: Final = Reply(body=_PAGE, content_type="text/html")
"""Any path or method that is not registered: the web page, 200 (PROTOCOL §7.1-K, §7.5)."""


def local_error(description: str, code: int = 4, kind: str = "upstream_error") -> Refusal:
    """Shape D; the description ends in a blank where the result would stand."""
    return Refusal(
        json_reply({"description": f"{description} ", "type": kind, "code": code}, status=400)
    )


def openai_error(status: int, message: str, kind: str, request_id: str) -> Refusal:
    """Shape E."""
    told = f"{message} (request id: {request_id})"
    return Refusal(json_reply({"error": {"message": told, "type": kind}}, status=status))


def fault(status: int, error: str) -> Reply:
    """Shape F."""
    return json_reply({"error": error}, status=status)


def panic(body: dict[str, object]) -> Refusal:
    """What is left of a handler that crashed: HTTP 500."""
    return Refusal(json_reply({"error": body}, status=500))

"""What surrounds a gateway's API: browsers' questions, the web page, guards that turn away."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import attrs
from aiohttp import web

from ..responses import SimResponse
from .gateway_responses import (
    NOT_FOUND_PAGE,
    moved_response,
    string_error,
    typed_response,
    unknown_url_error,
)
from .gateway_routes import redirect_target

if TYPE_CHECKING:
    from ..faults import FaultScript
    from .gateway_dialects import ResellerDialect

__all__ = ["GatewayMiddleware", "answer_preflight", "cors_headers"]

_CORS_HEADERS: Final = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Credentials": "true",
}
_PREFLIGHT_HEADERS: Final = {
    **_CORS_HEADERS,
    "Access-Control-Allow-Headers": "*",
    "Access-Control-Allow-Methods": "GET,POST,PUT,DELETE,OPTIONS",
}
_WEB_LIMIT_WINDOW_SECONDS: Final = 180.0
"""Simulated seconds for which the web limit remembers a request."""
_WEB_PORTS: Final = frozenset({80, 443, 8080, 8443})
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


def cors_headers(request: web.BaseRequest, *, echoes_origin: bool = False) -> Mapping[str, str]:
    """The headers that let every page read an answer."""
    origin = request.headers.get("Origin")
    if origin is None:
        return {}
    return (
        {**_CORS_HEADERS, "Access-Control-Allow-Origin": origin} if echoes_origin else _CORS_HEADERS
    )


def answer_preflight(
    request: web.BaseRequest, *, echoes_origin: bool = False
) -> SimResponse | None:
    """The answer to a browser that asks before it sends."""
    if request.method != "OPTIONS" or "Origin" not in request.headers:
        return None
    if not echoes_origin:
        return SimResponse(status=204, headers=_PREFLIGHT_HEADERS)
    requested_headers = request.headers.get("Access-Control-Request-Headers", "").split(",")
    header_names = (
        "-".join(map(str.capitalize, name.strip().split("-"))) for name in requested_headers
    )
    method = request.headers.get("Access-Control-Request-Method", "")
    return SimResponse(
        headers={
            "Access-Control-Allow-Headers": ", ".join(header_names),
            "Access-Control-Allow-Methods": method,
        }
    )


class GatewayMiddleware:
    """Answers what never reaches the API, and dresses every answer."""

    def __init__(self, dialect: ResellerDialect, faults: FaultScript, time_scale: float) -> None:
        self._dialect, self._faults = dialect, faults
        self._window_seconds = _WEB_LIMIT_WINDOW_SECONDS * time_scale
        self._requests: deque[float] = deque()

    def add_headers(
        self, reply: SimResponse, request: web.BaseRequest, request_id: str
    ) -> SimResponse:
        """An answer with the headers that all of them have."""
        headers: Mapping[str, str] = {
            **reply.headers,
            self._dialect.request_id_header: request_id,
            **self._dialect.extra_headers,
            **cors_headers(request, echoes_origin=self._dialect.echoes_origin),
        }
        return attrs.evolve(reply, headers=headers)

    def answer_preflight(self, request: web.BaseRequest) -> SimResponse | None:
        """The answer to a browser that asks before it sends."""
        return answer_preflight(request, echoes_origin=self._dialect.echoes_origin)

    def redirect(self, request: web.BaseRequest) -> SimResponse | None:
        """Where a path with a slash too many is sent, before anything else is done."""
        target = redirect_target(request.method, request.path, self._dialect.endpoints)
        return None if target is None else moved_response(request.method, target)

    def not_found(self, request: web.BaseRequest) -> SimResponse:
        """The answer where nothing is registered (PROTOCOL §7.1-K)."""
        if self._is_rate_limited():
            return SimResponse(status=429)
        if request.path.startswith(self._dialect.error_path_prefixes):
            return unknown_url_error(request.method, request.path, self._dialect.error_keys)
        status = 200 if request.path == "/" else self._dialect.web_page_status
        return attrs.evolve(NOT_FOUND_PAGE, status=status)

    def overload_response(self) -> SimResponse | None:
        """The answer of a machine that is too busy."""
        guard = self._faults.next_fault("gateway", kind="cpu_guard")
        if guard is None:
            return None
        load = f"current: {guard.options['load']}%, threshold: {guard.options['threshold']}%"
        error = {
            "message": f"system cpu overloaded ({load})",
            "type": "new_api_error",
            "param": "",
            "code": "system_cpu_overloaded",
        }
        return typed_response({"error": error}, 503)

    def blocked_link_response(self, image_url: str) -> SimResponse | None:
        """The answer about a picture whose link may not be followed."""
        url_parts = urlsplit(image_url)
        if self._dialect.checks_image_urls and url_parts.scheme not in _DEFAULT_PORTS:
            reason = f"unsupported protocol: {url_parts.scheme} (only http/https allowed)"
            return string_error(403, f"request blocked: {reason}")
        if self._faults.next_fault("gateway", kind="ssrf_guard") is None:
            return None
        port = url_parts.port or _DEFAULT_PORTS.get(url_parts.scheme, 0)
        if port not in _WEB_PORTS:
            return string_error(403, f"request blocked: port {port} is not allowed")
        host = url_parts.hostname or ""
        address = "localhost resolves to 127.0.0.1" if host == "localhost" else host
        return string_error(403, f"request blocked: private IP address not allowed: {address}")

    def _is_rate_limited(self) -> bool:
        """Whether somebody has asked for the web page too often."""
        limit = self._faults.find("gateway", kind="web_limit")
        if limit is None:
            return False
        now = time.monotonic()
        while (
            self._requests
            and self._window_seconds
            and self._requests[0] < now - self._window_seconds
        ):
            self._requests.popleft()
        if len(self._requests) < int(str(limit.options["allowed"])):
            self._requests.append(now)
            return False
        limit.use()
        return True

"""The middleware of a gateway: CORS, redirects, the web page, and guards against overload."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import attrs

from ..responses import SimResponse
from .gateway_responses import WEB_PAGE, go_json_response, string_error
from .gateway_routes import match_gateway_route

if TYPE_CHECKING:
    from aiohttp import web

    from .gateway_context import GatewayContext
    from .gateway_dialects import ResellerDialect

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
"""Simulated seconds for which a request counts for the web limit."""
_WEB_PORTS: Final = frozenset({80, 443, 8080, 8443})
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


def cors_headers(request: web.BaseRequest, *, echoes_origin: bool = False) -> Mapping[str, str]:
    """Return the headers that let every web page read a response."""
    origin = request.headers.get("Origin")
    if origin is None:
        return {}
    return {**_CORS_HEADERS, **({"Access-Control-Allow-Origin": origin} if echoes_origin else {})}


def answer_preflight(
    request: web.BaseRequest, *, echoes_origin: bool = False
) -> SimResponse | None:
    """Return the response to a CORS preflight request; None for all others."""
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
    """Answers requests that never reach the API, and adds headers to every response."""

    def __init__(self, dialect: ResellerDialect, context: GatewayContext) -> None:
        self._dialect, self._faults = dialect, context.faults
        self._window_seconds = _WEB_LIMIT_WINDOW_SECONDS * context.settings.time_scale
        self._web_requests: deque[float] = deque()

    def add_headers(
        self, response: SimResponse, request: web.BaseRequest, request_id: str
    ) -> SimResponse:
        """Return a response with the headers that all of them have."""
        headers: Mapping[str, str] = {
            **response.headers,
            self._dialect.request_id_header: request_id,
            **self._dialect.extra_headers,
            **cors_headers(request, echoes_origin=self._dialect.echoes_origin),
        }
        return attrs.evolve(response, headers=headers)

    def redirect(self, request: web.BaseRequest) -> SimResponse | None:
        """Return the redirect of a path with a trailing slash; None for all others."""
        target = request.path.removesuffix("/")
        if request.method not in {"GET", "POST"} or target == request.path:
            return None
        endpoint = match_gateway_route(request.method, target).endpoint
        if endpoint not in self._dialect.endpoints and target != "/mj":
            return None
        headers = {"Location": target}
        if request.method == "POST":
            return SimResponse(status=307, headers=headers)
        body = f'<a href="{target}">Moved Permanently</a>.\n\n'.encode()
        return SimResponse(status=301, body=body, content_type="text/html", headers=headers)

    def not_found(self, request: web.BaseRequest) -> SimResponse:
        """Return the response where nothing is registered (PROTOCOL §7.1-K)."""
        if self._is_rate_limited():
            return SimResponse(status=429)
        if request.path.startswith(self._dialect.error_path_prefixes):
            message = f"Invalid URL ({request.method} {request.path})"
            error = {"message": message, "type": "invalid_request_error"}
            ordered = {key: error.get(key, "") for key in self._dialect.error_keys}
            return go_json_response({"error": ordered}, 404)
        status = 200 if request.path == "/" else self._dialect.web_page_status
        return attrs.evolve(WEB_PAGE, status=status)

    def check_overload(self) -> SimResponse | None:
        """Return the response of an overloaded machine; None if it is not."""
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
        return go_json_response({"error": error}, 503)

    def check_image_url(self, image_url: str) -> SimResponse | None:
        """Return the refusal of an image URL that may not be fetched; None if it may."""
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
        limit = self._faults.find("gateway", kind="web_limit")
        if limit is None:
            return False
        now = time.monotonic()
        while (
            self._web_requests
            and self._window_seconds
            and self._web_requests[0] < now - self._window_seconds
        ):
            self._web_requests.popleft()
        if len(self._web_requests) < int(str(limit.options["allowed"])):
            self._web_requests.append(now)
            return False
        limit.use()
        return True

"""What surrounds a gateway's API: browsers' questions, the web page, guards that turn away."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import attrs
from aiohttp import web

from ..responses import Reply
from .gateway_responses import NOTHING_HERE, fault, moved, typed, unknown_url
from .gateway_routes import redirect_of

if TYPE_CHECKING:
    from ..faults import Faults
    from .gateway_dialects import Resale

__all__ = ["Front", "cors", "preflight"]

_CORS: Final = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Credentials": "true",
}
_PREFLIGHT: Final = {
    **_CORS,
    "Access-Control-Allow-Headers": "*",
    "Access-Control-Allow-Methods": "GET,POST,PUT,DELETE,OPTIONS",
}
_WINDOW: Final = 180.0
"""Simulated seconds for which the web limit remembers a request."""
_WEB_PORTS: Final = frozenset({80, 443, 8080, 8443})
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


def cors(request: web.BaseRequest, *, echo: bool = False) -> Mapping[str, str]:
    """The headers that let every page read an answer."""
    origin = request.headers.get("Origin")
    if origin is None:
        return {}
    return {**_CORS, "Access-Control-Allow-Origin": origin} if echo else _CORS


def preflight(request: web.BaseRequest, *, echo: bool = False) -> Reply | None:
    """The answer to a browser that asks before it sends."""
    if request.method != "OPTIONS" or "Origin" not in request.headers:
        return None
    if not echo:
        return Reply(status=204, headers=_PREFLIGHT)
    wanted = request.headers.get("Access-Control-Request-Headers", "").split(",")
    names = ("-".join(map(str.capitalize, name.strip().split("-"))) for name in wanted)
    method = request.headers.get("Access-Control-Request-Method", "")
    return Reply(
        headers={
            "Access-Control-Allow-Headers": ", ".join(names),
            "Access-Control-Allow-Methods": method,
        }
    )


class Front:
    """Answers what never reaches the API, and dresses every answer."""

    def __init__(self, dialect: Resale, faults: Faults, time_scale: float) -> None:
        self._dialect, self._faults = dialect, faults
        self._window = _WINDOW * time_scale
        self._asked: deque[float] = deque()

    def dressed(self, reply: Reply, request: web.BaseRequest, request_id: str) -> Reply:
        """An answer with the headers that all of them have."""
        headers: Mapping[str, str] = {
            **reply.headers,
            self._dialect.request_id: request_id,
            **self._dialect.headers,
            **cors(request, echo=self._dialect.echoes_origin),
        }
        return attrs.evolve(reply, headers=headers)

    def preflight(self, request: web.BaseRequest) -> Reply | None:
        """The answer to a browser that asks before it sends."""
        return preflight(request, echo=self._dialect.echoes_origin)

    def redirect(self, request: web.BaseRequest) -> Reply | None:
        """Where a path with a slash too many is sent, before anything else is done."""
        target = redirect_of(request.method, request.path, self._dialect.endpoints)
        return None if target is None else moved(request.method, target)

    def nothing(self, request: web.BaseRequest) -> Reply:
        """The answer where nothing is registered (PROTOCOL §7.1-K)."""
        if self._is_too_much():
            return Reply(status=429)
        if request.path.startswith(self._dialect.web_roots):
            return unknown_url(request.method, request.path, self._dialect.error_keys)
        status = 200 if request.path == "/" else self._dialect.page_status
        return attrs.evolve(NOTHING_HERE, status=status)

    def overloaded(self) -> Reply | None:
        """The answer of a machine that is too busy."""
        guard = self._faults.take("gateway", kind="cpu_guard")
        if guard is None:
            return None
        load = f"current: {guard.options['load']}%, threshold: {guard.options['threshold']}%"
        error = {
            "message": f"system cpu overloaded ({load})",
            "type": "new_api_error",
            "param": "",
            "code": "system_cpu_overloaded",
        }
        return typed({"error": error}, 503)

    def blocked(self, link: str) -> Reply | None:
        """The answer about a picture whose link may not be followed."""
        parts = urlsplit(link)
        if self._dialect.checks_links and parts.scheme not in _DEFAULT_PORTS:
            reason = f"unsupported protocol: {parts.scheme} (only http/https allowed)"
            return fault(403, f"request blocked: {reason}")
        if self._faults.take("gateway", kind="ssrf_guard") is None:
            return None
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)
        if port not in _WEB_PORTS:
            return fault(403, f"request blocked: port {port} is not allowed")
        host = parts.hostname or ""
        address = "localhost resolves to 127.0.0.1" if host == "localhost" else host
        return fault(403, f"request blocked: private IP address not allowed: {address}")

    def _is_too_much(self) -> bool:
        """Whether somebody has asked for the web page too often."""
        limit = self._faults.find("gateway", kind="web_limit")
        if limit is None:
            return False
        now = time.monotonic()
        while self._asked and self._window and self._asked[0] < now - self._window:
            self._asked.popleft()
        if len(self._asked) < int(str(limit.options["allowed"])):
            self._asked.append(now)
            return False
        limit.strike()
        return True

"""The rules of a server's framework around its endpoints: CORS, methods, paths, media types."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Final

import attrs

from .responses import SimResponse, spring_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohttp import web

_PREFLIGHT_HEADER: Final = "Access-Control-Request-Method"
_GUARDED_PATH: Final = re.compile(r"/mj/(?:submit|task|account)/.")
_JSON_WITH_CHARSET: Final = re.compile(r"application/json;\s*charset=[\w-]+", re.IGNORECASE)
"""An Accept header that Spring repeats as the content type of its response."""
_HTML_ERROR: Final = (
    b'<!doctype html><html lang="en"><head><title>HTTP Status %d</title></head>'
    b"<body><h1>HTTP Status %d</h1></body></html>"
)
MISSING_AUTHORIZATION: Final = SimResponse(
    status=401, body=b"Authorization header missing.", content_type="text/plain"
)


class HttpRules(ABC):
    """The rules of one framework."""

    json_type: ClassVar[re.Pattern[str]]
    """Media types of bodies that are decoded as JSON."""
    serves_head_as_get: bool = False
    """Whether HEAD is served where GET is."""

    def normalize_path(self, path: str) -> str:
        """Return the path by which an endpoint is found."""
        return path.removesuffix("/") or "/"

    @abstractmethod
    def before_routing(self, request: web.BaseRequest) -> SimResponse | None:
        """Return the response to a request that never reaches an endpoint; None if it does."""

    @abstractmethod
    def unrouted(
        self, request: web.BaseRequest, allowed_methods: Sequence[str], *, is_authorized: bool
    ) -> SimResponse | None:
        """Return the response where no endpoint is served.

        Args:
            request: The request.
            allowed_methods: The methods that are served at its path.
            is_authorized: Whether its token is right.

        Returns:
            The response; None if it is that of any unknown path.
        """

    @abstractmethod
    def after_response(self, request: web.BaseRequest, response: SimResponse) -> SimResponse:
        """Return a response as the framework sends it."""

    def is_json(self, media_type: str) -> bool:
        """Return whether a body of this media type is decoded as JSON."""
        return self.json_type.fullmatch(media_type) is not None


class SpringRules(HttpRules):
    """The original, Spring MVC in Tomcat at ``/mj``: no CORS, every method, JSON or nothing."""

    json_type: ClassVar[re.Pattern[str]] = re.compile(r"application/(?:[\w.-]+\+)?json")
    serves_head_as_get = True

    def normalize_path(self, path: str) -> str:
        """Return the path by which an endpoint is found; repeated slashes count once."""
        return super().normalize_path(re.sub("/+", "/", path))

    def before_routing(self, request: web.BaseRequest) -> SimResponse | None:
        """Redirect at the context path, and refuse all paths outside of it."""
        path = re.sub("/+", "/", request.path)
        if path in {"/mj", "/mj/"}:
            location = "/mj/" if path == "/mj" else "/mj/doc.html"
            return SimResponse(status=302, headers={"Location": f"http://{request.host}{location}"})
        return None if path.startswith("/mj/") else _html_error(404)

    def unrouted(
        self, request: web.BaseRequest, allowed_methods: Sequence[str], *, is_authorized: bool
    ) -> SimResponse | None:
        """Return 401, 403, 405 or the allowed methods."""
        if _is_preflight(request):  # the token is checked first, which browsers do not send here
            if not is_authorized:
                return SimResponse(status=401)
            return SimResponse(status=403, body=b"Invalid CORS request", content_type="text/plain")
        if allowed_methods and request.method != "OPTIONS":
            response = spring_error(405, request.path)
            return attrs.evolve(response, headers={"Allow": ", ".join(allowed_methods)})
        if not is_authorized and _GUARDED_PATH.match(self.normalize_path(request.path)):
            return SimResponse(status=401)
        if not allowed_methods:
            return None
        head = ["HEAD"] if "GET" in allowed_methods else []
        return SimResponse(headers={"Allow": ",".join([*allowed_methods, *head, "OPTIONS"])})

    def after_response(self, request: web.BaseRequest, response: SimResponse) -> SimResponse:
        """Replace JSON by 406 for clients that do not accept it, after the request is handled."""
        if response.content_type != "application/json" or not response.body:
            return response
        accept_header = request.headers.get("Accept", "")
        accept = request.headers.get("Accept", "*/*").lower()
        if _accepts_json(accept):
            is_exact = _JSON_WITH_CHARSET.fullmatch(accept_header) is not None
            return attrs.evolve(response, content_type=accept_header) if is_exact else response
        status = 406 if response.status < 400 else response.status
        if "text/html" in accept:
            return _html_error(status)
        return SimResponse(status=status, headers=response.headers)


class AspNetRules(HttpRules):
    """The open re-implementation, ASP.NET Core: CORS for every origin, with credentials."""

    json_type: ClassVar[re.Pattern[str]] = re.compile(r"(?:application/(?:[\w.-]+\+)?|text/)json")

    def before_routing(self, request: web.BaseRequest) -> SimResponse | None:
        """Answer CORS preflight requests."""
        if not _is_preflight(request):
            return None
        headers = _origin_headers(request)
        headers["Access-Control-Allow-Methods"] = request.headers[_PREFLIGHT_HEADER]
        if requested_headers := request.headers.get("Access-Control-Request-Headers"):
            headers["Access-Control-Allow-Headers"] = requested_headers
        return SimResponse(status=204, headers=headers)

    def unrouted(
        self,
        request: web.BaseRequest,  # noqa: ARG002 - the interface
        allowed_methods: Sequence[str],
        *,
        is_authorized: bool,
    ) -> SimResponse | None:
        """Return 401 or 405: its middleware checks the token even where there is no endpoint."""
        if not is_authorized:
            return MISSING_AUTHORIZATION
        if not allowed_methods:
            return None
        return SimResponse(status=405, headers={"Allow": ", ".join(allowed_methods)})

    def after_response(self, request: web.BaseRequest, response: SimResponse) -> SimResponse:
        """Add the CORS headers."""
        if "Origin" not in request.headers:
            return response
        headers = {**response.headers, **_origin_headers(request)}
        return attrs.evolve(response, headers=headers)


class ClosedPlusRules(AspNetRules):
    """The closed server, of which no more is known: unknown paths need no token."""

    def unrouted(
        self, request: web.BaseRequest, allowed_methods: Sequence[str], *, is_authorized: bool
    ) -> SimResponse | None:
        """Return 405 to authorized requests."""
        if not is_authorized:
            return None
        return super().unrouted(request, allowed_methods, is_authorized=True)


def _is_preflight(request: web.BaseRequest) -> bool:
    has_headers = "Origin" in request.headers and _PREFLIGHT_HEADER in request.headers
    return request.method == "OPTIONS" and has_headers


def _html_error(status: int) -> SimResponse:
    return SimResponse(
        status=status,
        body=_HTML_ERROR % (status, status),
        content_type="text/html;charset=utf-8",  # as Tomcat writes it
    )


def _accepts_json(accept: str) -> bool:
    types = {part.partition(";")[0].strip() for part in accept.split(",")}
    has_json_suffix = any(
        kind.startswith("application/") and kind.endswith("+json") for kind in types
    )
    return has_json_suffix or not types.isdisjoint({"", "*/*", "application/*", "application/json"})


def _origin_headers(request: web.BaseRequest) -> dict[str, str]:
    return {
        "Access-Control-Allow-Origin": request.headers["Origin"],
        "Access-Control-Allow-Credentials": "true",
        "Vary": "Origin",
    }

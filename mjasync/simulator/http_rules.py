"""What a server's framework does around its endpoints: CORS, methods, paths and media types."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import attrs

from .responses import SimResponse, spring_error

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aiohttp import web

__all__ = ["ASP_NET", "OPEN_TO_BROWSERS", "SPRING", "HttpRules"]

_PREFLIGHT_HEADER: Final = "Access-Control-Request-Method"
_GUARDED_PATH: Final = re.compile(r"/mj/(?:submit|task|account)/.")
_SPRING_JSON: Final = re.compile(r"application/(?:[\w.-]+\+)?json")
_ASP_NET_JSON: Final = re.compile(r"(?:application/(?:[\w.-]+\+)?|text/)json")
_HTML_ERROR: Final = (
    b'<!doctype html><html lang="en"><head><title>HTTP Status %d</title></head>'
    b"<body><h1>HTTP Status %d</h1></body></html>"
)


@attrs.frozen(kw_only=True)
class HttpRules:
    """How one framework answers what no endpoint is asked about."""

    normalize_path: Callable[[str], str]
    """The path an endpoint is looked up by."""
    before_routing: Callable[[web.BaseRequest], SimResponse | None]
    """The answer to what never reaches an endpoint; None: look for one."""
    unrouted: Callable[[web.BaseRequest, Sequence[str], bool], SimResponse | None]
    """The answer where nothing is served, from the request, the methods that are served there and
    whether the token is right; None: as for any unknown path."""
    after_response: Callable[[web.BaseRequest, SimResponse], SimResponse]
    """The answer with what every answer gets."""
    is_json: Callable[[str], bool]
    """Whether a media type is read as JSON."""
    serves_head_as_get: bool = False
    """Whether HEAD is served where GET is."""


_JSON_WITH_CHARSET: Final = re.compile(r"application/json;\s*charset=[\w-]+", re.IGNORECASE)
"""An Accept header that is repeated as the type of the answer."""
_HTML_TYPE: Final = "text/html;charset=utf-8"
"""As Tomcat writes it."""


def _is_preflight(request: web.BaseRequest) -> bool:
    has_headers = "Origin" in request.headers and _PREFLIGHT_HEADER in request.headers
    return request.method == "OPTIONS" and has_headers


def _html_error(status: int) -> SimResponse:
    return SimResponse(status=status, body=_HTML_ERROR % (status, status), content_type=_HTML_TYPE)


# --- Spring MVC in Tomcat, at the context path /mj -----------------------------------------------


def _normalize_spring_path(path: str) -> str:
    path = re.sub("/+", "/", path)
    return path.removesuffix("/") or "/"


def _before_spring_routing(request: web.BaseRequest) -> SimResponse | None:
    path = re.sub("/+", "/", request.path)
    if path in {"/mj", "/mj/"}:
        location = "/mj/" if path == "/mj" else "/mj/doc.html"
        return SimResponse(status=302, headers={"Location": f"http://{request.host}{location}"})
    if not path.startswith("/mj/"):
        return _html_error(404)
    return None


def _spring_unrouted(
    request: web.BaseRequest,
    allowed_methods: Sequence[str],
    is_authorized: bool,  # noqa: FBT001 - as every rule
) -> SimResponse | None:
    if _is_preflight(request):  # the token is looked at first, which no browser sends here
        forbidden = SimResponse(status=403, body=b"Invalid CORS request", content_type="text/plain")
        return forbidden if is_authorized else SimResponse(status=401)
    if allowed_methods and request.method != "OPTIONS":
        reply = spring_error(405, request.path)
        return attrs.evolve(reply, headers={"Allow": ", ".join(allowed_methods)})
    if not is_authorized and _GUARDED_PATH.match(_normalize_spring_path(request.path)):
        return SimResponse(status=401)
    if not allowed_methods:
        return None
    served_methods = [*allowed_methods, *(["HEAD"] if "GET" in allowed_methods else []), "OPTIONS"]
    return SimResponse(headers={"Allow": ",".join(served_methods)})


def _after_spring_response(request: web.BaseRequest, reply: SimResponse) -> SimResponse:
    """Refuse to write JSON for whoever does not want it: the work is done by then."""
    accept = request.headers.get("Accept", "*/*").lower()
    if reply.content_type != "application/json" or not reply.body:
        return reply
    if _accepts_json(accept):
        accept_header = request.headers.get("Accept", "")
        is_exact = _JSON_WITH_CHARSET.fullmatch(accept_header) is not None
        return attrs.evolve(reply, content_type=accept_header) if is_exact else reply
    status = 406 if reply.status < 400 else reply.status
    return (
        _html_error(status)
        if "text/html" in accept
        else SimResponse(status=status, headers=reply.headers)
    )


def _accepts_json(accept: str) -> bool:
    types = {part.partition(";")[0].strip() for part in accept.split(",")}
    has_json_suffix = any(
        kind.startswith("application/") and kind.endswith("+json") for kind in types
    )
    return has_json_suffix or not types.isdisjoint({"", "*/*", "application/*", "application/json"})


SPRING: Final = HttpRules(
    normalize_path=_normalize_spring_path,
    before_routing=_before_spring_routing,
    unrouted=_spring_unrouted,
    after_response=_after_spring_response,
    is_json=lambda kind: _SPRING_JSON.fullmatch(kind) is not None,
    serves_head_as_get=True,
)
"""The original: no CORS, an answer to every method, JSON or nothing."""


# --- ASP.NET Core --------------------------------------------------------------------------------


def _normalize_asp_net_path(path: str) -> str:
    return path.removesuffix("/") or "/"


def _before_asp_net_routing(request: web.BaseRequest) -> SimResponse | None:
    if not _is_preflight(request):
        return None
    headers = _origin_headers(request)
    headers["Access-Control-Allow-Methods"] = request.headers[_PREFLIGHT_HEADER]
    if requested_headers := request.headers.get("Access-Control-Request-Headers"):
        headers["Access-Control-Allow-Headers"] = requested_headers
    return SimResponse(status=204, headers=headers)


def _asp_net_unrouted(
    request: web.BaseRequest,  # noqa: ARG001 - as every rule
    allowed_methods: Sequence[str],
    is_authorized: bool,  # noqa: FBT001
) -> SimResponse | None:
    """Look at the token first of all: its middleware runs where there is no endpoint, too."""
    if not is_authorized:
        return SimResponse(
            status=401, body=b"Authorization header missing.", content_type="text/plain"
        )
    return (
        SimResponse(status=405, headers={"Allow": ", ".join(allowed_methods)})
        if allowed_methods
        else None
    )


def _plain_unrouted(
    request: web.BaseRequest,  # noqa: ARG001 - as every rule
    allowed_methods: Sequence[str],
    is_authorized: bool,  # noqa: FBT001
) -> SimResponse | None:
    if allowed_methods and is_authorized:
        return SimResponse(status=405, headers={"Allow": ", ".join(allowed_methods)})
    return None


def _after_asp_net_response(request: web.BaseRequest, reply: SimResponse) -> SimResponse:
    if "Origin" not in request.headers:
        return reply
    return attrs.evolve(reply, headers={**reply.headers, **_origin_headers(request)})


def _origin_headers(request: web.BaseRequest) -> dict[str, str]:
    return {
        "Access-Control-Allow-Origin": request.headers["Origin"],
        "Access-Control-Allow-Credentials": "true",
        "Vary": "Origin",
    }


ASP_NET: Final = HttpRules(
    normalize_path=_normalize_asp_net_path,
    before_routing=_before_asp_net_routing,
    unrouted=_asp_net_unrouted,
    after_response=_after_asp_net_response,
    is_json=lambda kind: _ASP_NET_JSON.fullmatch(kind) is not None,
)
"""The open re-implementation: every origin is let in, with credentials."""

OPEN_TO_BROWSERS: Final = attrs.evolve(ASP_NET, unrouted=_plain_unrouted)
"""The same for the closed server, of which no more is known: unknown paths need no token."""

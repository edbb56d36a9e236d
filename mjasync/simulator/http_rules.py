"""What a server's framework does around its endpoints: CORS, methods, paths and media types."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import attrs

from .responses import Reply, spring_error

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aiohttp import web

__all__ = ["ASP_NET", "OPEN_TO_BROWSERS", "SPRING", "HttpRules"]

_PREFLIGHT: Final = "Access-Control-Request-Method"
_GUARDED: Final = re.compile(r"/mj/(?:submit|task|account)/.")
_SPRING_JSON: Final = re.compile(r"application/(?:[\w.-]+\+)?json")
_ASP_NET_JSON: Final = re.compile(r"(?:application/(?:[\w.-]+\+)?|text/)json")
_PAGE: Final = (
    b'<!doctype html><html lang="en"><head><title>HTTP Status %d</title></head>'
    b"<body><h1>HTTP Status %d</h1></body></html>"
)


@attrs.frozen(kw_only=True)
class HttpRules:
    """How one framework answers what no endpoint is asked about."""

    path: Callable[[str], str]
    """The path an endpoint is looked up by."""
    before: Callable[[web.BaseRequest], Reply | None]
    """The answer to what never reaches an endpoint; None: look for one."""
    astray: Callable[[web.BaseRequest, Sequence[str], bool], Reply | None]
    """The answer where nothing is served, from the request, the methods that are served there and
    whether the token is right; None: as for any unknown path."""
    after: Callable[[web.BaseRequest, Reply], Reply]
    """The answer with what every answer gets."""
    is_json: Callable[[str], bool]
    """Whether a media type is read as JSON."""
    head_is_get: bool = False
    """Whether HEAD is served where GET is."""


_EXACT_JSON: Final = re.compile(r"application/json;\s*charset=[\w-]+", re.IGNORECASE)
"""An Accept header that is repeated as the type of the answer."""
_HTML: Final = "text/html;charset=utf-8"
"""As Tomcat writes it."""


def _is_preflight(request: web.BaseRequest) -> bool:
    asks = "Origin" in request.headers and _PREFLIGHT in request.headers
    return request.method == "OPTIONS" and asks


def _page(status: int) -> Reply:
    return Reply(status=status, body=_PAGE % (status, status), content_type=_HTML)


# --- Spring MVC in Tomcat, at the context path /mj -----------------------------------------------


def _spring_path(path: str) -> str:
    path = re.sub("/+", "/", path)
    return path.removesuffix("/") or "/"


def _spring_before(request: web.BaseRequest) -> Reply | None:
    path = re.sub("/+", "/", request.path)
    if path in {"/mj", "/mj/"}:
        place = "/mj/" if path == "/mj" else "/mj/doc.html"
        return Reply(status=302, headers={"Location": f"http://{request.host}{place}"})
    if not path.startswith("/mj/"):
        return _page(404)
    return None


def _spring_astray(
    request: web.BaseRequest,
    allowed: Sequence[str],
    known: bool,  # noqa: FBT001 - as every rule
) -> Reply | None:
    if _is_preflight(request):  # the token is looked at first, which no browser sends here
        barred = Reply(status=403, body=b"Invalid CORS request", content_type="text/plain")
        return barred if known else Reply(status=401)
    if allowed and request.method != "OPTIONS":
        reply = spring_error(405, request.path)
        return attrs.evolve(reply, headers={"Allow": ", ".join(allowed)})
    if not known and _GUARDED.match(_spring_path(request.path)):
        return Reply(status=401)
    if not allowed:
        return None
    served = [*allowed, *(["HEAD"] if "GET" in allowed else []), "OPTIONS"]
    return Reply(headers={"Allow": ",".join(served)})


def _spring_after(request: web.BaseRequest, reply: Reply) -> Reply:
    """Refuse to write JSON for whoever does not want it: the work is done by then."""
    wanted = request.headers.get("Accept", "*/*").lower()
    if reply.content_type != "application/json" or not reply.body:
        return reply
    if _takes_json(wanted):
        asked = request.headers.get("Accept", "")
        is_exact = _EXACT_JSON.fullmatch(asked) is not None
        return attrs.evolve(reply, content_type=asked) if is_exact else reply
    status = 406 if reply.status < 400 else reply.status
    return _page(status) if "text/html" in wanted else Reply(status=status, headers=reply.headers)


def _takes_json(accept: str) -> bool:
    types = {part.partition(";")[0].strip() for part in accept.split(",")}
    plus = any(kind.startswith("application/") and kind.endswith("+json") for kind in types)
    return plus or not types.isdisjoint({"", "*/*", "application/*", "application/json"})


SPRING: Final = HttpRules(
    path=_spring_path,
    before=_spring_before,
    astray=_spring_astray,
    after=_spring_after,
    is_json=lambda kind: _SPRING_JSON.fullmatch(kind) is not None,
    head_is_get=True,
)
"""The original: no CORS, an answer to every method, JSON or nothing."""


# --- ASP.NET Core --------------------------------------------------------------------------------


def _asp_net_path(path: str) -> str:
    return path.removesuffix("/") or "/"


def _asp_net_before(request: web.BaseRequest) -> Reply | None:
    if not _is_preflight(request):
        return None
    headers = _origin(request)
    headers["Access-Control-Allow-Methods"] = request.headers[_PREFLIGHT]
    if asked := request.headers.get("Access-Control-Request-Headers"):
        headers["Access-Control-Allow-Headers"] = asked
    return Reply(status=204, headers=headers)


def _asp_net_astray(
    request: web.BaseRequest,  # noqa: ARG001 - as every rule
    allowed: Sequence[str],
    known: bool,  # noqa: FBT001
) -> Reply | None:
    """Look at the token first of all: its middleware runs where there is no endpoint, too."""
    if not known:
        return Reply(status=401, body=b"Authorization header missing.", content_type="text/plain")
    return Reply(status=405, headers={"Allow": ", ".join(allowed)}) if allowed else None


def _plain_astray(
    request: web.BaseRequest,  # noqa: ARG001 - as every rule
    allowed: Sequence[str],
    known: bool,  # noqa: FBT001
) -> Reply | None:
    if allowed and known:
        return Reply(status=405, headers={"Allow": ", ".join(allowed)})
    return None


def _asp_net_after(request: web.BaseRequest, reply: Reply) -> Reply:
    if "Origin" not in request.headers:
        return reply
    return attrs.evolve(reply, headers={**reply.headers, **_origin(request)})


def _origin(request: web.BaseRequest) -> dict[str, str]:
    return {
        "Access-Control-Allow-Origin": request.headers["Origin"],
        "Access-Control-Allow-Credentials": "true",
        "Vary": "Origin",
    }


ASP_NET: Final = HttpRules(
    path=_asp_net_path,
    before=_asp_net_before,
    astray=_asp_net_astray,
    after=_asp_net_after,
    is_json=lambda kind: _ASP_NET_JSON.fullmatch(kind) is not None,
)
"""The open re-implementation: every origin is let in, with credentials."""

OPEN_TO_BROWSERS: Final = attrs.evolve(ASP_NET, astray=_plain_astray)
"""The same for the closed server, of which no more is known: unknown paths need no token."""

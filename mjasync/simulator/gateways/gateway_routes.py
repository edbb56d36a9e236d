"""Which paths a gateway with rows of its own has registered, and where they lead upstream."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from typing import Final

from ..routes import MatchedRoute

__all__ = ["match_gateway_route", "mode_of", "redirect_target", "speed_of", "upstream_path"]

_API_PATH: Final = re.compile(r"(?:/(?P<mode>[^/]*))?/mj/(?P<rest>.+)")
_TASK_ENDPOINTS: Final = re.compile(r"task/([^/]*)/(fetch|image-seed)|image/([^/]+)")
_ENDPOINT_KINDS: Final = {"fetch": "fetch", "image-seed": "other"}
_SUBMITS: Final = (
    *("imagine", "blend", "describe", "change", "simple-change", "action", "modal", "shorten"),
    *("upload-discord-images", "edits", "video"),
)
_POSTS: Final[Mapping[str, tuple[str, str]]] = {
    **{f"submit/{name}": ("submit", name) for name in _SUBMITS},
    "insight-face/swap": ("submit", "swap"),
    "task/list-by-condition": ("list", "list-by-condition"),
    "notify": ("other", "notify"),
}


def match_gateway_route(method: str, path: str) -> MatchedRoute:
    """The route of a request; one that leads nowhere has no endpoint."""
    api = _API_PATH.fullmatch(path)
    found = _match_endpoint(method, api["rest"]) if api else None
    if api is None or found is None:
        return MatchedRoute(kind="other")
    kind, endpoint, task_id = found
    return MatchedRoute(kind=kind, endpoint=endpoint, task_id=task_id, has_mode=bool(api["mode"]))


def redirect_target(method: str, path: str, endpoints: Container[str]) -> str | None:
    """Where a path with a slash too many leads, if it does."""
    if method not in {"GET", "POST"} or not path.endswith("/"):
        return None
    shorter = path.removesuffix("/")
    endpoint = match_gateway_route(method, shorter).endpoint
    is_there = endpoint is not None and endpoint in endpoints
    return shorter if is_there or shorter == "/mj" else None


def mode_of(path: str) -> str:
    """The segment before ``/mj``; empty when there is none."""
    found = _API_PATH.fullmatch(path)
    return (found and found["mode"]) or ""


def upstream_path(path: str) -> str:
    """A prefix with ``mj-`` in it is lost, any other is passed on (PROTOCOL §6.1)."""
    pieces = path.split("/mj/")
    return f"/mj/{pieces[1]}" if "/mj-" in path and len(pieces) > 1 else path


def speed_of(mode: str) -> str:
    """The speed a mode stands for, as in an account filter."""
    return mode.removeprefix("mj-").upper() if mode.startswith("mj-") else "FAST"


def _match_endpoint(method: str, rest: str) -> tuple[str, str, str] | None:
    if method == "POST" and (post := _POSTS.get(rest)):
        return post[0], post[1], ""
    found = _TASK_ENDPOINTS.fullmatch(rest) if method == "GET" else None
    if found is None:
        return None
    look = found[2]
    return (_ENDPOINT_KINDS[look], look, found[1]) if look else ("image", "image", found[3])

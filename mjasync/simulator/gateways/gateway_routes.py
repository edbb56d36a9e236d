"""Which paths a gateway with rows of its own has registered, and where they lead upstream."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from typing import Final

from ..routes import MatchedRoute

__all__ = [
    "match_gateway_route",
    "parse_mode",
    "redirect_target",
    "speed_from_mode",
    "upstream_path",
]

_API_PATH: Final = re.compile(r"(?:/(?P<mode>[^/]*))?/mj/(?P<rest>.+)")
_TASK_ENDPOINTS: Final = re.compile(r"task/([^/]*)/(fetch|image-seed)|image/([^/]+)")
_ENDPOINT_KINDS: Final = {"fetch": "fetch", "image-seed": "other"}
_SUBMIT_NAMES: Final = (
    *("imagine", "blend", "describe", "change", "simple-change", "action", "modal", "shorten"),
    *("upload-discord-images", "edits", "video"),
)
_POST_ROUTES: Final[Mapping[str, tuple[str, str]]] = {
    **{f"submit/{name}": ("submit", name) for name in _SUBMIT_NAMES},
    "insight-face/swap": ("submit", "swap"),
    "task/list-by-condition": ("list", "list-by-condition"),
    "notify": ("other", "notify"),
}


def match_gateway_route(method: str, path: str) -> MatchedRoute:
    """The route of a request; one that leads nowhere has no endpoint."""
    match = _API_PATH.fullmatch(path)
    matched_endpoint = _match_endpoint(method, match["rest"]) if match else None
    if match is None or matched_endpoint is None:
        return MatchedRoute(kind="other")
    kind, endpoint, task_id = matched_endpoint
    return MatchedRoute(kind=kind, endpoint=endpoint, task_id=task_id, has_mode=bool(match["mode"]))


def redirect_target(method: str, path: str, endpoints: Container[str]) -> str | None:
    """Where a path with a slash too many leads, if it does."""
    if method not in {"GET", "POST"} or not path.endswith("/"):
        return None
    target = path.removesuffix("/")
    endpoint = match_gateway_route(method, target).endpoint
    is_registered = endpoint is not None and endpoint in endpoints
    return target if is_registered or target == "/mj" else None


def parse_mode(path: str) -> str:
    """The segment before ``/mj``; empty when there is none."""
    match = _API_PATH.fullmatch(path)
    return (match and match["mode"]) or ""


def upstream_path(path: str) -> str:
    """A prefix with ``mj-`` in it is lost, any other is passed on (PROTOCOL §6.1)."""
    parts = path.split("/mj/")
    return f"/mj/{parts[1]}" if "/mj-" in path and len(parts) > 1 else path


def speed_from_mode(mode: str) -> str:
    """The speed a mode stands for, as in an account filter."""
    return mode.removeprefix("mj-").upper() if mode.startswith("mj-") else "FAST"


def _match_endpoint(method: str, path: str) -> tuple[str, str, str] | None:
    if method == "POST" and (post_route := _POST_ROUTES.get(path)):
        return post_route[0], post_route[1], ""
    match = _TASK_ENDPOINTS.fullmatch(path) if method == "GET" else None
    if match is None:
        return None
    endpoint = match[2]
    return (
        (_ENDPOINT_KINDS[endpoint], endpoint, match[1])
        if endpoint
        else ("image", "image", match[3])
    )

"""The routes of a gateway with rows of its own, and its paths at the upstream."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from ..routes import MatchedRoute

_API_PATH: Final = re.compile(r"(?:/(?P<mode>[^/]*))?/mj/(?P<path>.+)")
_TASK_PATH: Final = re.compile(r"task/(?P<id>[^/]*)/(?P<endpoint>fetch|image-seed)")
_IMAGE_PATH: Final = re.compile(r"image/(?P<id>[^/]+)")
_SUBMIT_NAMES: Final = (
    *("imagine", "blend", "describe", "change", "simple-change", "action", "modal", "shorten"),
    *("upload-discord-images", "edits", "video"),
)
_POST_ENDPOINTS: Final[Mapping[str, str]] = {
    **{f"submit/{name}": name for name in _SUBMIT_NAMES},
    "insight-face/swap": "swap",
    "task/list-by-condition": "list-by-condition",
    "notify": "notify",
}
GATEWAY_ENDPOINTS: Final = frozenset({*_POST_ENDPOINTS.values(), "fetch", "image-seed", "image"})


def match_gateway_route(method: str, path: str) -> MatchedRoute:
    """Return the route of a request; without an endpoint where there is none."""
    api_match = _API_PATH.fullmatch(path)
    if api_match is None:
        return MatchedRoute()
    endpoint, task_id = _match_endpoint(method, api_match["path"])
    return MatchedRoute(endpoint=endpoint, task_id=task_id, mode=api_match["mode"])


def _match_endpoint(method: str, path: str) -> tuple[str | None, str]:
    """Return the endpoint and the id of a task."""
    if method == "POST":
        return _POST_ENDPOINTS.get(path), ""
    if method == "GET" and (task_match := _TASK_PATH.fullmatch(path)):
        return task_match["endpoint"], task_match["id"]
    if method == "GET" and (image_match := _IMAGE_PATH.fullmatch(path)):
        return "image", image_match["id"]
    return None, ""


def upstream_path(path: str) -> str:
    """Return the path at the upstream; only a prefix with ``mj-`` is dropped (PROTOCOL §6.1)."""
    parts = path.split("/mj/")
    return f"/mj/{parts[1]}" if "/mj-" in path and len(parts) > 1 else path


def speed_from_mode(mode: str | None) -> str:
    """Return the speed of a mode, as in an account filter."""
    return mode.removeprefix("mj-").upper() if mode and mode.startswith("mj-") else "FAST"

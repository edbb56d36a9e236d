"""The routes of a server, with the speed and image host in a path (PROTOCOL §1.0, §6.1)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["MatchedRoute", "match_route"]


@attrs.frozen(kw_only=True)
class MatchedRoute:
    """The destination of a request."""

    kind: str
    """``submit``, ``fetch``, ``list``, ``image`` or ``other``."""
    endpoint: str | None = None
    """The name in the table of the dialect; None: the path is not part of the API."""
    task_id: str = ""
    """The id of a task or an account in the path, or the file name of an image."""
    mode: str | None = None
    """The segment before ``/mj``; None: the path has none."""
    speed: str | None = None
    image_host: str | None = None


_API_PATH: Final = re.compile(
    r"(?:/(?P<mode>mj(?:-(?P<speed>fast|turbo|relax))?(?:-(?P<host>relay|origin|proxy))?))?"
    r"/mj/(?P<rest>.+)"
)
_IMAGE_PATH: Final = re.compile(r"/attachments/([^/]+)")
_TASK_PATH: Final = re.compile(r"(task|account)/([^/]+)/([a-z-]+)")

_SUBMIT_NAMES: Final = (
    *("imagine", "blend", "describe", "shorten", "action", "modal", "change", "simple-change"),
    *("upload-discord-images", "edits", "retexture", "video", "show"),
)
_FIXED_PATHS: Final[Mapping[tuple[str, str], tuple[str, str]]] = {
    **{("POST", f"submit/{name}"): ("submit", name) for name in _SUBMIT_NAMES},
    ("POST", "submit/edit"): ("submit", "edits"),
    ("POST", "insight-face/swap"): ("submit", "swap"),
    ("POST", "insight-face/video-swap"): ("submit", "video-swap"),
    ("GET", "task/list"): ("list", "list"),
    ("GET", "task/queue"): ("list", "queue"),
    ("POST", "task/list-by-condition"): ("list", "list-by-condition"),
    ("POST", "task/list-by-ids"): ("list", "list-by-ids"),
    ("GET", "account/list"): ("other", "account-list"),
    ("POST", "account/query"): ("other", "account-query"),
}
_TASK_ENDPOINTS: Final[Mapping[tuple[str, str, str], tuple[str, str]]] = {
    ("GET", "task", "fetch"): ("fetch", "fetch"),
    ("GET", "task", "image-seed"): ("other", "image-seed"),
    ("POST", "task", "cancel"): ("other", "cancel"),
    ("GET", "account", "fetch"): ("other", "account-fetch"),
}


def match_route(method: str, path: str) -> MatchedRoute:
    """Return the route of a request; without an endpoint where there is none."""
    if image_match := _IMAGE_PATH.fullmatch(path):
        return MatchedRoute(kind="image", endpoint="image", task_id=image_match[1])
    api_match = _API_PATH.fullmatch(path)
    if api_match is None:
        return MatchedRoute(kind="other")
    kind, endpoint, task_id = _match_endpoint(method, api_match["rest"])
    return MatchedRoute(
        kind=kind,
        endpoint=endpoint,
        task_id=task_id,
        mode=api_match["mode"],
        speed=api_match["speed"] and api_match["speed"].upper(),
        image_host=api_match["host"],
    )


def _match_endpoint(method: str, path: str) -> tuple[str, str | None, str]:
    if fixed_route := _FIXED_PATHS.get((method, path)):
        return fixed_route[0], fixed_route[1], ""
    id_match = _TASK_PATH.fullmatch(path)
    if id_match and (id_route := _TASK_ENDPOINTS.get((method, id_match[1], id_match[3]))):
        return id_route[0], id_route[1], id_match[2]
    return "other", None, ""

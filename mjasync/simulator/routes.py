"""The routes of a server, with the speed and image host in a path (PROTOCOL §1.0, §6.1)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping

ENDPOINT_KINDS: Final[Mapping[str, str]] = {
    "fetch": "fetch",
    **dict.fromkeys(("list", "queue", "list-by-condition", "list-by-ids"), "list"),
    "image": "image",
    **dict.fromkeys(("image-seed", "cancel", "account-list", "account-query"), "other"),
    **dict.fromkeys(("account-fetch", "notify"), "other"),
}
"""The kinds of requests by endpoint; requests to all other endpoints are submissions."""


@attrs.frozen(kw_only=True)
class MatchedRoute:
    """The destination of a request."""

    endpoint: str | None = None
    """The name in the table of the dialect; None: the path is not part of the API."""
    task_id: str = ""
    """The id of a task or an account in the path, or the file name of an image."""
    mode: str | None = None
    """The segment before ``/mj``; None: the path has none."""
    speed: str | None = None
    image_host: str | None = None

    @property
    def kind(self) -> str:
        """``submit``, ``fetch``, ``list``, ``image`` or ``other``."""
        return "other" if self.endpoint is None else ENDPOINT_KINDS.get(self.endpoint, "submit")


_API_PATH: Final = re.compile(
    r"(?:/(?P<mode>mj(?:-(?P<speed>fast|turbo|relax))?(?:-(?P<host>relay|origin|proxy))?))?"
    r"/mj/(?P<path>.+)"
)
_IMAGE_PATH: Final = re.compile(r"/attachments/([^/]+)")
_ID_PATH: Final = re.compile(r"(?P<owner>task|account)/(?P<id>[^/]+)/(?P<name>[a-z-]+)")
_SUBMIT_NAMES: Final = (
    *("imagine", "blend", "describe", "shorten", "action", "modal", "change", "simple-change"),
    *("upload-discord-images", "edits", "retexture", "video", "show"),
)
_FIXED_PATHS: Final[Mapping[tuple[str, str], str]] = {
    **{("POST", f"submit/{name}"): name for name in _SUBMIT_NAMES},
    ("POST", "submit/edit"): "edits",
    ("POST", "insight-face/swap"): "swap",
    ("POST", "insight-face/video-swap"): "video-swap",
    ("GET", "task/list"): "list",
    ("GET", "task/queue"): "queue",
    ("POST", "task/list-by-condition"): "list-by-condition",
    ("POST", "task/list-by-ids"): "list-by-ids",
    ("GET", "account/list"): "account-list",
    ("POST", "account/query"): "account-query",
}
_ID_ENDPOINTS: Final[Mapping[tuple[str, str, str], str]] = {
    ("GET", "task", "fetch"): "fetch",
    ("GET", "task", "image-seed"): "image-seed",
    ("POST", "task", "cancel"): "cancel",
    ("GET", "account", "fetch"): "account-fetch",
}


def match_route(method: str, path: str) -> MatchedRoute:
    """Return the route of a request; without an endpoint where there is none."""
    if image_match := _IMAGE_PATH.fullmatch(path):
        return MatchedRoute(endpoint="image", task_id=image_match[1])
    api_match = _API_PATH.fullmatch(path)
    if api_match is None:
        return MatchedRoute()
    endpoint, task_id = _FIXED_PATHS.get((method, api_match["path"])), ""
    if id_match := _ID_PATH.fullmatch(api_match["path"]):
        endpoint = _ID_ENDPOINTS.get((method, id_match["owner"], id_match["name"]))
        task_id = id_match["id"]
    return MatchedRoute(
        endpoint=endpoint,
        task_id=task_id,
        mode=api_match["mode"],
        speed=api_match["speed"] and api_match["speed"].upper(),
        image_host=api_match["host"],
    )

"""Which endpoint a request is for, and what its path says about speed (PROTOCOL §1.0, §6.1)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Route", "route_of"]


@attrs.frozen(kw_only=True)
class Route:
    """Where a request goes."""

    kind: str
    """``submit``, ``fetch``, ``list``, ``image`` or ``other``."""
    endpoint: str | None = None
    """The name in the dialect's table; None: nothing of the API."""
    task_id: str = ""
    """The id of a task or an account in the path, or the file name of a picture."""
    mode: bool = False
    """Whether the path has a mode segment."""
    speed: str | None = None
    image_host: str | None = None


_API: Final = re.compile(
    r"/(?P<mode>mj(?:-(?P<speed>fast|turbo|relax))?(?:-(?P<host>relay|origin|proxy))?/)?mj/"
    r"(?P<rest>.+)"
)
_PICTURE: Final = re.compile(r"/attachments/([^/]+)")
_ABOUT: Final = re.compile(r"(task|account)/([^/]+)/([a-z-]+)")

_SUBMITS: Final = (
    *("imagine", "blend", "describe", "shorten", "action", "modal", "change", "simple-change"),
    *("upload-discord-images", "edits", "retexture", "video", "show"),
)
_FIXED: Final[Mapping[tuple[str, str], tuple[str, str]]] = {
    **{("POST", f"submit/{name}"): ("submit", name) for name in _SUBMITS},
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
_BY_ID: Final[Mapping[tuple[str, str, str], tuple[str, str]]] = {
    ("GET", "task", "fetch"): ("fetch", "fetch"),
    ("GET", "task", "image-seed"): ("other", "image-seed"),
    ("POST", "task", "cancel"): ("other", "cancel"),
    ("GET", "account", "fetch"): ("other", "account-fetch"),
}


def route_of(method: str, path: str) -> Route:
    """The route of a request; one that leads nowhere has no endpoint."""
    if found := _PICTURE.fullmatch(path):
        return Route(kind="image", endpoint="image", task_id=found[1])
    api = _API.fullmatch(path)
    if api is None:
        return Route(kind="other")
    kind, endpoint, task_id = _endpoint(method, api["rest"])
    return Route(
        kind=kind,
        endpoint=endpoint,
        task_id=task_id,
        mode=bool(api["mode"]),
        speed=api["speed"] and api["speed"].upper(),
        image_host=api["host"],
    )


def _endpoint(method: str, rest: str) -> tuple[str, str | None, str]:
    if fixed := _FIXED.get((method, rest)):
        return fixed[0], fixed[1], ""
    about = _ABOUT.fullmatch(rest)
    if about and (found := _BY_ID.get((method, about[1], about[3]))):
        return found[0], found[1], about[2]
    return "other", None, ""

"""Options of all submissions, and of all follow-ups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypedDict, get_args

import attrs

from ._models import AccountFilter, Bot, ImageHost, Speed
from ._protocol.payloads import check_choice
from ._protocol.urls import ServerUrl


class CommonOptions(TypedDict, total=False):
    state: str | None
    """An identifier of your own, at most 255 characters. With a unique one, a lost submission can
    be found again. Defaults to a generated one."""
    notify_hook: str | None
    """The URL to which the server posts updates."""
    account_filter: AccountFilter | Mapping[str, Any] | None
    """The accounts of the server that may run the task."""
    speed: Speed | None
    """Overrides the client's setting for this task."""
    image_host: ImageHost | None
    """Overrides the client's setting for this task."""
    extra: Mapping[str, Any] | None
    """Additional fields of the request, for options that have no argument here (`noStorage`,
    `tools`)."""


class SubmitOptions(CommonOptions, total=False):
    """Keyword arguments of every submission."""

    bot: Bot | None
    """The bot: "midjourney" or "niji"."""


class FollowUpOptions(CommonOptions, total=False):
    """Keyword arguments of every follow-up."""

    enable_remix: bool | None
    """Whether to request the modal of a button, on accounts with remix."""
    strong: bool | None
    """Whether a variation differs strongly, on servers with this option."""


_PATH_OPTIONS: Final = {"speed": get_args(Speed), "image_host": get_args(ImageHost)}
"""Options that are part of the path, and their choices."""


def url_for_options(route: ServerUrl, options: Mapping[str, Any], *, by_path: bool) -> ServerUrl:
    """Return the URL for a task whose options may change the speed or the image host.

    Args:
        route: The URL without these options.
        options: The keyword arguments of the caller.
        by_path: Whether the path may ask for a speed.

    Raises:
        InvalidRequest: There is no such speed or image host.
    """
    changes: dict[str, Any] = {}
    for name, choices in _PATH_OPTIONS.items():
        value = options.get(name)
        if value is not None and value != "":
            check_choice(name, value, choices)
            changes[name] = value
    if not by_path:
        changes["speed"] = None
    return attrs.evolve(route, **changes) if changes else route

"""Options of all submissions, and of all follow-ups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypedDict, get_args

import attrs

from ._models import AccountFilter, Bot, ImageHost, Speed
from ._protocol.urls import ServerUrl
from .errors import InvalidRequest

__all__ = ["FollowUpOptions", "SubmitOptions", "url_for_options"]


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


_PATH_OPTIONS: Final = frozenset({"speed", "image_host"})
"""Options that are part of the path."""


def url_for_options(route: ServerUrl, options: Mapping[str, Any], *, by_path: bool) -> ServerUrl:
    """Return the URL for a task whose options may change the speed or the image host.

    Without `by_path`, only the prompt carries the speed.

    Raises:
        InvalidRequest: There is no such speed or image host.
    """
    given = {name: options.get(name) for name in _PATH_OPTIONS}
    wanted = {name: value for name, value in given.items() if value is not None and value != ""}
    for name, choices in (("speed", Speed), ("image_host", ImageHost)):
        check_choice(name, wanted.get(name), choices)
    if not by_path:
        wanted["speed"] = None
    return attrs.evolve(route, **wanted) if wanted else route


def check_choice(name: str, value: object, choices: Any) -> None:  # noqa: ANN401 - a Literal
    """Check that a value is one of a Literal's choices, or None.

    Raises:
        InvalidRequest: It is not.
    """
    words = get_args(choices)
    if value is not None and value not in words:
        message = f"{name} must be {', '.join(map(str, words[:-1]))} or {words[-1]}, not {value!r}."
        raise InvalidRequest(message)

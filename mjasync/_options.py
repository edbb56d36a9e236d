"""What may be said along with every submission: one table from our words to the wire's."""

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
    """A mark of your own, 255 characters at most. A unique one lets a lost submission be found
    again; made up where none is given."""
    notify_hook: str | None
    """Where the server is to post updates."""
    account_filter: AccountFilter | Mapping[str, Any] | None
    """Which of the server's accounts may do it."""
    speed: Speed | None
    """For this job, instead of the client's."""
    image_host: ImageHost | None
    """For this job, instead of the client's."""
    extra: Mapping[str, Any] | None
    """Further fields for the request as they are, for what a server takes and this does not name
    (`noStorage`, `tools`…)."""


class SubmitOptions(CommonOptions, total=False):
    """Keywords that every submission takes."""

    bot: Bot | None
    """Which of Midjourney's bots: "midjourney" or "niji"."""


class FollowUpOptions(CommonOptions, total=False):
    """Keywords that every button takes."""

    enable_remix: bool | None
    """Ask for the modal, so that the prompt can be changed, where the account allows remix."""
    strong: bool | None
    """Whether a variation is to differ strongly, on servers that choose."""


_PATH_OPTIONS: Final = frozenset({"speed", "image_host"})
"""Options that go into the path."""


def url_for_options(route: ServerUrl, options: Mapping[str, Any], *, by_path: bool) -> ServerUrl:
    """Where a job goes whose options ask for another speed or image host.

    Without `by_path` the speed is asked for in the prompt alone.

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
    """Check a value against a Literal.

    Raises:
        InvalidRequest: It is none of them.
    """
    words = get_args(choices)
    if value is not None and value not in words:
        message = f"{name} must be {', '.join(map(str, words[:-1]))} or {words[-1]}, not {value!r}."
        raise InvalidRequest(message)

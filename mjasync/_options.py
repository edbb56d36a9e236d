"""What may be said along with every submission: one table from our words to the wire's."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypedDict, get_args

import attrs

from ._models import Bot, ImageHost, Speed
from ._protocol import decoding as codec
from ._protocol.urls import Route
from ._validation import check_encodable
from .errors import InvalidRequest

__all__ = [
    "MADE_UP",
    "AccountFilter",
    "FollowUpOptions",
    "SubmitOptions",
    "check_sendable",
    "common_fields",
    "filter_fields",
    "route_for",
]


def _modes(value: Iterable[Speed]) -> tuple[Speed, ...]:
    return tuple(value)


@attrs.frozen(kw_only=True)
class AccountFilter:
    """Which of the server's accounts may do a job (PROTOCOL §1.1); gateways drop or replace it."""

    instance_id: str | None = None
    """The account's id (a channel id)."""
    modes: tuple[Speed, ...] = attrs.field(default=(), converter=_modes)
    """The speeds it must allow."""
    remix: bool | None = None
    niji_remix: bool | None = None
    remix_auto_considered: bool | None = None
    remark: str | None = None

    def to_wire(self) -> dict[str, Any]:
        """As the servers spell it."""
        fields = {
            "instanceId": self.instance_id,
            "modes": [mode.upper() for mode in self.modes] or None,
            "remix": self.remix,
            "nijiRemix": self.niji_remix,
            "remixAutoConsidered": self.remix_auto_considered,
            "remark": self.remark,
        }
        return {name: value for name, value in fields.items() if value is not None}


class _Options(TypedDict, total=False):
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


class SubmitOptions(_Options, total=False):
    """Keywords that every submission takes."""

    bot: Bot | None
    """Which of Midjourney's bots: "midjourney" or "niji"."""


class FollowUpOptions(_Options, total=False):
    """Keywords that every button takes."""

    enable_remix: bool | None
    """Ask for the modal, so that the prompt can be changed, where the account allows remix."""
    strong: bool | None
    """Whether a variation is to differ strongly, on servers that choose."""


_BOTS: Final[Mapping[str, str]] = {"midjourney": "MID_JOURNEY", "niji": "NIJI_JOURNEY"}
MADE_UP: Final = "mjasync-"
"""How a state begins that was made up here."""
_STATE_AT_MOST: Final = 255
_ELSEWHERE: Final = frozenset({"speed", "image_host"})
"""Options that go into the path."""


def _state(value: object) -> str:
    if not isinstance(value, str):
        message = f"state must be text, not {type(value).__name__} ({value!r})."
        raise InvalidRequest(message)
    if len(value) > _STATE_AT_MOST:
        message = f"state has {len(value)} characters; servers take {_STATE_AT_MOST} at most."
        raise InvalidRequest(message)
    return value


def _bot(value: object) -> str:
    if not isinstance(value, str) or value not in _BOTS:
        message = f"bot must be one of {', '.join(_BOTS)}, not {value!r}."
        raise InvalidRequest(message)
    return _BOTS[value]


def _hook(value: object) -> str:
    if not isinstance(value, str) and not hasattr(value, "host"):  # URL objects count, too
        message = f"notify_hook must be an address as text, not {type(value).__name__} ({value!r})."
        raise InvalidRequest(message)
    return str(value)


def _switch(value: object) -> bool:
    if not isinstance(value, bool):
        message = f"enable_remix and strong must be True, False or None, not {value!r}."
        raise InvalidRequest(message)
    return value


def filter_fields(value: AccountFilter | Mapping[str, Any]) -> dict[str, Any]:
    """What goes on the wire for an account filter.

    Raises:
        InvalidRequest: It is none.
    """
    if isinstance(value, AccountFilter):
        return value.to_wire()
    try:
        return dict(value)
    except (TypeError, ValueError):
        message = f"account_filter must be an AccountFilter or a mapping, not {value!r}."
        raise InvalidRequest(message) from None


_WIRE: Final[Mapping[str, tuple[str, Callable[[Any], Any]]]] = {
    "state": ("state", _state),
    "notify_hook": ("notifyHook", _hook),
    "account_filter": ("accountFilter", filter_fields),
    "bot": ("botType", _bot),
    "enable_remix": ("enableRemix", _switch),
    "strong": ("strong", _switch),
}


def common_fields(options: Mapping[str, Any], known: frozenset[str]) -> dict[str, Any]:
    """The options as the wire spells them; a `state` is made up where none is given.

    `known` are the names of those that may be given.

    Raises:
        InvalidRequest: One of them cannot be sent.
        TypeError: There is no such option.
    """
    unknown = options.keys() - known
    if unknown:
        there_are = ", ".join(sorted(known))
        message = f"There is no option {', '.join(sorted(unknown))}; there are {there_are}."
        raise TypeError(message)
    fields: dict[str, Any] = {"state": f"{MADE_UP}{uuid.uuid4().hex}"}
    for name, (wire_name, spell) in _WIRE.items():
        value = options.get(name)
        if value is not None and value != "":
            fields[wire_name] = spell(value)
    extra: object = options.get("extra")
    if extra is None:
        extra = {}
    if not isinstance(extra, Mapping):
        message = f"extra must be a mapping of further fields, not {extra!r}."
        raise InvalidRequest(message)
    fields.update(extra)
    check_sendable(fields)
    return fields


def check_sendable(fields: Mapping[str, Any]) -> None:
    """Check that every field can be sent as JSON.

    Raises:
        InvalidRequest: One cannot: it holds half an emoji, or something that JSON has no form for.
    """
    for name, value in fields.items():
        if isinstance(value, str):
            check_encodable(value, f"The {name}")
            continue
        try:
            codec.dump(value)
        except TypeError as error:
            message = f"{name} cannot be sent as JSON: {error}."
            raise InvalidRequest(message) from None


def route_for(route: Route, options: Mapping[str, Any], *, by_path: bool) -> Route:
    """Where a job goes whose options ask for another speed or image host.

    Without `by_path` the speed is asked for in the prompt alone.

    Raises:
        InvalidRequest: There is no such speed or image host.
    """
    given = {name: options.get(name) for name in _ELSEWHERE}
    wanted = {name: value for name, value in given.items() if value is not None and value != ""}
    for name, choices in (("speed", Speed), ("image_host", ImageHost)):
        one_of(name, wanted.get(name), choices)
    if not by_path:
        wanted["speed"] = None
    return attrs.evolve(route, **wanted) if wanted else route


def one_of(name: str, value: object, choices: Any) -> None:  # noqa: ANN401 - a Literal
    """Check a value against a Literal.

    Raises:
        InvalidRequest: It is none of them.
    """
    words = get_args(choices)
    if value is not None and value not in words:
        message = f"{name} must be {', '.join(map(str, words[:-1]))} or {words[-1]}, not {value!r}."
        raise InvalidRequest(message)

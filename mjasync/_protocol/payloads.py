"""The payload of each submission, built from typed arguments."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final

from .._models import AccountFilter
from .._validation import check_encodable
from ..errors import InvalidRequest
from . import decoding

__all__ = ["MADE_UP", "check_sendable", "common_fields", "filter_fields"]


_BOTS: Final[Mapping[str, str]] = {"midjourney": "MID_JOURNEY", "niji": "NIJI_JOURNEY"}


MADE_UP: Final = "mjasync-"
"""How a state begins that was made up here."""


_STATE_AT_MOST: Final = 255


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
            decoding.dump(value)
        except TypeError as error:
            message = f"{name} cannot be sent as JSON: {error}."
            raise InvalidRequest(message) from None

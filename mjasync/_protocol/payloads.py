"""The payload of each submission, built from typed arguments."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final

from .._models import AccountFilter
from .._validation import check_encodable
from ..errors import InvalidRequest
from . import decoding

__all__ = ["GENERATED_STATE_PREFIX", "account_filter_payload", "check_sendable", "common_payload"]


_BOT_TYPES: Final[Mapping[str, str]] = {"midjourney": "MID_JOURNEY", "niji": "NIJI_JOURNEY"}


GENERATED_STATE_PREFIX: Final = "mjasync-"
"""How a state begins that was made up here."""


_MAX_STATE_LENGTH: Final = 255


def _check_state(value: object) -> str:
    if not isinstance(value, str):
        message = f"state must be text, not {type(value).__name__} ({value!r})."
        raise InvalidRequest(message)
    if len(value) > _MAX_STATE_LENGTH:
        message = f"state has {len(value)} characters; servers take {_MAX_STATE_LENGTH} at most."
        raise InvalidRequest(message)
    return value


def _bot_type(value: object) -> str:
    if not isinstance(value, str) or value not in _BOT_TYPES:
        message = f"bot must be one of {', '.join(_BOT_TYPES)}, not {value!r}."
        raise InvalidRequest(message)
    return _BOT_TYPES[value]


def _check_webhook_url(value: object) -> str:
    if not isinstance(value, str) and not hasattr(value, "host"):  # URL objects count, too
        message = f"notify_hook must be an address as text, not {type(value).__name__} ({value!r})."
        raise InvalidRequest(message)
    return str(value)


def _check_bool(value: object) -> bool:
    if not isinstance(value, bool):
        message = f"enable_remix and strong must be True, False or None, not {value!r}."
        raise InvalidRequest(message)
    return value


def account_filter_payload(value: AccountFilter | Mapping[str, Any]) -> dict[str, Any]:
    """Return the `accountFilter` of a request.

    Raises:
        InvalidRequest: It is none.
    """
    if isinstance(value, AccountFilter):
        return value.to_payload()
    try:
        return dict(value)
    except (TypeError, ValueError):
        message = f"account_filter must be an AccountFilter or a mapping, not {value!r}."
        raise InvalidRequest(message) from None


_OPTION_FIELDS: Final[Mapping[str, tuple[str, Callable[[Any], Any]]]] = {
    "state": ("state", _check_state),
    "notify_hook": ("notifyHook", _check_webhook_url),
    "account_filter": ("accountFilter", account_filter_payload),
    "bot": ("botType", _bot_type),
    "enable_remix": ("enableRemix", _check_bool),
    "strong": ("strong", _check_bool),
}


def common_payload(options: Mapping[str, Any], allowed: frozenset[str]) -> dict[str, Any]:
    """Return the fields of the options; `state` is generated if missing.

    `allowed` are the names of those that may be given.

    Raises:
        InvalidRequest: One of them cannot be sent.
        TypeError: There is no such option.
    """
    unknown = options.keys() - allowed
    if unknown:
        there_are = ", ".join(sorted(allowed))
        message = f"There is no option {', '.join(sorted(unknown))}; there are {there_are}."
        raise TypeError(message)
    fields: dict[str, Any] = {"state": f"{GENERATED_STATE_PREFIX}{uuid.uuid4().hex}"}
    for name, (wire_name, spell) in _OPTION_FIELDS.items():
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
            decoding.dump_json(value)
        except TypeError as error:
            message = f"{name} cannot be sent as JSON: {error}."
            raise InvalidRequest(message) from None

"""What gateways read out of a custom id, and out of a body in general (PROTOCOL §5.3, §7.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs
import orjson

__all__ = ["ACTIONS", "CONDITION", "NOTICE", "Crash", "Press", "Unreadable", "bind", "press_of"]

ACTIONS: Final = frozenset(
    {
        *("IMAGINE", "DESCRIBE", "BLEND", "SHORTEN", "UPLOAD", "SWAP_FACE", "MODAL"),
        *("UPSCALE", "VARIATION", "LOW_VARIATION", "HIGH_VARIATION", "REROLL"),
        *("INPAINT", "ZOOM", "CUSTOM_ZOOM", "PAN"),
    }
)
"""Actions that a gateway sells (PROTOCOL §3.4)."""

_WHOLE: Final = {"Outpaint": "ZOOM", "CustomZoom": "CUSTOM_ZOOM", "Inpaint": "INPAINT"}
_VARIATIONS: Final = {
    "variation": "VARIATION",
    "low_variation": "LOW_VARIATION",
    "high_variation": "HIGH_VARIATION",
}

_REQUEST: Final[Mapping[str, type]] = {
    **dict.fromkeys(("prompt", "customId", "botType", "notifyHook", "action", "state"), str),
    **dict.fromkeys(("taskId", "content", "maskBase64", "sourceBase64", "targetBase64"), str),
    "index": int,
    "base64Array": list,
}
NOTICE: Final[Mapping[str, type]] = {
    **dict.fromkeys(("id", "promptEn", "state", "imageUrl", "status", "progress"), str),
    "failReason": str,
    **dict.fromkeys(("submitTime", "startTime", "finishTime"), int),
}
"""The fields of an inbound webhook (PROTOCOL §1.18)."""
CONDITION: Final[Mapping[str, type]] = {"ids": list}
"""The field of a list (PROTOCOL §1.15)."""


class Unreadable(ValueError):
    """Raised where a request cannot be read; the text is what the gateway says."""


class Crash(Exception):
    """Raised where a gateway's handler panics."""


@attrs.frozen
class Press:
    """What pressing a button means to a gateway."""

    action: str
    index: int


def bind(raw: bytes, fields: Mapping[str, type] = _REQUEST) -> tuple[dict[str, Any], Any]:
    """A body as a Go struct takes it, and as it came.

    Args:
        raw: The body.
        fields: The types of what the struct knows; anything else passes unseen.

    Returns:
        Every field, with its zero value where it is absent or null; and the whole body.

    Raises:
        Unreadable: It is no JSON object, or a field has another type (PROTOCOL §7.2).
    """
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        problem = "invalid character" if raw else "unexpected end of JSON input"
        raise Unreadable(problem) from error
    if body is not None and not isinstance(body, dict):
        raise Unreadable(f"json: cannot unmarshal {_go_name(body)} into Go value of type struct")
    given = body or {}
    return {key: _bound(key, given.get(key), kind) for key, kind in fields.items()}, body


def _bound(key: str, value: object, kind: type) -> object:
    if value is None:
        return kind()
    members = value if isinstance(value, list) and kind is list else ()
    fits = isinstance(value, kind) and not isinstance(value, bool)
    for wrong in [value] if not fits else [one for one in members if not isinstance(one, str)]:
        raise Unreadable(f"json: cannot unmarshal {_go_name(wrong)} into Go struct field .{key}")
    return value


def _go_name(value: object) -> str:
    names: Mapping[type, str] = {bool: "bool", str: "string", list: "array", dict: "object"}
    return names.get(type(value), "number")


def press_of(custom_id: str) -> Press:
    """What a custom id stands for.

    Raises:
        Unreadable: Nothing that is sold.
        Crash: It has fewer fields than the gateway reaches for.
    """
    if not custom_id:
        raise Unreadable("custom_id_is_required")
    fields = custom_id.split("::")
    kind = _field(fields, 1)
    word = _field(fields, 2) if kind == "JOB" else kind
    if "upsample" in word:
        return Press("UPSCALE", _index(fields))
    if "variation" in word:
        return Press(_VARIATIONS.get(word, ""), _index(fields) if word == "variation" else 1)
    if "pan" in word:
        return Press("PAN", 1)
    if "reroll" in word:
        return Press("REROLL", 1)
    if word in _WHOLE:
        return Press(_WHOLE[word], 1)
    raise Unreadable(f"unknown_action:{custom_id}")


def _index(fields: list[str]) -> int:
    try:
        return int(_field(fields, 3))
    except ValueError as error:
        raise Unreadable("index_parse_failed") from error


def _field(fields: list[str], position: int) -> str:
    if position >= len(fields):
        size = len(fields)
        raise Crash(f"runtime error: index out of range [{position}] with length {size}")
    return fields[position]

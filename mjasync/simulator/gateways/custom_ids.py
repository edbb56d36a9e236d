"""What gateways read out of a request: its fields, and a custom id (PROTOCOL §5.3, §7.2)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import attrs

from .go_json import GoJsonError

__all__ = [
    "FACE_SWAP_FIELDS",
    "LIST_FIELDS",
    "NOTIFY_FIELDS",
    "SOLD_ACTIONS",
    "SUBMIT_FIELDS",
    "CustomIdAction",
    "UpstreamCrash",
    "parse_custom_id",
]

SOLD_ACTIONS: Final = frozenset(
    {
        *("IMAGINE", "DESCRIBE", "BLEND", "SHORTEN", "UPLOAD", "SWAP_FACE", "MODAL"),
        *("UPSCALE", "VARIATION", "LOW_VARIATION", "HIGH_VARIATION", "REROLL"),
        *("INPAINT", "ZOOM", "CUSTOM_ZOOM", "PAN", "EDITS", "VIDEO"),
    }
)
"""Actions that a gateway sells (PROTOCOL §3.4)."""

_INTEGER: Final = re.compile(r"[+-]?[0-9]+")
_DIGITS: Final = {"Outpaint": "ZOOM", "CustomZoom": "CUSTOM_ZOOM", "Inpaint": "INPAINT"}
_VARIATION_ACTIONS: Final = {
    "variation": "VARIATION",
    "low_variation": "LOW_VARIATION",
    "high_variation": "HIGH_VARIATION",
}

SUBMIT_FIELDS: Final[Mapping[str, type]] = {
    **dict.fromkeys(("prompt", "customId", "botType", "notifyHook", "action", "state"), str),
    **dict.fromkeys(("taskId", "content", "maskBase64"), str),
    "index": int,
    "base64Array": list,
}
"""The fields of a submission."""
FACE_SWAP_FIELDS: Final[Mapping[str, type]] = dict.fromkeys(("sourceBase64", "targetBase64"), str)
"""The fields of a face swap."""
NOTIFY_FIELDS: Final[Mapping[str, type]] = {
    **dict.fromkeys(("id", "promptEn", "state", "imageUrl", "status", "progress"), str),
    "failReason": str,
    **dict.fromkeys(("submitTime", "startTime", "finishTime"), int),
}
"""The fields of an inbound webhook (PROTOCOL §1.18)."""
LIST_FIELDS: Final[Mapping[str, type]] = {"ids": list}
"""The field of a list (PROTOCOL §1.15)."""


class UpstreamCrash(Exception):
    """Raised where a gateway's handler panics."""


@attrs.frozen
class CustomIdAction:
    """What pressing a button means to a gateway."""

    action: str
    index: int


def parse_custom_id(custom_id: str) -> CustomIdAction:
    """What a custom id stands for.

    Raises:
        Unreadable: Nothing that is sold.
        Crash: It has fewer fields than the gateway reaches for.
    """
    if not custom_id:
        raise GoJsonError("custom_id_is_required")
    fields = custom_id.split("::")
    kind = _field_at(fields, 1)
    action_name = _field_at(fields, 2) if kind == "JOB" else kind
    if not action_name:
        raise GoJsonError("unknown_action")
    if "upsample" in action_name:
        return CustomIdAction("UPSCALE", _parse_index(fields))
    if "variation" in action_name:
        return CustomIdAction(
            _VARIATION_ACTIONS.get(action_name, ""),
            _parse_index(fields) if action_name == "variation" else 1,
        )
    if "pan" in action_name:
        return CustomIdAction("PAN", 1)
    if "reroll" in action_name:
        return CustomIdAction("REROLL", 1)
    if action_name in _DIGITS:
        return CustomIdAction(_DIGITS[action_name], 1)
    raise GoJsonError(f"unknown_action:{custom_id}")


def _parse_index(fields: list[str]) -> int:
    if not _INTEGER.fullmatch(digits := _field_at(fields, 3)):
        raise GoJsonError("index_parse_failed")
    return int(digits)


def _field_at(fields: list[str], position: int) -> str:
    if position >= len(fields):
        length = len(fields)
        raise UpstreamCrash(f"runtime error: index out of range [{position}] with length {length}")
    return fields[position]

"""Custom ids as gateways interpret them (PROTOCOL §5.3)."""

from __future__ import annotations

import re
from typing import Final

import attrs

from .go_json import GoJsonError

SOLD_ACTIONS: Final = frozenset(
    {
        *("IMAGINE", "DESCRIBE", "BLEND", "SHORTEN", "UPLOAD", "SWAP_FACE", "MODAL"),
        *("UPSCALE", "VARIATION", "LOW_VARIATION", "HIGH_VARIATION", "REROLL"),
        *("INPAINT", "ZOOM", "CUSTOM_ZOOM", "PAN", "EDITS", "VIDEO"),
    }
)
"""Actions that a gateway sells (PROTOCOL §3.4)."""
_INTEGER: Final = re.compile(r"[+-]?[0-9]+")
_ACTIONS_BY_NAME: Final = {
    "Outpaint": "ZOOM",
    "CustomZoom": "CUSTOM_ZOOM",
    "Inpaint": "INPAINT",
}
_VARIATION_ACTIONS: Final = {
    "variation": "VARIATION",
    "low_variation": "LOW_VARIATION",
    "high_variation": "HIGH_VARIATION",
}


class GatewayPanic(Exception):
    """Raised where the handler of a gateway panics."""


@attrs.frozen
class CustomIdAction:
    """The action of a button, as a gateway records it."""

    action: str
    index: int


def parse_custom_id(custom_id: str) -> CustomIdAction:
    """Return the action that a custom id stands for.

    Raises:
        GoJsonError: The gateway does not sell it.
        GatewayPanic: It has fewer fields than the gateway reads.
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
        index = _parse_index(fields) if action_name == "variation" else 1
        return CustomIdAction(_VARIATION_ACTIONS.get(action_name, ""), index)
    for name, action in (("pan", "PAN"), ("reroll", "REROLL")):
        if name in action_name:
            return CustomIdAction(action, 1)
    if action_name in _ACTIONS_BY_NAME:
        return CustomIdAction(_ACTIONS_BY_NAME[action_name], 1)
    raise GoJsonError(f"unknown_action:{custom_id}")


def _parse_index(fields: list[str]) -> int:
    if not _INTEGER.fullmatch(digits := _field_at(fields, 3)):
        raise GoJsonError("index_parse_failed")
    return int(digits)


def _field_at(fields: list[str], position: int) -> str:
    if position >= len(fields):
        length = len(fields)
        raise GatewayPanic(f"runtime error: index out of range [{position}] with length {length}")
    return fields[position]

"""Checks of the arguments of follow-ups, before a Task of the chain is paid."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from ._validation import check_encodable
from .errors import InvalidRequest

ZOOM_RANGE: Final = (1.0, 2.0)
"""The factors of Midjourney's custom zoom (PROTOCOL §4.2)."""
_VERB_DETAILS: Final[Mapping[str, tuple[str, ...]]] = {
    "upscale": ("1", "2", "3", "4", "subtle", "creative", "2x", "4x"),
    "vary": ("1", "2", "3", "4", "subtle", "strong"),
    "pan": ("left", "right", "up", "down"),
    "animate": ("low", "high"),
    "extend": ("low", "high"),
    "imagine": ("1", "2", "3", "4", "5", "all"),
}
"""The details that some server supports. Other details are refused at once, before the earlier
Tasks of a chain are paid."""


def check_details(verb: str, details: Iterable[object]) -> None:
    """Check that some server has a button for a verb and its details.

    Raises:
        InvalidRequest: No server has one.
    """
    choices = _VERB_DETAILS.get(verb)
    for detail in details:
        if choices is not None and detail not in choices:
            message = f"{verb} takes {', '.join(choices[:-1])} or {choices[-1]}, not {detail!r}."
            raise InvalidRequest(message)


def check_button(button: object) -> None:
    if not isinstance(button, str | int) or isinstance(button, bool):
        message = f"A button is a text or a position, not {type(button).__name__} ({button!r})."
        raise InvalidRequest(message)


def check_mask(mask: object) -> None:
    if mask is None:
        message = "This needs a mask, not None: a PNG, white where to repaint, on black."
        raise InvalidRequest(message)


def check_prompt(prompt: object) -> None:
    if prompt is None:
        return
    if not isinstance(prompt, str):
        message = f"A prompt is text, not {type(prompt).__name__} ({prompt!r})."
        raise InvalidRequest(message)
    check_encodable(prompt, "The prompt")


def grid_number(number: int) -> str:
    if number not in range(1, 5):
        message = f"A grid has pictures 1 to 4, not {number}."
        raise InvalidRequest(message)
    return str(number)

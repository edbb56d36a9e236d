"""Checks of the arguments of follow-ups, before a Task of the chain is paid."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from ._validation import check_encodable
from .errors import InvalidRequest

__all__ = ["ZOOM_RANGE", "check_details", "check_prompt", "grid_number"]


ZOOM_RANGE: Final = (1.0, 2.0)
"""What Midjourney's custom zoom takes (PROTOCOL §4.2)."""


_VERB_DETAILS: Final[Mapping[str, tuple[str, ...]]] = {
    "upscale": ("1", "2", "3", "4", "subtle", "creative", "2x", "4x"),
    "vary": ("1", "2", "3", "4", "subtle", "strong"),
    "pan": ("left", "right", "up", "down"),
    "animate": ("low", "high"),
    "extend": ("low", "high"),
    "imagine": ("1", "2", "3", "4", "5", "all"),
}
"""What a verb can be asked for, whatever the server: anything else would pay for the Tasks before
it in a chain first."""


def check_details(verb: str, details: Iterable[object]) -> None:
    """Refuse what no server has a button for.

    Raises:
        InvalidRequest: There is no such kind of that verb.
    """
    words = _VERB_DETAILS.get(verb)
    for detail in details:
        if words is not None and detail not in words:
            message = f"{verb} takes {', '.join(words[:-1])} or {words[-1]}, not {detail!r}."
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

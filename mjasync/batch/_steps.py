"""Steps as paths of buttons: `"U1>Custom Zoom[{prompt} --zoom 1.8]"`.

`>` separates the buttons. The text in brackets after a button answers its modal, and may contain
`>` and matching brackets.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import accumulate
from typing import Final

from .._models import Button
from .._protocol.buttons import ButtonMeaning, classify_button
from ..errors import ConfigurationError, InvalidRequest, ModalRequired

FIELD_PATTERN: Final = re.compile(r"(?<!\\)\{([^{},\\]+)\}")
"""A name in braces; braces with a comma stand for alternatives."""
_ESCAPED_BRACE: Final = re.compile(r"\\([{}])")
_INPAINT: Final = ButtonMeaning("inpaint")
_CUSTOM_ZOOM: Final = ButtonMeaning("zoom", "custom")
_REMIX_VERBS: Final = frozenset({"vary", "reroll", "pan", "animate", "extend"})
"""Verbs whose buttons open a modal on request (PROTOCOL §4.1)."""
_WITHOUT_MODAL: Final = frozenset({"upscale", "zoom", "bookmark", "details"})
"""Verbs whose buttons open no modal, except for the custom zoom."""


def split_steps(step: str) -> list[str]:
    """Split a path into its buttons, each with its answer."""
    depth, start, parts = 0, 0, []
    for index, character in enumerate(step):
        depth += (character == "[") - (character == "]")
        if character == ">" and not depth:
            parts.append(step[start:index])
            start = index + 1
    return [*parts, step[start:]]


def parse_path(step: str) -> tuple[str, ...]:
    """Return the buttons of a path without surrounding blanks.

    Raises:
        ConfigurationError: It is not a path.
    """
    return tuple(_parse_element(element, step) for element in split_steps(step))


def _parse_element(element: str, step: str) -> str:
    label, opens, remainder = element.partition("[")
    answer, closes, trail = remainder.rpartition("]")
    depths = [*accumulate((character == "[") - (character == "]") for character in answer)]
    has_matching_brackets = bool(depths) and min(depths) >= 0 and depths[-1] == 0
    is_answer = closes and answer.strip() and not trail.strip() and has_matching_brackets
    if not label.strip() or "]" in label or (opens and not is_answer):
        message = (
            f"{step!r} is not a path of buttons: write them as in 'U1>Upscale (Subtle)', "
            "and the answer to a modal as in 'U1>Custom Zoom[{prompt} --zoom 1.8]'."
        )
        raise ConfigurationError(message)
    return f"{label.strip()}[{answer.strip()}]" if opens else label.strip()


def parent_path(step: str) -> str:
    """Return a path without its last button; "" for the grid."""
    return ">".join(split_steps(step)[:-1])


def last_step(step: str) -> tuple[str, str | None]:
    """Return the last button of a path, and the answer to its modal if there is one."""
    label, opens, answer = split_steps(step)[-1].partition("[")
    return label, answer.removesuffix("]") if opens else None


def fill_answer(answer: str, fields: Mapping[str, str]) -> str:
    """Replace the fields of an answer by `{prompt}` and the columns of the row."""
    parts, end = [], 0
    for match in FIELD_PATTERN.finditer(answer):
        value = fields.get(match[1].strip(), match[0])
        parts += [_ESCAPED_BRACE.sub(r"\1", answer[end : match.start()]), value]
        end = match.end()
    return "".join([*parts, _ESCAPED_BRACE.sub(r"\1", answer[end:])])


def check_fields(text: str, columns: Iterable[str]) -> None:
    """Check that every name in braces is the name of a column.

    Raises:
        InvalidRequest: One is not, and would be drawn as a word.
    """
    existing = [*columns]
    for name in FIELD_PATTERN.findall(text):
        if name.strip() not in existing:
            available = ", ".join(f"{{{column}}}" for column in existing) or "none"
            message = (
                f"There is no column {name.strip()!r} for {{{name}}} in {text[:80]!r}; there are: "
                f"{available}. Write \\{{{name}\\}} for the braces themselves."
            )
            raise InvalidRequest(message)


def needs_remix(button: Button, answer: str | None) -> bool:
    """Return whether a press must request its modal to be answered.

    Raises:
        ModalRequired: The button always opens a modal, and there is no valid answer.
        InvalidRequest: The button never opens one.
    """
    meaning = classify_button(button)
    if meaning == _INPAINT or (meaning == _CUSTOM_ZOOM and answer is None):
        name = button.label or button.emoji
        error = ModalRequired(f"{name} opens a modal, and the step does not answer it.")
        error.hint = (
            "It needs a mask: press it in a function."
            if meaning == _INPAINT
            else f"Write the answer in brackets, as in '{name}[{{prompt}} --zoom 1.8]'."
        )
        raise error
    if meaning is None or answer is None or meaning == _CUSTOM_ZOOM:
        return False
    if meaning.verb in _WITHOUT_MODAL:
        raise InvalidRequest(
            f"{button.label or button.emoji} opens no modal, so it cannot be answered."
        )
    return meaning.verb in _REMIX_VERBS

"""Steps as paths of buttons: `"U1>Custom Zoom[{prompt} --zoom 1.8]"`.

`>` parts the buttons; what stands in brackets after a button answers the modal it opens, and may
hold `>` and brackets that match.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import accumulate
from typing import Final

from .._models import Button
from .._protocol.buttons import ButtonMeaning, classify_button
from ..errors import ConfigurationError, InvalidRequest, ModalRequired

__all__ = [
    "FIELD_PATTERN",
    "check_fields",
    "fill_answer",
    "last_step",
    "needs_remix",
    "parent_path",
    "parse_path",
    "split_steps",
]

FIELD_PATTERN: Final = re.compile(r"(?<!\\)\{([^{},\\]+)\}")
"""A name in braces: what holds a comma stands for several instead."""
_ESCAPED_BRACE: Final = re.compile(r"\\([{}])")
_INPAINT: Final = ButtonMeaning("inpaint")
_CUSTOM_ZOOM: Final = ButtonMeaning("zoom", "custom")
_REMIX_VERBS: Final = frozenset({"vary", "reroll", "pan", "animate", "extend"})
"""Verbs whose buttons open a modal when they are asked to (PROTOCOL §4.1)."""
_WITHOUT_MODAL: Final = frozenset({"upscale", "zoom", "bookmark", "details"})
"""Verbs whose buttons open none, but for the custom zoom."""


def split_steps(step: str) -> list[str]:
    """The buttons of a path, each with its answer."""
    depth, start, parts = 0, 0, []
    for index, character in enumerate(step):
        depth += (character == "[") - (character == "]")
        if character == ">" and not depth:
            parts.append(step[start:index])
            start = index + 1
    return [*parts, step[start:]]


def parse_path(step: str) -> tuple[str, ...]:
    """A path as it was meant: the buttons, blanks around them and their answers gone.

    Raises:
        ConfigurationError: It is none.
    """
    return tuple(_parse_element(element, step) for element in split_steps(step))


def _parse_element(element: str, step: str) -> str:
    label, opens, remainder = element.partition("[")
    answer, closes, trail = remainder.rpartition("]")
    is_answer = bool(closes and answer.strip() and not trail.strip()) and _has_matching_brackets(
        answer
    )
    if not label.strip() or "]" in label or (opens and not is_answer):
        message = (
            f"{step!r} is no path of buttons: write them as in 'U1>Upscale (Subtle)', "
            "and the answer to a modal as in 'U1>Custom Zoom[{prompt} --zoom 1.8]'."
        )
        raise ConfigurationError(message)
    return f"{label.strip()}[{answer.strip()}]" if opens else label.strip()


def _has_matching_brackets(text: str) -> bool:
    """Whether the brackets in a text match."""
    depths = [*accumulate((character == "[") - (character == "]") for character in text)]
    return min(depths) >= 0 and depths[-1] == 0


def parent_path(step: str) -> str:
    """The path without its last button; "" for the grid."""
    return ">".join(split_steps(step)[:-1])


def last_step(step: str) -> tuple[str, str | None]:
    """The last button of a path, and the answer to its modal if there is one."""
    label, opens, answer = split_steps(step)[-1].partition("[")
    return label, answer.removesuffix("]") if opens else None


def fill_answer(answer: str, fields: Mapping[str, str]) -> str:
    """An answer with `{prompt}` and the columns of the row put in."""
    parts, end = [], 0
    for match in FIELD_PATTERN.finditer(answer):
        value = fields.get(match[1].strip(), match[0])
        parts += [_ESCAPED_BRACE.sub(r"\1", answer[end : match.start()]), value]
        end = match.end()
    return "".join([*parts, _ESCAPED_BRACE.sub(r"\1", answer[end:])])


def check_fields(text: str, columns: Iterable[str]) -> None:
    """See that every name in braces is one of some columns.

    Raises:
        InvalidRequest: One is not: it would be drawn as a word.
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
    """Whether a press must ask for its modal, for there is an answer.

    Raises:
        ModalRequired: It always opens one, and there is no answer that would do.
        InvalidRequest: It never opens one.
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
        raise InvalidRequest(f"{button.label or button.emoji} opens no modal to be answered.")
    return meaning.verb in _REMIX_VERBS

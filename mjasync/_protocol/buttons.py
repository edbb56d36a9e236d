"""Buttons: what they do, and a collection to look them up in (PROTOCOL §5.1).

Custom ids are matched by patterns. A button that no pattern matches can still be pressed by its
label or its id.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Final, overload

import attrs

from .._models import Button
from .._text import printable
from ..errors import ButtonNotFound

_MeaningTable = tuple[tuple[re.Pattern[str], str, str], ...]


@attrs.frozen
class ButtonMeaning:
    """What a button does, independent of its name in a model version."""

    verb: str
    """upscale, vary, reroll, zoom, pan, inpaint, animate, extend, imagine, details, bookmark."""
    detail: str = ""
    """The variant: "1"-"4", "subtle", "2x", "left", "custom"…"""

    def __str__(self) -> str:
        return f"{self.verb} {self.detail}".strip()


_CUSTOM_ID_PATTERNS: Final = (
    (r"JOB::upsample::(\d)", "upscale", r"\1"),
    (r"JOB::video_virtual_upscale::(\d)", "upscale", r"\1"),
    (r"JOB::upsample_.*?(subtle|creative)", "upscale", r"\1"),
    (r"JOB::upsample_.*?_(\dx)", "upscale", r"\1"),
    (r"JOB::variation::(\d)", "vary", r"\1"),
    (r"JOB::low_variation", "vary", "subtle"),
    (r"JOB::high_variation", "vary", "strong"),
    (r"JOB::reroll|Picread::Retry", "reroll", ""),
    (r"Inpaint", "inpaint", ""),
    (r"Outpaint::50", "zoom", "2"),
    (r"Outpaint::75", "zoom", "1.5"),
    (r"Outpaint::100", "zoom", "square"),
    (r"CustomZoom", "zoom", "custom"),
    (r"JOB::pan_(left|right|up|down)", "pan", r"\1"),
    (r"JOB::animate_(high|low)_extend", "extend", r"\1"),
    (r"JOB::animate_(high|low)", "animate", r"\1"),
    (r"Job::PicReader::(\w+)", "imagine", r"\1"),
    (r"Job::PromptAnalyzer::(\d)", "imagine", r"\1"),
    (r"Job::PromptAnalyzerExtended", "details", ""),
    (r"BOOKMARK", "bookmark", ""),
)
_LABEL_PATTERNS: Final = (
    (r"U([1-4])", "upscale", r"\1"),
    (r"V([1-4])", "vary", r"\1"),
    (r"Upscale \((\w+)\)", "upscale", r"\1"),
    (r"Vary \((subtle|strong)\)", "vary", r"\1"),
    (r"Vary \(region\)", "inpaint", ""),
    (r"Zoom Out ([\d.]+)x", "zoom", r"\1"),
    (r"Custom Zoom", "zoom", "custom"),
    (r"Make Square", "zoom", "square"),
    (r"Animate \((high|low).*\)", "animate", r"\1"),
    (r"Extend \((high|low).*\)", "extend", r"\1"),
    (r"Show Details", "details", ""),
    (r"Imagine all", "imagine", "all"),
)
_EMOJI: Final = (
    ("🔄", "reroll", ""),
    ("⬅", "pan", "left"),
    ("➡", "pan", "right"),
    ("⬆", "pan", "up"),
    ("⬇", "pan", "down"),
    ("❤", "bookmark", ""),
)


@cache
def _tables() -> tuple[_MeaningTable, _MeaningTable, _MeaningTable]:
    """Return the compiled patterns; compiling them takes longer than loading this module."""

    def compiled(rows: Iterable[tuple[str, str, str]]) -> _MeaningTable:
        return tuple((re.compile(text, re.IGNORECASE), verb, detail) for text, verb, detail in rows)

    return compiled(_CUSTOM_ID_PATTERNS), compiled(_LABEL_PATTERNS), compiled(_EMOJI)


def classify_button(button: Button) -> ButtonMeaning | None:
    """Return the meaning of a button by its custom id, label or emoji; None if unknown."""
    ids, labels, emoji = _tables()
    kind = re.sub(r"^MJ::", "", button.custom_id, flags=re.IGNORECASE)
    return (
        _first_match(ids, kind, whole=False)
        or _first_match(labels, button.label.strip(), whole=True)
        or (None if button.label else _first_match(emoji, _normalize(button.emoji), whole=True))
    )


def _first_match(table: _MeaningTable, text: str, *, whole: bool) -> ButtonMeaning | None:
    for pattern, verb, detail in table:
        match = pattern.fullmatch(text) if whole else pattern.match(text)
        if match:
            return ButtonMeaning(verb, match.expand(detail).lower())
    return None


def _normalize(text: str) -> str:
    """Remove variation selectors, which emoji may have or not, and case (PROTOCOL §7.3)."""
    return text.replace("\ufe0f", "").replace("\ufe0e", "").strip().casefold()


class Buttons(Sequence[Button]):
    """The buttons of a task in order, looked up by position, label, emoji or custom id.

    A button without a label is also found by its meaning ("reroll", "pan left").
    """

    __slots__ = ("_buttons",)

    def __init__(self, buttons: Iterable[Button]) -> None:
        self._buttons = tuple(buttons)

    @overload
    def __getitem__(self, key: int | str) -> Button: ...
    @overload
    def __getitem__(self, key: slice) -> Buttons: ...
    def __getitem__(self, key: int | str | slice) -> Button | Buttons:
        """Return the button at a position, or with a label, emoji or custom id.

        Raises:
            ButtonNotFound: There is none, or several share that emoji.
            IndexError: The position is out of range.
        """
        if isinstance(key, str):
            return self._find_by_name(key)
        if isinstance(key, slice):
            return Buttons(self._buttons[key])
        return self._buttons[key]

    def __len__(self) -> int:
        return len(self._buttons)

    def __iter__(self) -> Iterator[Button]:
        return iter(self._buttons)

    def __contains__(self, key: object) -> bool:
        if isinstance(key, str):
            return bool(self._matches(key))
        return key in self._buttons

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Buttons) and self._buttons == other._buttons

    def __hash__(self) -> int:
        return hash(self._buttons)

    def __repr__(self) -> str:
        return printable(f"Buttons({', '.join(self.names)})", None)

    @property
    def names(self) -> tuple[str, ...]:
        """A name for each button: its label, or its emoji with its meaning."""
        return tuple(map(_name, self._buttons))

    def meaning(self, verb: str, *details: str) -> Button:
        """Return the button for a verb, with the first of `details` that exists.

        Raises:
            ButtonNotFound: There is no such button.
        """
        offered = {classify_button(button): button for button in reversed(self._buttons)}
        for detail in details or ("",):
            button = offered.get(ButtonMeaning(verb, detail))
            if button is not None:
                return button
        raise self._not_found(str(ButtonMeaning(verb, details[0] if details else "")))

    def _find_by_name(self, key: str) -> Button:
        matches = self._matches(key)
        if not matches:
            raise self._not_found(key)
        first, *others = matches
        if others:
            names = ", ".join(map(_name, matches))
            message = f"{key!r} is on several buttons: {names}. Use a label instead."
            raise ButtonNotFound(message)
        return first

    def _matches(self, key: str) -> tuple[Button, ...]:
        """Return the buttons with a name, by the most specific kind of name that matches."""
        name = _normalize(key)
        for name_of in (_id_of, _label_of, _emoji_of, _meaning_of):
            matches = tuple(button for button in self._buttons if name == name_of(button))
            if name and matches:
                return matches
        return ()

    def _not_found(self, key: str) -> ButtonNotFound:
        if not self._buttons:
            return ButtonNotFound(f"There is no button {key!r}: this task has no buttons.")
        names = [*self.names, *(str(m) for m in map(classify_button, self._buttons) if m)]
        import difflib

        near = difflib.get_close_matches(key.casefold(), [n.casefold() for n in names], n=1)
        hint = next(
            (f" Did you mean {n!r}?" for n in names if near and n.casefold() == near[0]), ""
        )
        offered = ", ".join(self.names)
        return ButtonNotFound(f"There is no button {key!r}.{hint} This task has: {offered}.")


def _id_of(button: Button) -> str:
    return _normalize(button.custom_id)


def _label_of(button: Button) -> str:
    return _normalize(button.label)


def _emoji_of(button: Button) -> str:
    return _normalize(button.emoji)


def _meaning_of(button: Button) -> str:
    return str(classify_button(button) or "")


def _name(button: Button) -> str:
    if button.label.strip():
        return button.label.strip()
    meaning = classify_button(button)
    parts = [button.emoji.strip(), f"({meaning})" if meaning else ""]
    return " ".join(filter(None, parts)) or button.custom_id


def is_grid_upscale(button: Button) -> bool:
    """Return whether a button selects an image of a grid (U1-U4)."""
    meaning = classify_button(button)
    return meaning is not None and meaning.verb == "upscale" and meaning.detail.isdecimal()


def change_payload(button: Button) -> dict[str, str | int]:
    """Return the fields of `/submit/change` for a button; gateways require `index` (§1.6)."""
    meaning = classify_button(button)
    verb = meaning.verb if meaning else ""
    action = {"upscale": "UPSCALE", "vary": "VARIATION", "reroll": "REROLL"}[verb]
    return {"action": action, "index": int(meaning.detail) if meaning and meaning.detail else 1}

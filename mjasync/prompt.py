"""The text of a prompt and its flags. PROTOCOL §4.2, §6.1."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from .errors import InvalidRequest

__all__ = ["expand", "normalise", "with_flag", "with_speed", "without_flags"]

_SPEEDS: Final = ("relax", "fast", "turbo")
_FLAGS: Final = (
    "ar|aspect|bs|c|chaos|cref|cw|draft|end|exp|fast|hd|iw|loop|motion|niji|no|oref|ow|p|"
    "personalize|profile|public|q|quality|r|raw|relax|repeat|s|seed|sref|stealth|stop|style|"
    "stylize|sv|sw|tile|turbo|v|version|video|w|weird|zoom"
)
_DASHES: Final = rf"(?<!\S)[\u2010-\u2015\u2212-]*[\u2010-\u2015\u2212]-?(?=(?:{_FLAGS})\b)"
"""What a typing aid makes of the two dashes of a flag."""
_TYPED: Final = {
    **dict.fromkeys(map(ord, "\u201c\u201d\u201e\u201f\u2033\uff02"), '"'),
    **dict.fromkeys(map(ord, "\u2018\u2019\u201a\u201b\u2032\uff07"), "'"),
    **dict.fromkeys((0x200B, 0x2060, 0xFEFF, *range(0x202A, 0x202F), *range(0x2066, 0x206A)), ""),
}
"""Quotes made straight; blanks of no width and marks of direction left out."""
_BRACES: Final = frozenset("{}\\")
_ESCAPED: Final = ("{", "}", ",", "\\")


def without_flags(prompt: str, *names: str) -> str:
    """`prompt` without the flags `--name [value]`, however many dashes were typed.

    Phones turn `--` into a long dash; that counts as a flag too.
    """
    words = "|".join(map(re.escape, names))
    flag = rf"(?:^|\s)(?:--|—|–)(?:{words})\b(?:\s+(?!--|—|–)[\d.:]+)?"
    return re.sub(flag, "", prompt, flags=re.IGNORECASE).strip()


def with_flag(prompt: str, name: str, value: object = None) -> str:
    """`prompt` with the flag `--name value`, replacing one that is there already."""
    flag = f"--{name}" if value is None else f"--{name} {value}"
    return f"{without_flags(prompt, name)} {flag}".strip()


def with_speed(prompt: str, speed: str) -> str:
    """`prompt` asking for a speed by flag, replacing another one."""
    return with_flag(without_flags(prompt, *_SPEEDS), speed)


def normalise(prompt: str) -> str:
    """`prompt` as it was meant: what phones, word processors and tables did to it undone.

    Long dashes before a known flag become `--`, typographic quotes straight ones, any run of
    blanks one space; control characters and marks that nobody sees are gone.
    """
    if prompt.isascii() and prompt.isprintable():
        return " ".join(prompt.split())
    text = unicodedata.normalize("NFC", prompt).translate(_TYPED)
    text = "".join(" " if c.isspace() else c for c in text)
    text = "".join(c for c in text if unicodedata.category(c) not in {"Cc", "Cs"})
    return " ".join(re.sub(_DASHES, "--", text).split())


def expand(prompt: str, *, at_most: int = 10_000) -> list[str]:
    r"""Every prompt that a prompt with `{a, b}` in it stands for, in the order written.

    Braces nest, may hold flags (`--ar {1:1, 16:9}`) or nothing (`fox{, es}`). `\{`, `\}`, `\,` and
    `\\` stand for themselves.

    Args:
        prompt: The prompt.
        at_most: How many it may stand for.

    Raises:
        InvalidRequest: A brace is missing, or it stands for more.
    """
    if _BRACES.isdisjoint(prompt):
        return [prompt]
    found, end = _alternatives(prompt, 0, at_most, inside=False)
    if end < len(prompt):
        message = f"There is a }} without its {{ at character {end + 1} of {prompt[:80]!r}."
        raise InvalidRequest(message)
    return found


def _alternatives(text: str, at: int, at_most: int, *, inside: bool) -> tuple[list[str], int]:
    """What stands in the braces that open before `at` (or in all of it), and where that ends."""
    ended: list[str] = []
    parts = [""]
    while at < len(text) and text[at] != "}":
        if text[at] == "{":
            inner, at = _alternatives(text, at + 1, at_most, inside=True)
            _check(len(parts) * len(inner), at_most, text)
            parts = [a + b for a in parts for b in inner]
        elif inside and text[at] == ",":
            ended += (part.strip() for part in parts)
            parts = [""]
        else:
            at += text[at] == "\\" and text[at + 1 : at + 2] in _ESCAPED
            parts = [part + text[at] for part in parts]
        at += 1
    if inside and at >= len(text):
        message = f"There is a {{ without its }} in {text[:80]!r}."
        raise InvalidRequest(message)
    ended += (part.strip() if inside else part for part in parts)
    _check(len(ended), at_most, text)
    return ended, at


def _check(count: int, at_most: int, text: str) -> None:
    if count > at_most:
        message = f"{text[:80]!r} stands for more than {at_most} prompts."
        raise InvalidRequest(message)

"""Functions for prompts and their flags (PROTOCOL §4.2, §6.1)."""

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
_LONG_DASHES: Final = "\u2010-\u2015\u2212\u2e3a\u2e3b\ufe58\ufe63\uff0d"
"""Dashes other than the hyphen, for a character class."""
_FULLWIDTH: Final = r"\u3000-\u9fff\uac00-\ud7af\uff01-\uff0c\uff0e-\uffef"
"""Characters of scripts without spaces between words, for a character class."""
_MISTYPED_DASHES: Final = re.compile(
    rf"(?:(?<!\S)-?[{_LONG_DASHES}]+-?|(?<=[{_FULLWIDTH}])(?:--|[{_LONG_DASHES}]{{2,}})"
    rf"|(?:(?<!\S)|(?<=[{_FULLWIDTH}]))\u30fc\u30fc)(?=(?:{_FLAGS})\b)",
    re.IGNORECASE,
)
"""Replacements for `--` that keyboards and input methods produce."""
_CLOSING_QUOTES: Final = re.compile(
    rf"(?:[^{_LONG_DASHES}]|(?<=\w)[{_LONG_DASHES}](?=[^\W{_FULLWIDTH}]))*"
    rf"(?<=[^\s{_LONG_DASHES}])[{_LONG_DASHES}]+(?![{_LONG_DASHES}]|[^\W{_FULLWIDTH}])"
)
"""The rest of a remark between dashes —like this— up to the second dash."""
_FLAG: Final = re.compile(rf"(?<!\S)--(?:{_FLAGS})\b", re.IGNORECASE)
_WIDE_NAME: Final = re.compile(rf"(?<=[-{_LONG_DASHES}])[\uff21-\uff3a\uff41-\uff5a]+")
_WEIGHT: Final = re.compile(r"[:\uff1a]{2}([-\uff0d]?[\d\uff10-\uff19.\uff0e]*)")
_COMMAND: Final = re.compile(
    r"^(?:[/\uff0f]imagine(?:\s+prompt(?:\s*[:\uff1a]|(?!\S))\s*|\s+|$))+", re.IGNORECASE
)
"""A Discord command in front of the prompt."""
_NARROW: Final = {code: code - 0xFEE0 for code in (*range(0xFF0B, 0xFF1B), *range(0xFF21, 0xFF5B))}
"""Full-width letters, digits and `+,-./:`, mapped to ASCII."""
_TYPED: Final = {
    **dict.fromkeys(map(ord, "\u201c\u201d\u201e\u201f\u2033\uff02"), '"'),
    **dict.fromkeys(map(ord, "\u2018\u2019\u201a\u201b\u2032\uff07"), "'"),
    **dict.fromkeys((0x200B, 0x2060, 0xFEFF, *range(0x202A, 0x202F), *range(0x2066, 0x206A)), ""),
}
"""Straight quotes for typographic ones; zero-width and direction marks are removed."""
_BRACES: Final = frozenset("{}\\")
_ESCAPED: Final = ("{", "}", ",", "\\")


def without_flags(prompt: str, *names: str) -> str:
    """Return a prompt without some flags and their values.

    Phones turn `--` into a long dash, which counts as well.

    Args:
        prompt: The prompt.
        names: The names of the flags, without dashes.
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
    """Undo what phones, word processors, input methods and tables did to a prompt.

    Long dashes before a known flag become `--`, unless a second one ends a remark or one begins the
    prompt, as it does speech. Flags get small letters, and they and weights (`::2`) ASCII signs and
    digits. Typographic quotes become straight ones, any run of blanks one space. Control
    characters, invisible marks and a leading `/imagine prompt:` are removed.
    """
    text = prompt
    if not (text.isascii() and text.isprintable()):
        text = unicodedata.normalize("NFC", text).translate(_TYPED)
        text = "".join(" " if c.isspace() else c for c in text)
        text = "".join(c for c in text if unicodedata.category(c) not in {"Cc", "Cs"})
    text = " ".join(text.split())
    while (tidied := _tidy(text)) != text:  # a mended flag can show another one
        text = tidied
    return text


def _tidy(text: str) -> str:
    """Write flags and weights in the signs that Midjourney reads."""
    text = _COMMAND.sub("", text)
    if not text.isascii():
        text = _WEIGHT.sub(lambda weight: f"::{weight[1]}".translate(_NARROW), text)
        text = _WIDE_NAME.sub(lambda name: name[0].translate(_NARROW), text)
        text = _MISTYPED_DASHES.sub(_as_double_dash, text)
    first = _FLAG.search(text)
    if not first:
        return text.strip()
    flags = text[first.start() :].translate(_NARROW)
    text = text[: first.start()] + _FLAG.sub(lambda flag: flag[0].lower(), flags)
    return " ".join(text.split())


def _as_double_dash(typed: re.Match[str]) -> str:
    begins_speech = not typed.start() and len(typed[0]) == 1
    if begins_speech or _CLOSING_QUOTES.match(typed.string, typed.end()):
        return typed[0]
    return " --"


def expand(prompt: str, *, max_prompts: int = 10_000) -> list[str]:
    r"""Return every prompt that a prompt with `{a, b}` stands for, in order.

    Braces nest, may hold flags (`--ar {1:1, 16:9}`) or nothing (`fox{, es}`). `\{`, `\}`, `\,` and
    `\\` stand for themselves.

    Args:
        prompt: The prompt.
        max_prompts: How many it may stand for.

    Raises:
        InvalidRequest: A brace is missing, or it stands for more.
    """
    if _BRACES.isdisjoint(prompt):
        return [prompt]
    found, end = _alternatives(prompt, 0, max_prompts, inside=False)
    if end < len(prompt):
        message = f"There is a }} without its {{ at character {end + 1} of {prompt[:80]!r}."
        raise InvalidRequest(message)
    return found


def _alternatives(text: str, position: int, at_most: int, *, inside: bool) -> tuple[list[str], int]:
    """Return what stands in the braces that open before `position`, and where they end."""
    ended: list[str] = []
    parts = [""]
    while position < len(text) and text[position] != "}":
        if text[position] == "{":
            inner, position = _alternatives(text, position + 1, at_most, inside=True)
            _check_count(len(parts) * len(inner), at_most, text)
            parts = [a + b for a in parts for b in inner]
        elif inside and text[position] == ",":
            ended += (part.strip() for part in parts)
            parts = [""]
        else:
            position += text[position] == "\\" and text[position + 1 : position + 2] in _ESCAPED
            parts = [part + text[position] for part in parts]
        position += 1
    if inside and position >= len(text):
        message = f"There is a {{ without its }} in {text[:80]!r}."
        raise InvalidRequest(message)
    ended += (part.strip() if inside else part for part in parts)
    _check_count(len(ended), at_most, text)
    return ended, position


def _check_count(count: int, at_most: int, text: str) -> None:
    if count > at_most:
        message = f"{text[:80]!r} stands for more than {at_most} prompts."
        raise InvalidRequest(message)

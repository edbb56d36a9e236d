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
    alternatives = "|".join(map(re.escape, names))
    flag = rf"(?:^|\s)(?:--|—|–)(?:{alternatives})\b(?:\s+(?!--|—|–)[\d.:]+)?"
    return re.sub(flag, "", prompt, flags=re.IGNORECASE).strip()


def with_flag(prompt: str, name: str, value: object = None) -> str:
    """Return a prompt with the flag `--name value`, in place of an earlier value.

    Args:
        prompt: The prompt.
        name: The name of the flag, without dashes.
        value: The value; None for a flag without a value.
    """
    flag = f"--{name}" if value is None else f"--{name} {value}"
    return f"{without_flags(prompt, name)} {flag}".strip()


def with_speed(prompt: str, speed: str) -> str:
    """Return a prompt with the flag of a speed, in place of another speed.

    Args:
        prompt: The prompt.
        speed: "relax", "fast" or "turbo".
    """
    return with_flag(without_flags(prompt, *_SPEEDS), speed)


def normalise(prompt: str) -> str:
    """Return a prompt without the typography of phones, word processors and input methods.

    - A long dash before a known flag becomes `--`. Dashes around a remark, and a single dash at the
      start of the prompt, stay.
    - Flags become lower case. Flags and weights (`::2`) get ASCII characters.
    - Typographic quotes become straight ones, and any white space becomes one space.
    - Control characters, invisible marks and a leading `/imagine prompt:` are removed.

    Args:
        prompt: The prompt.
    """
    text = prompt
    if not (text.isascii() and text.isprintable()):
        text = unicodedata.normalize("NFC", text).translate(_TYPED)
        text = "".join(" " if c.isspace() else c for c in text)
        text = "".join(c for c in text if unicodedata.category(c) not in {"Cc", "Cs"})
    text = " ".join(text.split())
    while (corrected := _normalise_flags(text)) != text:  # one correction can enable another
        text = corrected
    return text


def _normalise_flags(text: str) -> str:
    """Return a text whose flags and weights are ASCII."""
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
    r"""Return all combinations of a prompt with alternatives such as `{a, b}`, in order.

    Braces can be nested, and can contain flags (`--ar {1:1, 16:9}`) or nothing (`fox{, es}`).
    `\{`, `\}`, `\,` and `\\` are literal characters.

    Args:
        prompt: The prompt.
        max_prompts: Maximum number of combinations.

    Raises:
        InvalidRequest: A brace is missing, or there are too many combinations.
    """
    if _BRACES.isdisjoint(prompt):
        return [prompt]
    prompts, end = _alternatives(prompt, 0, max_prompts, inside=False)
    if end < len(prompt):
        message = f"There is a }} without its {{ at character {end + 1} of {prompt[:80]!r}."
        raise InvalidRequest(message)
    return prompts


def _alternatives(text: str, position: int, at_most: int, *, inside: bool) -> tuple[list[str], int]:
    """Return the alternatives of the braces that open before `position`, and their end."""
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
        message = f"{text[:80]!r} has more than {at_most} combinations."
        raise InvalidRequest(message)

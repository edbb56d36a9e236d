"""The text of a prompt and its flags. PROTOCOL §4.2, §6.1."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["with_flag", "with_speed", "without_flags"]

_SPEEDS: Final = ("relax", "fast", "turbo")


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

"""What the simulated Midjourney reads out of a prompt, and the words it answers with."""

from __future__ import annotations

import hashlib
import random
import re
from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "DEFAULT_BANNED",
    "KEYCAPS",
    "Model",
    "Words",
    "analysis",
    "banned_word",
    "descriptions",
    "flag_of",
    "model_of",
    "numbered",
    "seed_of",
    "speed_of",
    "wants_video",
    "with_model",
    "zoom_of",
]

DEFAULT_BANNED: Final = ("bloodbath", "gore", "naked", "nsfw", "nude")
"""Words a simulator bans unless told otherwise."""

KEYCAPS: Final = ("1️⃣", "2️⃣", "3️⃣", "4️⃣", "5️⃣")

_VERSION: Final = re.compile(r"--(?:v|version)\s+(\d+(?:\.\d+)?)\b", re.IGNORECASE)
_NIJI: Final = re.compile(r"--niji\b(?:\s+(\d+(?:\.\d+)?)\b)?", re.IGNORECASE)
_SPEED: Final = re.compile(r"--((?i:fast)|turbo|relax)\b")
_VIDEO: Final = re.compile(r"(?:^|\s)--video\b")
_ZOOM: Final = re.compile(r"\s*--zoom\s+(\d+(?:\.\d+)?)(?![\w.])", re.IGNORECASE)
_SEED: Final = re.compile(r"--seed\s+(\d+)\b", re.IGNORECASE)
_FLAGS: Final = re.compile(r"\s--\w.*$", re.DOTALL)


@attrs.frozen
class Model:
    """A model version: ``v 6.1``, ``niji 6``."""

    family: str
    """``v`` or ``niji``."""
    number: str

    @property
    def generation(self) -> int:
        """The whole number before the dot."""
        return int(self.number.partition(".")[0])

    @property
    def flag(self) -> str:
        """The flag that asks for it."""
        return f"--{self.family} {self.number}"


def _tidy(number: str) -> str:
    return number.removesuffix(".0")


def flag_of(version: str) -> Model:
    """The model a setting such as ``6.1`` or ``niji 6`` names."""
    family, _, number = version.strip().removeprefix("--").rpartition(" ")
    return Model(family or "v", _tidy(number.removeprefix("v")))


def model_of(prompt: str, default: Model, *, niji: bool = False) -> Model:
    """The model a prompt asks for, else ``default``; ``niji`` is what the chosen bot draws."""
    if found := _NIJI.search(prompt):
        return Model("niji", _tidy(found[1] or str(default.generation)))
    if found := _VERSION.search(prompt):
        return Model("niji" if niji else "v", _tidy(found[1]))
    return Model("niji", str(default.generation)) if niji else default


def with_model(prompt: str, model: Model) -> str:
    """The prompt as Midjourney echoes it: with the model's flag, should it have none."""
    if _NIJI.search(prompt) or _VERSION.search(prompt):
        return prompt
    return f"{prompt} {model.flag}".strip()


def speed_of(prompt: str) -> str | None:
    """The speed a flag in the prompt asks for, as in the Task JSON (PROTOCOL §6.1)."""
    found = _SPEED.search(prompt)
    return found[1].upper() if found else None


def wants_video(prompt: str) -> bool:
    """Whether a prompt asks for a video (PROTOCOL §1.2)."""
    return _VIDEO.search(prompt) is not None


def seed_of(prompt: str) -> int | None:
    """The seed a prompt asks for."""
    found = _SEED.search(prompt)
    return int(found[1]) if found else None


def zoom_of(prompt: str) -> tuple[float | None, str]:
    """The ``--zoom`` of a prompt and the prompt without it (PROTOCOL §4.2)."""
    found = _ZOOM.search(prompt)
    return (float(found[1]) if found else None), _ZOOM.sub("", prompt).strip()


def banned_word(prompt: str, banned: Iterable[str]) -> str | None:
    """The first banned word that stands in the prompt as a word of its own, as written there."""
    found = (re.search(rf"\b{re.escape(word)}\b", prompt, re.IGNORECASE) for word in banned)
    return next((word[0] for word in found if word), None)


@attrs.frozen
class Words:
    """The result of a describe or a shorten: the prompts, and the whole text around them."""

    prompts: tuple[str, ...]
    text: str
    text_zh: str | None = None


_SUBJECTS: Final = (
    ("a lighthouse above a stormy sea", "暴风海上的灯塔"),
    ("a quiet village in the hills", "山间宁静的村庄"),
    ("a red fox in tall grass", "高草丛中的赤狐"),
    ("an old tram on a wet street", "雨后街道上的旧电车"),
    ("a glass greenhouse at night", "夜里的玻璃温室"),
    ("a lone sailboat in the fog", "雾中孤帆"),
)
_STYLES: Final = (
    ("watercolor, soft light", "水彩，柔光"),
    ("cinematic photograph, golden hour", "电影感摄影，黄金时刻"),
    ("woodblock print, flat colors", "木刻版画，平涂色彩"),
    ("isometric illustration, fine detail", "等距插画，细节精致"),
    ("oil painting, thick brushstrokes", "油画，厚重笔触"),
)


def numbered(lines: Iterable[str]) -> str:
    """Lines with keycaps before them, as Discord shows prompts to choose from."""
    pairs = zip(KEYCAPS, lines, strict=False)
    return "\n\n".join(f"{keycap} {line}" for keycap, line in pairs)


def descriptions(source: bytes) -> Words:
    """Four prompts for a picture; the same picture gets the same four (PROTOCOL §1.4)."""
    chance = random.Random(hashlib.sha256(source).digest())
    subjects, styles = chance.sample(_SUBJECTS, 4), chance.sample(_STYLES, 4)
    prompts = [f"{s[0]}, {t[0]} --ar 1:1" for s, t in zip(subjects, styles, strict=True)]
    chinese = [f"{s[1]}，{t[1]} --ar 1:1" for s, t in zip(subjects, styles, strict=True)]
    return Words(tuple(prompts), numbered(prompts), numbered(chinese))


def analysis(prompt: str, *, details: bool = False) -> Words:
    """Five shorter prompts and the words that matter (PROTOCOL §1.5)."""
    words = _FLAGS.sub("", prompt).split() or ["…"]
    weights = {word: _weight(word) for word in words}
    ranked = sorted(weights, key=lambda word: (-weights[word], word))
    shorter = tuple(
        " ".join(word for word in words if word in ranked[: max(1, len(ranked) * part // 6)])
        for part in (5, 4, 3, 2, 1)
    )
    shown = _detailed(weights, ranked) if details else _marked(words, ranked)
    text = f"## Important tokens\n{shown}\n\n## Shortened prompts\n{numbered(shorter)}"
    text_zh = f"## 重要词语\n{shown}\n\n## 精简提示词\n{numbered(shorter)}"
    return Words(shorter, text, text_zh)


def _weight(word: str) -> float:
    return hashlib.sha256(word.lower().encode()).digest()[0] / 255


def _marked(words: list[str], ranked: list[str]) -> str:
    important = ranked[: (len(ranked) + 1) // 2]
    return " ".join(f"**{word}**" if word in important else f"~~{word}~~" for word in words)


def _detailed(weights: dict[str, float], ranked: list[str]) -> str:
    return "\n".join(f"**{word}** ({weights[word]:.2f})" for word in ranked)

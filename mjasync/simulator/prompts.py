"""Flags of prompts, and the texts that the simulated Midjourney generates."""

from __future__ import annotations

import hashlib
import random
import re
from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable

DEFAULT_BANNED_WORDS: Final = ("bloodbath", "gore", "naked", "nsfw", "nude")
"""Words that a simulator bans by default."""
KEYCAPS: Final = ("1️⃣", "2️⃣", "3️⃣", "4️⃣", "5️⃣")
_VERSION_FLAG: Final = re.compile(r"--(?:v|version)\s+(\d+(?:\.\d+)?)\b", re.IGNORECASE)
_NIJI_FLAG: Final = re.compile(r"--niji\b(?:\s+(\d+(?:\.\d+)?)\b)?", re.IGNORECASE)
_SPEED_FLAG: Final = re.compile(r"--((?i:fast)|turbo|relax)\b")
_VIDEO_FLAG: Final = re.compile(r"(?:^|\s)--video\b")
_ZOOM_FLAG: Final = re.compile(r"\s*--zoom\s+(\d+(?:\.\d+)?)(?![\w.])", re.IGNORECASE)
_SEED_FLAG: Final = re.compile(r"--seed\s+(\d+)\b", re.IGNORECASE)
_TRAILING_FLAGS: Final = re.compile(r"\s--\w.*$", re.DOTALL)


@attrs.frozen
class ModelVersion:
    """A model version: ``v 6.1``, ``niji 6``."""

    family: str
    """``v`` or ``niji``."""
    number: str

    @property
    def generation(self) -> int:
        """The major version."""
        return int(self.number.partition(".")[0])

    @property
    def flag(self) -> str:
        """The flag that selects it."""
        return f"--{self.family} {self.number}"


def parse_version(version: str) -> ModelVersion:
    """Parse a setting such as ``6.1`` or ``niji 6``."""
    family, _, number = version.strip().removeprefix("--").rpartition(" ")
    return ModelVersion(family or "v", number.removeprefix("v").removesuffix(".0"))


def find_model(prompt: str, default: ModelVersion, *, niji: bool = False) -> ModelVersion:
    """Return the model of a prompt, else ``default``; ``niji`` is True for the niji bot."""
    if match := _NIJI_FLAG.search(prompt):
        return ModelVersion("niji", (match[1] or str(default.generation)).removesuffix(".0"))
    if match := _VERSION_FLAG.search(prompt):
        return ModelVersion("niji" if niji else "v", match[1].removesuffix(".0"))
    return ModelVersion("niji", str(default.generation)) if niji else default


def with_model(prompt: str, model: ModelVersion) -> str:
    """Add the model's flag to a prompt without one, as Midjourney does in its echo."""
    if _NIJI_FLAG.search(prompt) or _VERSION_FLAG.search(prompt):
        return prompt
    return f"{prompt} {model.flag}".strip()


def find_speed(prompt: str) -> str | None:
    """Return the speed of a flag in the prompt, as in the Task JSON (PROTOCOL §6.1)."""
    match = _SPEED_FLAG.search(prompt)
    return match[1].upper() if match else None


def is_video_prompt(prompt: str) -> bool:
    """Report whether a prompt requests a video (PROTOCOL §1.2)."""
    return _VIDEO_FLAG.search(prompt) is not None


def find_seed(prompt: str) -> int | None:
    """Return the seed of a flag in the prompt."""
    match = _SEED_FLAG.search(prompt)
    return int(match[1]) if match else None


def split_zoom(prompt: str) -> tuple[float | None, str]:
    """Split a prompt into its ``--zoom`` and the prompt without it (PROTOCOL §4.2)."""
    match = _ZOOM_FLAG.search(prompt)
    return (float(match[1]) if match else None), _ZOOM_FLAG.sub("", prompt).strip()


def find_banned_word(prompt: str, banned_words: Iterable[str]) -> str | None:
    """Return the first banned word that is a whole word of the prompt, as spelled there."""
    matches = (re.search(rf"\b{re.escape(word)}\b", prompt, re.IGNORECASE) for word in banned_words)
    return next((match[0] for match in matches if match), None)


@attrs.frozen
class GeneratedText:
    """The result of a describe or a shorten: the prompts, and the whole text with them."""

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


def numbered_lines(lines: Iterable[str]) -> str:
    """Number lines with keycaps, as Discord does for a choice of prompts."""
    pairs = zip(KEYCAPS, lines, strict=False)
    return "\n\n".join(f"{keycap} {line}" for keycap, line in pairs)


def describe_result(source: bytes) -> GeneratedText:
    """Generate four prompts that depend on the image alone (PROTOCOL §1.4)."""
    rng = random.Random(hashlib.sha256(source).digest())
    subjects, styles = rng.sample(_SUBJECTS, 4), rng.sample(_STYLES, 4)
    pairs = [*zip(subjects, styles, strict=True)]
    prompts = [f"{subject[0]}, {style[0]} --ar 1:1" for subject, style in pairs]
    chinese = [f"{subject[1]}，{style[1]} --ar 1:1" for subject, style in pairs]
    return GeneratedText(tuple(prompts), numbered_lines(prompts), numbered_lines(chinese))


def shorten_result(prompt: str, *, details: bool = False) -> GeneratedText:
    """Generate five shorter prompts and the important words (PROTOCOL §1.5)."""
    words = _TRAILING_FLAGS.sub("", prompt).split() or ["…"]
    weights = {word: hashlib.sha256(word.lower().encode()).digest()[0] / 255 for word in words}
    ranked = sorted(weights, key=lambda word: (-weights[word], word))
    short_prompts = tuple(
        " ".join(word for word in words if word in ranked[: max(1, len(ranked) * part // 6)])
        for part in (5, 4, 3, 2, 1)
    )
    if details:
        tokens = "\n".join(f"**{word}** ({weights[word]:.2f})" for word in ranked)
    else:
        important = ranked[: (len(ranked) + 1) // 2]
        tokens = " ".join(f"**{word}**" if word in important else f"~~{word}~~" for word in words)
    text = f"## Important tokens\n{tokens}\n\n## Shortened prompts\n{numbered_lines(short_prompts)}"
    text_zh = f"## 重要词语\n{tokens}\n\n## 精简提示词\n{numbered_lines(short_prompts)}"
    return GeneratedText(short_prompts, text, text_zh)

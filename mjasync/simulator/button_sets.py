"""The buttons each model version offers under each kind of result (PROTOCOL §5.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

import attrs

from .prompts import KEYCAPS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from .prompts import Model

__all__ = ["OFFERS", "OFFERS_SYNTHETIC", "VERBS", "Button", "Offer", "Verb"]


@attrs.frozen(kw_only=True)
class Verb:
    """Something Midjourney does, asked for by a command or by a button."""

    name: str
    action: str
    """The usual ``action`` of its task (PROTOCOL §3.2)."""
    makes: str
    """What its result offers buttons as: a key of `OFFERS`."""
    seconds: float
    """How long it takes at fast speed, in simulated seconds."""
    direct: bool = False
    """Whether it goes from SUBMITTED to its end with no progress between (PROTOCOL §3.6)."""


def _verb(name: str, action: str, makes: str, seconds: float, *, direct: bool = False) -> Verb:
    return Verb(name=name, action=action, makes=makes, seconds=seconds, direct=direct)


_ALL_VERBS: Final = (
    _verb("imagine", "IMAGINE", "grid", 40),
    _verb("blend", "BLEND", "grid", 40),
    _verb("describe", "DESCRIBE", "description", 6, direct=True),
    _verb("shorten", "SHORTEN", "analysis", 4, direct=True),
    _verb("swap", "SWAP_FACE", "face", 10, direct=True),
    _verb("swap_video", "SWAP_VIDEO_FACE", "face", 60, direct=True),
    _verb("edit", "EDIT", "grid", 40),
    _verb("retexture", "RETEXTURE", "grid", 40),
    _verb("video", "VIDEO", "video", 80),
    _verb("show", "SHOW", "grid", 4, direct=True),
    _verb("upsample", "UPSCALE", "single", 3, direct=True),
    _verb("variation", "VARIATION", "grid", 40),
    _verb("reroll", "REROLL", "grid", 40),
    _verb("hd", "UPSCALE", "enlarged", 25),
    _verb("vary", "VARIATION", "grid", 40),
    _verb("inpaint", "VARIATION", "grid", 40),
    _verb("zoom", "ZOOM", "grid", 40),
    _verb("custom_zoom", "ZOOM", "grid", 40),
    _verb("pan", "PAN", "grid", 40),
    _verb("animate", "VIDEO", "video", 80),
    _verb("extend", "VIDEO", "video", 80),
    _verb("pick_video", "UPSCALE", "clip", 3, direct=True),
    _verb("picture_prompt", "IMAGINE", "grid", 40),
    _verb("picture_prompt_all", "IMAGINE", "grid", 40),
    _verb("describe_again", "DESCRIBE", "description", 6, direct=True),
    _verb("short_prompt", "IMAGINE", "grid", 40),
    _verb("details", "SHORTEN", "details", 3, direct=True),
    _verb("bookmark", "ACTION", "nothing", 1, direct=True),
)

VERBS: Final[Mapping[str, Verb]] = {verb.name: verb for verb in _ALL_VERBS}
"""Every verb by name."""


@attrs.frozen
class Button:
    """One button as a task offers it, and what pressing it does."""

    custom_id: str
    emoji: str
    label: str
    verb: str
    index: int = 0
    """The quadrant, clip or prompt it is about, from 1; 0: none."""
    detail: str = ""
    """``left``, ``2``, ``subtle``, ``high``…"""

    def as_json(self) -> dict[str, object]:
        """The button in the Task JSON (PROTOCOL §3.5)."""
        return {
            "customId": self.custom_id,
            "emoji": self.emoji,
            "label": self.label,
            "type": 2,
            "style": 2,
        }


def _grid(model: Model, job: str) -> Iterator[Button]:  # noqa: ARG001 - as every offer
    for n in range(1, 5):
        yield Button(f"MJ::JOB::upsample::{n}::{job}", "", f"U{n}", "upsample", n)
    yield Button(f"MJ::JOB::reroll::0::{job}::SOLO", "🔄", "", "reroll")
    for n in range(1, 5):
        yield Button(f"MJ::JOB::variation::{n}::{job}", "", f"V{n}", "variation", n)


_FIRST_HD: Final = 5
_NO_HD: Final = 8
_REGION: Final = 5
_RESHAPED: Final = range(5, 8)
"""Generations whose pictures can be zoomed out of and panned."""
_HD_CODES: Final = {"6.1": "v6r1"}
_PANS: Final = (("left", "⬅️"), ("right", "➡️"), ("up", "⬆️"), ("down", "⬇️"))


def _hd(model: Model, job: str) -> Iterator[Button]:
    generation = model.generation
    if generation < _FIRST_HD or generation == _NO_HD:
        return
    if generation == _FIRST_HD:
        rows = [("v5_2x", "Upscale (2x)", "2x"), ("v5_4x", "Upscale (4x)", "4x")]
    else:
        code = _HD_CODES.get(model.number, f"v{generation}")
        rows = [
            (f"{code}_2x_{how}", f"Upscale ({how.title()})", how) for how in ("subtle", "creative")
        ]
    for code, label, detail in rows:
        custom_id = f"MJ::JOB::upsample_{code}::1::{job}::SOLO"
        yield Button(custom_id, "upscale_1", label, "hd", detail=detail)


def _single(model: Model, job: str) -> Iterator[Button]:
    yield from _hd(model, job)
    yield from _enlarged(model, job)


def _enlarged(model: Model, job: str) -> Iterator[Button]:
    for strength, label in (("low", "Subtle"), ("high", "Strong")):
        custom_id = f"MJ::JOB::{strength}_variation::1::{job}::SOLO"
        yield Button(custom_id, "🪄", f"Vary ({label})", "vary", detail=label.lower())
    if model.generation >= _REGION:
        yield Button(f"MJ::Inpaint::1::{job}::SOLO", "🖌️", "Vary (Region)", "inpaint")
    if model.generation in _RESHAPED:
        yield from _outpaint(job)
    yield Button(f"MJ::BOOKMARK::{job}", "❤️", "", "bookmark")
    yield from _animate("animate_{}::1::{}::SOLO", "Animate", "animate", job)


def _outpaint(job: str) -> Iterator[Button]:
    for percent, factor in ((50, "2"), (75, "1.5")):
        custom_id = f"MJ::Outpaint::{percent}::1::{job}::SOLO"
        yield Button(custom_id, "🔍", f"Zoom Out {factor}x", "zoom", detail=factor)
    yield Button(f"MJ::CustomZoom::{job}", "🔍", "Custom Zoom", "custom_zoom")
    for way, emoji in _PANS:
        yield Button(f"MJ::JOB::pan_{way}::1::{job}::SOLO", emoji, "", "pan", detail=way)


def _animate(pattern: str, label: str, verb: str, job: str) -> Iterator[Button]:
    for motion in ("high", "low"):
        custom_id = "MJ::JOB::" + pattern.format(motion, job)
        shown = f"{label} ({motion.title()} motion)"
        yield Button(custom_id, "🎞️", shown, verb, detail=motion)


def _video(model: Model, job: str) -> Iterator[Button]:  # noqa: ARG001 - as every offer
    for n in range(1, 5):
        custom_id = f"MJ::JOB::video_virtual_upscale::{n}::{job}"
        yield Button(custom_id, "", f"U{n}", "pick_video", n)


def _clip(model: Model, job: str) -> Iterator[Button]:  # noqa: ARG001 - as every offer
    yield from _animate("animate_{}_extend::1::{}", "Extend", "extend", job)


def _description(model: Model, job: str) -> Iterator[Button]:  # noqa: ARG001 - as every offer
    for n in range(1, 5):
        yield Button(f"MJ::Job::PicReader::{n}", KEYCAPS[n - 1], "", "picture_prompt", n)
    yield Button("MJ::Picread::Retry", "🔄", "", "describe_again")
    yield Button("MJ::Job::PicReader::all", "🎉", "Imagine all", "picture_prompt_all")


def _details(model: Model, job: str) -> Iterator[Button]:  # noqa: ARG001 - as every offer
    for n in range(1, 6):
        custom_id = f"MJ::Job::PromptAnalyzer::{n}"
        yield Button(custom_id, KEYCAPS[n - 1], str(n), "short_prompt", n)


def _analysis(model: Model, job: str) -> Iterator[Button]:
    yield from _details(model, job)
    yield Button("MJ::Job::PromptAnalyzerExtended", "", "Show Details", "details")


def _nothing(model: Model, job: str) -> Iterator[Button]:  # noqa: ARG001 - as every offer
    yield from ()


Offer: TypeAlias = "Callable[[Model, str], Iterator[Button]]"
"""Buttons, given the model and Midjourney's own job id."""

OFFERS: Final[Mapping[str, Offer]] = {
    "grid": _grid,
    "single": _single,
    "enlarged": _enlarged,
    "video": _video,
    "clip": _clip,
    "description": _description,
    "analysis": _analysis,
    "details": _details,
    "face": _nothing,
    "nothing": _nothing,
}
"""From what a task makes to its buttons, as Midjourney sends them."""


def _numbered_zoom(button: Button, job: str) -> Button:
    if button.verb != "custom_zoom":
        return button
    return attrs.evolve(button, custom_id=f"MJ::CustomZoom::1::{job}")


def _with_reroll(offer: Offer) -> Offer:
    """Zoom ids with a number in them, and a reroll where Midjourney shows none."""

    def offered(model: Model, job: str) -> Iterator[Button]:
        yield from (_numbered_zoom(button, job) for button in offer(model, job))
        yield Button(f"MJ::JOB::reroll::0::{job}::SOLO", "🔄", "", "reroll")

    return offered


def _description_synthetic(model: Model, job: str) -> Iterator[Button]:
    """The retry has garbage for an emoji (PROTOCOL §3.5)."""
    for button in _description(model, job):
        again = button.verb == "describe_again"
        yield attrs.evolve(button, emoji="\u1f504") if again else button


OFFERS_SYNTHETIC: Final[Mapping[str, Offer]] = {
    **OFFERS,
    "single": _with_reroll(_single),
    "enlarged": _with_reroll(_enlarged),
    "video": _with_reroll(_video),
    "description": _description_synthetic,
}
"""The same as a server writes them that makes its buttons up (PROTOCOL §5, §5.1)."""

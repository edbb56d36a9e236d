"""The buttons each model version offers under each kind of result (PROTOCOL §5.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

import attrs

from .prompts import KEYCAPS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from .prompts import ModelVersion

__all__ = [
    "BUTTON_SETS",
    "BUTTON_SETS_SYNTHETIC",
    "COMMAND_TABLE",
    "ButtonSet",
    "Command",
    "SimButton",
]


@attrs.frozen(kw_only=True)
class Command:
    """Something Midjourney does, asked for by a command or by a button."""

    name: str
    action: str
    """The usual ``action`` of its task (PROTOCOL §3.2)."""
    result: str
    """What its result offers buttons as: a key of `BUTTON_SETS`."""
    typical_seconds: float
    """How long it takes at fast speed, in simulated seconds."""
    is_immediate: bool = False
    """Whether it goes from SUBMITTED to its end with no progress between (PROTOCOL §3.6)."""


def _command(
    name: str, action: str, result_kind: str, fast_seconds: float, *, skips_progress: bool = False
) -> Command:
    return Command(
        name=name,
        action=action,
        result=result_kind,
        typical_seconds=fast_seconds,
        is_immediate=skips_progress,
    )


_ALL_COMMANDS: Final = (
    _command("imagine", "IMAGINE", "grid", 40),
    _command("blend", "BLEND", "grid", 40),
    _command("describe", "DESCRIBE", "description", 6, skips_progress=True),
    _command("shorten", "SHORTEN", "analysis", 4, skips_progress=True),
    _command("swap", "SWAP_FACE", "face", 10, skips_progress=True),
    _command("swap_video", "SWAP_VIDEO_FACE", "face", 60, skips_progress=True),
    _command("edit", "EDIT", "grid", 40),
    _command("retexture", "RETEXTURE", "grid", 40),
    _command("video", "VIDEO", "video", 80),
    _command("show", "SHOW", "grid", 4, skips_progress=True),
    _command("upsample", "UPSCALE", "single", 3, skips_progress=True),
    _command("variation", "VARIATION", "grid", 40),
    _command("reroll", "REROLL", "grid", 40),
    _command("hd", "UPSCALE", "enlarged", 25),
    _command("vary", "VARIATION", "grid", 40),
    _command("inpaint", "VARIATION", "grid", 40),
    _command("zoom", "ZOOM", "grid", 40),
    _command("custom_zoom", "ZOOM", "grid", 40),
    _command("pan", "PAN", "grid", 40),
    _command("animate", "VIDEO", "video", 80),
    _command("extend", "VIDEO", "video", 80),
    _command("pick_video", "UPSCALE", "clip", 3, skips_progress=True),
    _command("picture_prompt", "IMAGINE", "grid", 40),
    _command("picture_prompt_all", "IMAGINE", "grid", 40),
    _command("describe_again", "DESCRIBE", "description", 6, skips_progress=True),
    _command("short_prompt", "IMAGINE", "grid", 40),
    _command("details", "SHORTEN", "details", 3, skips_progress=True),
    _command("bookmark", "ACTION", "nothing", 1, skips_progress=True),
)

COMMAND_TABLE: Final[Mapping[str, Command]] = {verb.name: verb for verb in _ALL_COMMANDS}
"""Every verb by name."""


@attrs.frozen
class SimButton:
    """One button as a task offers it, and what pressing it does."""

    custom_id: str
    emoji: str
    label: str
    command: str
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


def _grid_buttons(model: ModelVersion, job_id: str) -> Iterator[SimButton]:  # noqa: ARG001 - as every offer
    for n in range(1, 5):
        yield SimButton(f"MJ::JOB::upsample::{n}::{job_id}", "", f"U{n}", "upsample", n)
    yield SimButton(f"MJ::JOB::reroll::0::{job_id}::SOLO", "🔄", "", "reroll")
    for n in range(1, 5):
        yield SimButton(f"MJ::JOB::variation::{n}::{job_id}", "", f"V{n}", "variation", n)


_FIRST_UPSCALE_GENERATION: Final = 5
_GENERATION_WITHOUT_UPSCALE: Final = 8
_FIRST_REGION_GENERATION: Final = 5
_MAKE_SQUARE: Final = range(5, 8)
"""Generations whose pictures can be zoomed out of and panned."""
_UPSCALE_CODES: Final = {"6.1": "v6r1"}
_PAN_EMOJI: Final = (("left", "⬅️"), ("right", "➡️"), ("up", "⬆️"), ("down", "⬇️"))


def _upscale_buttons(model: ModelVersion, job_id: str) -> Iterator[SimButton]:
    generation = model.generation
    if generation < _FIRST_UPSCALE_GENERATION or generation == _GENERATION_WITHOUT_UPSCALE:
        return
    if generation == _FIRST_UPSCALE_GENERATION:
        choices = [("v5_2x", "Upscale (2x)", "2x"), ("v5_4x", "Upscale (4x)", "4x")]
    else:
        code = _UPSCALE_CODES.get(model.number, f"v{generation}")
        choices = [
            (f"{code}_2x_{strength}", f"Upscale ({strength.title()})", strength)
            for strength in ("subtle", "creative")
        ]
    for code, label, detail in choices:
        custom_id = f"MJ::JOB::upsample_{code}::1::{job_id}::SOLO"
        yield SimButton(custom_id, "upscale_1", label, "hd", detail=detail)


def _single_buttons(model: ModelVersion, job_id: str) -> Iterator[SimButton]:
    yield from _upscale_buttons(model, job_id)
    yield from _upscaled(model, job_id)


def _upscaled(model: ModelVersion, job_id: str) -> Iterator[SimButton]:
    for strength, label in (("low", "Subtle"), ("high", "Strong")):
        custom_id = f"MJ::JOB::{strength}_variation::1::{job_id}::SOLO"
        yield SimButton(custom_id, "🪄", f"Vary ({label})", "vary", detail=label.lower())
    if model.generation >= _FIRST_REGION_GENERATION:
        yield SimButton(f"MJ::Inpaint::1::{job_id}::SOLO", "🖌️", "Vary (Region)", "inpaint")
    if model.generation in _MAKE_SQUARE:
        yield from _outpaint_buttons(job_id)
    yield SimButton(f"MJ::BOOKMARK::{job_id}", "❤️", "", "bookmark")
    yield from _animate_buttons("animate_{}::1::{}::SOLO", "Animate", "animate", job_id)


def _outpaint_buttons(job_id: str) -> Iterator[SimButton]:
    for percent, factor in ((50, "2"), (75, "1.5")):
        custom_id = f"MJ::Outpaint::{percent}::1::{job_id}::SOLO"
        yield SimButton(custom_id, "🔍", f"Zoom Out {factor}x", "zoom", detail=factor)
    yield SimButton(f"MJ::CustomZoom::{job_id}", "🔍", "Custom Zoom", "custom_zoom")
    for direction, emoji in _PAN_EMOJI:
        yield SimButton(
            f"MJ::JOB::pan_{direction}::1::{job_id}::SOLO", emoji, "", "pan", detail=direction
        )


def _animate_buttons(pattern: str, label: str, operation: str, job_id: str) -> Iterator[SimButton]:
    for motion in ("high", "low"):
        custom_id = "MJ::JOB::" + pattern.format(motion, job_id)
        full_label = f"{label} ({motion.title()} motion)"
        yield SimButton(custom_id, "🎞️", full_label, operation, detail=motion)


def _video_buttons(model: ModelVersion, job_id: str) -> Iterator[SimButton]:  # noqa: ARG001 - as every offer
    for n in range(1, 5):
        custom_id = f"MJ::JOB::video_virtual_upscale::{n}::{job_id}"
        yield SimButton(custom_id, "", f"U{n}", "pick_video", n)


def _single_video(model: ModelVersion, job_id: str) -> Iterator[SimButton]:  # noqa: ARG001 - as every offer
    yield from _animate_buttons("animate_{}_extend::1::{}", "Extend", "extend", job_id)


def _describe_result(model: ModelVersion, job_id: str) -> Iterator[SimButton]:  # noqa: ARG001 - as every offer
    for n in range(1, 5):
        yield SimButton(f"MJ::Job::PicReader::{n}", KEYCAPS[n - 1], "", "picture_prompt", n)
    yield SimButton("MJ::Picread::Retry", "🔄", "", "describe_again")
    yield SimButton("MJ::Job::PicReader::all", "🎉", "Imagine all", "picture_prompt_all")


def _details_buttons(model: ModelVersion, job_id: str) -> Iterator[SimButton]:  # noqa: ARG001 - as every offer
    for n in range(1, 6):
        custom_id = f"MJ::Job::PromptAnalyzer::{n}"
        yield SimButton(custom_id, KEYCAPS[n - 1], str(n), "short_prompt", n)


def _shorten_result(model: ModelVersion, job_id: str) -> Iterator[SimButton]:
    yield from _details_buttons(model, job_id)
    yield SimButton("MJ::Job::PromptAnalyzerExtended", "", "Show Details", "details")


def _no_buttons(model: ModelVersion, job_id: str) -> Iterator[SimButton]:  # noqa: ARG001 - as every offer
    yield from ()


ButtonSet: TypeAlias = "Callable[[ModelVersion, str], Iterator[SimButton]]"
"""Buttons, given the model and Midjourney's own job id."""

BUTTON_SETS: Final[Mapping[str, ButtonSet]] = {
    "grid": _grid_buttons,
    "single": _single_buttons,
    "enlarged": _upscaled,
    "video": _video_buttons,
    "clip": _single_video,
    "description": _describe_result,
    "analysis": _shorten_result,
    "details": _details_buttons,
    "face": _no_buttons,
    "nothing": _no_buttons,
}
"""From what a task makes to its buttons, as Midjourney sends them."""


def _with_zoom_number(button: SimButton, job_id: str) -> SimButton:
    if button.command != "custom_zoom":
        return button
    return attrs.evolve(button, custom_id=f"MJ::CustomZoom::1::{job_id}")


def _adding_reroll(button_set: ButtonSet) -> ButtonSet:
    """Zoom ids with a number in them, and a reroll where Midjourney shows none."""

    def with_reroll(model: ModelVersion, job_id: str) -> Iterator[SimButton]:
        yield from (_with_zoom_number(button, job_id) for button in button_set(model, job_id))
        yield SimButton(f"MJ::JOB::reroll::0::{job_id}::SOLO", "🔄", "", "reroll")

    return with_reroll


def _describe_result_synthetic(model: ModelVersion, job_id: str) -> Iterator[SimButton]:
    """The retry has garbage for an emoji (PROTOCOL §3.5)."""
    for button in _describe_result(model, job_id):
        is_retry = button.command == "describe_again"
        yield attrs.evolve(button, emoji="\u1f504") if is_retry else button


BUTTON_SETS_SYNTHETIC: Final[Mapping[str, ButtonSet]] = {
    **BUTTON_SETS,
    "single": _adding_reroll(_single_buttons),
    "enlarged": _adding_reroll(_upscaled),
    "video": _adding_reroll(_video_buttons),
    "description": _describe_result_synthetic,
}
"""The same as a server writes them that makes its buttons up (PROTOCOL §5, §5.1)."""

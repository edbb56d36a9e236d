"""The commands, and the buttons of each kind of result by model version (PROTOCOL §5.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

import attrs

from .prompts import KEYCAPS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from .prompts import ModelVersion


@attrs.frozen
class Command:
    """An operation of Midjourney, requested by a command or by a button."""

    name: str
    action: str
    """The usual ``action`` of its task (PROTOCOL §3.2)."""
    result: str
    """The kind of its result: a key of `BUTTON_SETS`."""
    typical_seconds: float
    """The usual duration at fast speed, in simulated seconds."""
    is_immediate: bool = False
    """Whether it ends without any progress after SUBMITTED (PROTOCOL §3.6)."""


_COMMANDS: Final = (
    Command("imagine", "IMAGINE", "grid", 40),
    Command("blend", "BLEND", "grid", 40),
    Command("describe", "DESCRIBE", "description", 6, is_immediate=True),
    Command("shorten", "SHORTEN", "analysis", 4, is_immediate=True),
    Command("swap", "SWAP_FACE", "face", 10, is_immediate=True),
    Command("swap_video", "SWAP_VIDEO_FACE", "face", 60, is_immediate=True),
    Command("edit", "EDIT", "grid", 40),
    Command("retexture", "RETEXTURE", "grid", 40),
    Command("video", "VIDEO", "video", 80),
    Command("show", "SHOW", "grid", 4, is_immediate=True),
    Command("upsample", "UPSCALE", "single", 3, is_immediate=True),
    Command("variation", "VARIATION", "grid", 40),
    Command("reroll", "REROLL", "grid", 40),
    Command("hd", "UPSCALE", "enlarged", 25),
    Command("vary", "VARIATION", "grid", 40),
    Command("inpaint", "VARIATION", "grid", 40),
    Command("zoom", "ZOOM", "grid", 40),
    Command("custom_zoom", "ZOOM", "grid", 40),
    Command("pan", "PAN", "grid", 40),
    Command("animate", "VIDEO", "video", 80),
    Command("extend", "VIDEO", "video", 80),
    Command("pick_video", "UPSCALE", "clip", 3, is_immediate=True),
    Command("picture_prompt", "IMAGINE", "grid", 40),
    Command("picture_prompt_all", "IMAGINE", "grid", 40),
    Command("describe_again", "DESCRIBE", "description", 6, is_immediate=True),
    Command("short_prompt", "IMAGINE", "grid", 40),
    Command("details", "SHORTEN", "details", 3, is_immediate=True),
    Command("bookmark", "ACTION", "nothing", 1, is_immediate=True),
)
COMMAND_TABLE: Final[Mapping[str, Command]] = {command.name: command for command in _COMMANDS}
"""Every command by name."""


@attrs.frozen
class SimButton:
    """One button of a task, and the command that it runs."""

    custom_id: str
    emoji: str
    label: str
    command: str
    index: int = 0
    """The quadrant, clip or prompt that it selects, from 1; 0: none."""
    detail: str = ""
    """``left``, ``2``, ``subtle``, ``high``…"""

    def as_json(self) -> dict[str, object]:
        """Return the button as in the Task JSON (PROTOCOL §3.5)."""
        return {
            "customId": self.custom_id,
            "emoji": self.emoji,
            "label": self.label,
            "type": 2,
            "style": 2,
        }


def _grid_buttons(_model: ModelVersion, job_id: str) -> Iterator[SimButton]:
    for n in range(1, 5):
        yield SimButton(f"MJ::JOB::upsample::{n}::{job_id}", "", f"U{n}", "upsample", n)
    yield SimButton(f"MJ::JOB::reroll::0::{job_id}::SOLO", "🔄", "", "reroll")
    for n in range(1, 5):
        yield SimButton(f"MJ::JOB::variation::{n}::{job_id}", "", f"V{n}", "variation", n)


_FIRST_UPSCALE_GENERATION: Final = 5
_GENERATION_WITHOUT_UPSCALE: Final = 8
_FIRST_REGION_GENERATION: Final = 5
_OUTPAINT_GENERATIONS: Final = range(5, 8)
"""Generations whose pictures can be zoomed out and panned."""
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
    yield from _enlarged_buttons(model, job_id)


def _enlarged_buttons(model: ModelVersion, job_id: str) -> Iterator[SimButton]:
    for strength, label in (("low", "Subtle"), ("high", "Strong")):
        custom_id = f"MJ::JOB::{strength}_variation::1::{job_id}::SOLO"
        yield SimButton(custom_id, "🪄", f"Vary ({label})", "vary", detail=label.lower())
    if model.generation >= _FIRST_REGION_GENERATION:
        yield SimButton(f"MJ::Inpaint::1::{job_id}::SOLO", "🖌️", "Vary (Region)", "inpaint")
    if model.generation in _OUTPAINT_GENERATIONS:
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


def _video_buttons(_model: ModelVersion, job_id: str) -> Iterator[SimButton]:
    for n in range(1, 5):
        custom_id = f"MJ::JOB::video_virtual_upscale::{n}::{job_id}"
        yield SimButton(custom_id, "", f"U{n}", "pick_video", n)


def _clip_buttons(_model: ModelVersion, job_id: str) -> Iterator[SimButton]:
    yield from _animate_buttons("animate_{}_extend::1::{}", "Extend", "extend", job_id)


def _description_buttons(_model: ModelVersion, _job_id: str) -> Iterator[SimButton]:
    for n in range(1, 5):
        yield SimButton(f"MJ::Job::PicReader::{n}", KEYCAPS[n - 1], "", "picture_prompt", n)
    yield SimButton("MJ::Picread::Retry", "🔄", "", "describe_again")
    yield SimButton("MJ::Job::PicReader::all", "🎉", "Imagine all", "picture_prompt_all")


def _details_buttons(_model: ModelVersion, _job_id: str) -> Iterator[SimButton]:
    for n in range(1, 6):
        custom_id = f"MJ::Job::PromptAnalyzer::{n}"
        yield SimButton(custom_id, KEYCAPS[n - 1], str(n), "short_prompt", n)


def _analysis_buttons(model: ModelVersion, job_id: str) -> Iterator[SimButton]:
    yield from _details_buttons(model, job_id)
    yield SimButton("MJ::Job::PromptAnalyzerExtended", "", "Show Details", "details")


def _no_buttons(_model: ModelVersion, _job_id: str) -> Iterator[SimButton]:
    yield from ()


ButtonSet: TypeAlias = "Callable[[ModelVersion, str], Iterator[SimButton]]"
"""A function that creates buttons for a model and a Midjourney job id."""
BUTTON_SETS: Final[Mapping[str, ButtonSet]] = {
    "grid": _grid_buttons,
    "single": _single_buttons,
    "enlarged": _enlarged_buttons,
    "video": _video_buttons,
    "clip": _clip_buttons,
    "description": _description_buttons,
    "analysis": _analysis_buttons,
    "details": _details_buttons,
    "face": _no_buttons,
    "nothing": _no_buttons,
}
"""The buttons of each kind of result, as Midjourney sends them."""


def _adding_reroll(button_set: ButtonSet) -> ButtonSet:
    """Add a number to custom zoom ids, and a reroll that Midjourney does not offer."""

    def with_reroll(model: ModelVersion, job_id: str) -> Iterator[SimButton]:
        for button in button_set(model, job_id):
            is_custom_zoom = button.command == "custom_zoom"
            custom_id = f"MJ::CustomZoom::1::{job_id}" if is_custom_zoom else button.custom_id
            yield attrs.evolve(button, custom_id=custom_id)
        yield SimButton(f"MJ::JOB::reroll::0::{job_id}::SOLO", "🔄", "", "reroll")

    return with_reroll


def _description_buttons_synthetic(model: ModelVersion, job_id: str) -> Iterator[SimButton]:
    """Replace the emoji of the retry by an invalid one (PROTOCOL §3.5)."""
    for button in _description_buttons(model, job_id):
        is_retry = button.command == "describe_again"
        yield attrs.evolve(button, emoji="\u1f504") if is_retry else button


BUTTON_SETS_SYNTHETIC: Final[Mapping[str, ButtonSet]] = {
    **BUTTON_SETS,
    "single": _adding_reroll(_single_buttons),
    "enlarged": _adding_reroll(_enlarged_buttons),
    "video": _adding_reroll(_video_buttons),
    "description": _description_buttons_synthetic,
}
"""The buttons of a server that creates them itself (PROTOCOL §5, §5.1)."""

"""What a task's picture is: where it comes from, down to the grid it began with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from ..prompts import find_seed, split_zoom
from .image_spec import ImageSpec, aspect_of, size_for

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..sim_task import SimTask

__all__ = ["derived_from", "image_spec_for"]


def image_spec_for(task: SimTask, size: int) -> ImageSpec | None:
    """The lineage of what a task makes; None when it makes no picture of ours."""
    name = task.command.name
    source = task.source_image or (task.parent.image if task.parent else None)
    if source is not None and name in _DERIVATIONS:
        return _DERIVATIONS[name](task, source, size)
    return _new_image(task, _NEW_KINDS[name], size) if name in _NEW_KINDS else None


def derived_from(kind: str, parent: ImageSpec, **changes: object) -> ImageSpec:
    """A picture made from another one, as large as it."""
    defaults: dict[str, object] = {"index": 0, "detail": "", "mask": None}
    return attrs.evolve(parent, kind=kind, parent=parent, **{**defaults, **changes})  # type: ignore[arg-type]


def _new_image(task: SimTask, kind: str, size: int) -> ImageSpec:
    prompt = task.final_prompt
    width, height = size_for(aspect_of(prompt), size)
    return ImageSpec(kind, prompt, find_seed(prompt) or task.seed, width, height)


def _at_usual_size(spec: ImageSpec, size: int) -> ImageSpec:
    """The picture at its usual size, should its parent be an enlarged one."""
    width, height = size_for((spec.width, spec.height), size)
    return attrs.evolve(spec, width=width, height=height)


def _button_index(task: SimTask) -> int:
    return task.pressed_button.index if task.pressed_button else 0


def _button_detail(task: SimTask) -> str:
    return task.pressed_button.detail if task.pressed_button else ""


def _variation(task: SimTask, source: ImageSpec, size: int) -> ImageSpec:  # noqa: ARG001 - as all
    quadrant = derived_from("upscale", source, index=_button_index(task))
    return derived_from("vary", quadrant, prompt=task.final_prompt, seed=task.seed, detail="strong")


def _reroll(task: SimTask, source: ImageSpec, size: int) -> ImageSpec:
    """The same again with another seed; a grid may get a new prompt by a remix modal."""
    if source.kind in _REROLL_KINDS:
        return _new_image(task, _REROLL_KINDS[source.kind], size)
    return attrs.evolve(source, seed=task.seed, prompt=task.final_prompt)


def _repeat(task: SimTask, source: ImageSpec, size: int) -> ImageSpec:  # noqa: ARG001 - as all
    return source


def _hd(task: SimTask, source: ImageSpec, size: int) -> ImageSpec:  # noqa: ARG001 - as all
    factor = 4 if _button_detail(task) == "4x" else 2
    width, height = source.width * factor, source.height * factor
    return derived_from("hd", source, width=width, height=height, detail=_button_detail(task))


def _zoom(task: SimTask, source: ImageSpec, size: int) -> ImageSpec:
    prompt = split_zoom(task.final_prompt)[1]
    detail = f"{task.zoom_factor:g}x"
    return _at_usual_size(
        derived_from("zoom", source, prompt=prompt, seed=task.seed, detail=detail), size
    )


def _redraw(kind: str) -> Callable[[SimTask, ImageSpec, int], ImageSpec]:
    """Something made out of the picture before, with the words and the mask of the task."""

    def draw(task: SimTask, source: ImageSpec, size: int) -> ImageSpec:
        derived = derived_from(
            kind,
            source,
            prompt=task.final_prompt,
            seed=task.seed,
            index=_button_index(task),
            detail=_button_detail(task),
            mask=task.mask,
        )
        return _at_usual_size(derived, size)

    return draw


_REROLL_KINDS: Final = {"grid": "grid", "blend": "blend", "upscale": "grid", "hd": "grid"}
"""Pictures that a reroll begins anew, and as what."""

_NEW_KINDS: Final = {
    "imagine": "grid",
    "picture_prompt": "grid",
    "short_prompt": "grid",
    "blend": "blend",
    "swap": "swap",
    "video": "video",
}
"""Verbs that draw something new, and its kind."""

_DERIVATIONS: Final[Mapping[str, Callable[[SimTask, ImageSpec, int], ImageSpec]]] = {
    "upsample": _redraw("upscale"),
    "variation": _variation,
    "reroll": _reroll,
    "hd": _hd,
    "vary": _redraw("vary"),
    "inpaint": _redraw("inpaint"),
    "zoom": _zoom,
    "custom_zoom": _zoom,
    "pan": _redraw("pan"),
    "animate": _redraw("video"),
    "extend": _redraw("video"),
    "pick_video": _redraw("video"),
    "video": _redraw("video"),
    "swap_video": _redraw("video"),
    "edit": _redraw("vary"),
    "retexture": _redraw("vary"),
    "show": _repeat,
}
"""Verbs that make something out of the picture before."""

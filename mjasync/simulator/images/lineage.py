"""The lineage of a task's picture, back to the grid that it was made from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from ..prompts import find_seed, split_zoom
from .image_spec import ImageSpec, aspect_of, size_for

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..sim_task import SimTask


def image_spec_for(task: SimTask, size: int) -> ImageSpec | None:
    """Describe the picture that a task makes; None if it makes none."""
    name = task.command.name
    source = task.source_image or (task.parent.image if task.parent else None)
    if source is not None and name in _DERIVATIONS:
        return _DERIVATIONS[name](task, source, size)
    return _new_image(task, _NEW_KINDS[name], size) if name in _NEW_KINDS else None


def derived_from(kind: str, parent: ImageSpec, **changes: object) -> ImageSpec:
    """Describe a picture of the same size that is made from another one."""
    defaults: dict[str, object] = {"index": 0, "detail": "", "mask": None}
    return attrs.evolve(parent, kind=kind, parent=parent, **{**defaults, **changes})  # type: ignore[arg-type]


def _new_image(task: SimTask, kind: str, size: int) -> ImageSpec:
    prompt = task.final_prompt
    width, height = size_for(aspect_of(prompt), size)
    return ImageSpec(kind, prompt, find_seed(prompt) or task.seed, width, height)


def _at_usual_size(spec: ImageSpec, size: int) -> ImageSpec:
    """Undo the enlargement of a parent."""
    width, height = size_for((spec.width, spec.height), size)
    return attrs.evolve(spec, width=width, height=height)


def _button_index(task: SimTask) -> int:
    return task.pressed_button.index if task.pressed_button else 0


def _button_detail(task: SimTask) -> str:
    return task.pressed_button.detail if task.pressed_button else ""


def _variation(task: SimTask, source: ImageSpec, _size: int) -> ImageSpec:
    quadrant = derived_from("upscale", source, index=_button_index(task))
    return derived_from("vary", quadrant, prompt=task.final_prompt, seed=task.seed, detail="strong")


def _reroll(task: SimTask, source: ImageSpec, size: int) -> ImageSpec:
    """Repeat a picture with another seed; a grid may get a new prompt from a remix modal."""
    if source.kind in _REROLL_KINDS:
        return _new_image(task, _REROLL_KINDS[source.kind], size)
    return attrs.evolve(source, seed=task.seed, prompt=task.final_prompt)


def _hd(task: SimTask, source: ImageSpec, _size: int) -> ImageSpec:
    factor = 4 if _button_detail(task) == "4x" else 2
    width, height = source.width * factor, source.height * factor
    return derived_from("hd", source, width=width, height=height, detail=_button_detail(task))


def _zoom(task: SimTask, source: ImageSpec, size: int) -> ImageSpec:
    prompt, detail = split_zoom(task.final_prompt)[1], f"{task.zoom_factor:g}x"
    zoomed = derived_from("zoom", source, prompt=prompt, seed=task.seed, detail=detail)
    return _at_usual_size(zoomed, size)


def _redraw(kind: str) -> Callable[[SimTask, ImageSpec, int], ImageSpec]:
    """Return a derivation that uses the prompt, the seed and the mask of the task."""

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
"""Pictures that a reroll draws anew, and the kind that it draws."""
_NEW_KINDS: Final = {
    "imagine": "grid",
    "picture_prompt": "grid",
    "short_prompt": "grid",
    "blend": "blend",
    "swap": "swap",
    "video": "video",
}
"""Commands that draw a new picture, and its kind."""
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
    "show": lambda _task, source, _size: source,
}
"""Commands that make a picture from an earlier one."""

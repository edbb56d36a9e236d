"""What a task's picture is: where it comes from, down to the grid it began with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from ..prompts import seed_of, zoom_of
from .image_spec import Picture, aspect_of, size_for

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..sim_task import SimTask

__all__ = ["child", "picture_of"]


def picture_of(task: SimTask, size: int) -> Picture | None:
    """The lineage of what a task makes; None when it makes no picture of ours."""
    name = task.verb.name
    before = task.begins or (task.parent.picture if task.parent else None)
    if before is not None and name in _DERIVED:
        return _DERIVED[name](task, before, size)
    return _new(task, _FRESH[name], size) if name in _FRESH else None


def child(kind: str, parent: Picture, **changes: object) -> Picture:
    """A picture made from another one, as large as it."""
    blank: dict[str, object] = {"index": 0, "detail": "", "mask": None}
    return attrs.evolve(parent, kind=kind, parent=parent, **{**blank, **changes})  # type: ignore[arg-type]


def _new(task: SimTask, kind: str, size: int) -> Picture:
    prompt = task.final_prompt
    width, height = size_for(aspect_of(prompt), size)
    return Picture(kind, prompt, seed_of(prompt) or task.seed, width, height)


def _regular(picture: Picture, size: int) -> Picture:
    """The picture at its usual size, should its parent be an enlarged one."""
    width, height = size_for((picture.width, picture.height), size)
    return attrs.evolve(picture, width=width, height=height)


def _index(task: SimTask) -> int:
    return task.button.index if task.button else 0


def _detail(task: SimTask) -> str:
    return task.button.detail if task.button else ""


def _variation(task: SimTask, before: Picture, size: int) -> Picture:  # noqa: ARG001 - as all
    single = child("upscale", before, index=_index(task))
    return child("vary", single, prompt=task.final_prompt, seed=task.seed, detail="strong")


def _reroll(task: SimTask, before: Picture, size: int) -> Picture:
    """The same again with another seed; a grid may get a new prompt by a remix modal."""
    if before.kind in _REROLLED:
        return _new(task, _REROLLED[before.kind], size)
    return attrs.evolve(before, seed=task.seed, prompt=task.final_prompt)


def _again(task: SimTask, before: Picture, size: int) -> Picture:  # noqa: ARG001 - as all
    return before


def _hd(task: SimTask, before: Picture, size: int) -> Picture:  # noqa: ARG001 - as all
    factor = 4 if _detail(task) == "4x" else 2
    width, height = before.width * factor, before.height * factor
    return child("hd", before, width=width, height=height, detail=_detail(task))


def _zoom(task: SimTask, before: Picture, size: int) -> Picture:
    prompt = zoom_of(task.final_prompt)[1]
    detail = f"{task.zoom:g}x"
    return _regular(child("zoom", before, prompt=prompt, seed=task.seed, detail=detail), size)


def _redrawn(kind: str) -> Callable[[SimTask, Picture, int], Picture]:
    """Something made out of the picture before, with the words and the mask of the task."""

    def draw(task: SimTask, before: Picture, size: int) -> Picture:
        drawn = child(
            kind,
            before,
            prompt=task.final_prompt,
            seed=task.seed,
            index=_index(task),
            detail=_detail(task),
            mask=task.mask,
        )
        return _regular(drawn, size)

    return draw


_REROLLED: Final = {"grid": "grid", "blend": "blend", "upscale": "grid", "hd": "grid"}
"""Pictures that a reroll begins anew, and as what."""

_FRESH: Final = {
    "imagine": "grid",
    "picture_prompt": "grid",
    "short_prompt": "grid",
    "blend": "blend",
    "swap": "swap",
    "video": "video",
}
"""Verbs that draw something new, and its kind."""

_DERIVED: Final[Mapping[str, Callable[[SimTask, Picture, int], Picture]]] = {
    "upsample": _redrawn("upscale"),
    "variation": _variation,
    "reroll": _reroll,
    "hd": _hd,
    "vary": _redrawn("vary"),
    "inpaint": _redrawn("inpaint"),
    "zoom": _zoom,
    "custom_zoom": _zoom,
    "pan": _redrawn("pan"),
    "animate": _redrawn("video"),
    "extend": _redrawn("video"),
    "pick_video": _redrawn("video"),
    "video": _redrawn("video"),
    "swap_video": _redrawn("video"),
    "edit": _redrawn("vary"),
    "retexture": _redrawn("vary"),
    "show": _again,
}
"""Verbs that make something out of the picture before."""

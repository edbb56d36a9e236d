"""Face swaps, into a picture and into a video (PROTOCOL §1.13)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..images.image_spec import Picture, size_for
from ..request_fields import Intake
from ..responses import Reply, refuse
from ..sim_task import Image

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..sim_task import Order, SimTask
    from ..submitting import Desk

__all__ = ["FACES"]


def _swap(desk: Desk, order: Order) -> Reply:
    read = desk.intake(order)
    source, target = _face(read, "source"), _face(read, "target")
    if source is None or target is None or source == target:
        raise refuse(4, "参数错误")
    return desk.accept(_draft(desk, order, "swap", [source, target]), order)


def _swap_video(desk: Desk, order: Order) -> Reply:
    """A form: its file is the video (PROTOCOL §1.13)."""
    read = desk.intake(order)
    source, target = _face(read, "source"), _film(read)
    if source is None or target is None:
        raise refuse(4, "参数错误")
    task = _draft(desk, order, "swap_video", [source, target])
    width, height = size_for((1, 1), desk.gallery.size)
    task.begins = Picture("swap", task.final_prompt, task.seed, width, height)
    return desk.accept(task, order)


def _face(read: Intake, whose: str) -> Image | None:
    return read.image(f"{whose}Base64") or read.linked(f"{whose}Url")


def _film(read: Intake) -> Image | None:
    file = read.get("targetFile")
    if file is None:
        return read.linked("targetUrl")
    if not isinstance(file, bytes):
        raise read.malformed()
    return Image(file) if file else None


def _draft(desk: Desk, order: Order, verb: str, images: list[Image]) -> SimTask:
    task = desk.draft(order, verb, images=images)
    task.final_prompt, task.bot = " ".join(desk.links(images)), "INSIGHT_FACE"
    task.description = "/swap"
    return task


FACES: Final[Mapping[str, Callable[[Desk, Order], Reply]]] = {
    "swap": _swap,
    "video-swap": _swap_video,
}
"""What each endpoint of the face swap does."""

"""What each command asks for: imagine, blend, describe, shorten, and plain uploads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from ..prompts import analysis, descriptions, wants_video, with_model
from ..request_fields import Intake
from ..responses import Refusal, Reply, bare, refuse, submit_result
from ..sim_task import Image
from .edits_and_videos import STUDIO, begin_with
from .face_swaps import FACES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..sim_task import Order
    from ..submitting import Desk

__all__ = ["COMMANDS"]

_ASPECTS: Final = {"PORTRAIT": "2:3", "SQUARE": "1:1", "LANDSCAPE": "3:2"}
_SUFFIXES: Final = {f"image/{kind}": kind for kind in ("gif", "png", "webp")} | {
    "image/jpeg": "jpg"
}
_BLENDED: Final = range(2, 6)
_CHINESE: Final = frozenset({"zh", "zh_cn"})


def _imagine(desk: Desk, order: Order) -> Reply:
    """PROTOCOL §1.2."""
    read = desk.intake(order)
    prompt = desk.prompt(read)
    images = [*read.images("base64Array"), *filter(None, [read.image("base64")])]
    filmed = "video" in desk.dialect.endpoints and wants_video(prompt)
    task = desk.draft(order, "video" if filmed else "imagine", prompt, images=images)
    if filmed:
        begin_with(desk, task, next(iter(images), None))
    task.prompt_en = " ".join([*desk.links(images), prompt])
    task.final_prompt = with_model(task.prompt_en, task.model)
    task.description = f"/imagine {prompt}"
    return desk.accept(task, order)


def _blend(desk: Desk, order: Order) -> Reply:
    """PROTOCOL §1.3."""
    read = desk.intake(order)
    dimensions = read.choice("dimensions", tuple(_ASPECTS), "SQUARE")
    if read.count("base64Array") not in _BLENDED:
        raise refuse(4, desk.dialect.says.get("images", "base64List参数错误"))
    if dimensions is None:
        raise refuse(4, "dimensions参数错误")
    images = read.images("base64Array")
    task = desk.draft(order, "blend", images=images)
    final = " ".join([*desk.links(images), f"--ar {_ASPECTS[dimensions]}"])
    task.final_prompt, task.dimensions = with_model(final, task.model), dimensions
    task.prompt = task.prompt_en = final if desk.dialect.blend_has_prompt else None
    task.description = f"/blend {task.id} {len(images)}"
    return desk.accept(task, order)


def _describe(desk: Desk, order: Order) -> Reply:
    """PROTOCOL §1.4."""
    read = desk.intake(order)
    image = read.image("base64") or _link(desk, read)
    if image is None:
        raise refuse(4, desk.dialect.says.get("picture", "base64不能为空"))
    task = desk.draft(order, "describe", images=[image])
    task.source, task.source_link = image.data or (image.link or "").encode(), image.link
    task.upload = None if image.link else desk.gallery.keep(image.data)
    named = f"/describe {task.id}.{_SUFFIXES.get(image.mime, 'null')}"
    task.description = named if desk.dialect.names_described else "/describe"
    task.words, task.language = descriptions(task.source), read.text("language") or None
    if desk.dialect.translates and task.language in _CHINESE:
        task.words = attrs.evolve(task.words, text=task.words.text_zh or "")
    return desk.accept(task, order)


def _link(desk: Desk, read: Intake) -> Image | None:
    if desk.dialect.data_urls_only or not (link := read.text("link")):
        return None
    if not link.startswith(("http://", "https://")):
        raise refuse(4, desk.dialect.says.get("link", "link格式错误"))
    return Image(b"", link)


def _shorten(desk: Desk, order: Order) -> Reply:
    """PROTOCOL §1.5."""
    prompt = desk.prompt(desk.intake(order))
    task = desk.draft(order, "shorten", prompt)
    task.description = f"/shorten {prompt}"
    task.words = analysis(prompt)
    return desk.accept(task, order)


def _upload(desk: Desk, order: Order) -> Reply:
    """PROTOCOL §1.12."""
    read = desk.intake(order)
    values = read.texts("base64Array")
    try:
        images = [read.decode(value) for value in values]
    except Refusal as refusal:
        raise (bare(refusal) if desk.dialect.bare_upload_failure else refusal) from None
    if not images:
        raise refuse(4, desk.dialect.says.get("uploads", "base64Array不能为空"))
    return submit_result(1, "提交成功", desk.links(images))


COMMANDS: Final[Mapping[str, Callable[[Desk, Order], Reply]]] = {
    "imagine": _imagine,
    "blend": _blend,
    "describe": _describe,
    "shorten": _shorten,
    **STUDIO,
    **FACES,
    "upload-discord-images": _upload,
}
"""What each commanding endpoint does."""

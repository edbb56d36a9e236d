"""Handlers of imagine, blend, describe, shorten and uploads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from ..prompts import describe_result, is_video_prompt, shorten_result, with_model
from ..request_fields import RequestFields
from ..responses import RequestRefused, SimResponse, empty_response, make_refusal, submit_result
from ..sim_task import UploadedImage
from .edits_and_videos import EDIT_HANDLERS, start_from_image
from .face_swaps import FACE_SWAP_HANDLERS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..sim_task import SubmissionRequest
    from ..submitting import SubmissionService

_ASPECT_RATIOS: Final = {"PORTRAIT": "2:3", "SQUARE": "1:1", "LANDSCAPE": "3:2"}
_ASPECT_SUFFIXES: Final = {f"image/{kind}": kind for kind in ("gif", "png", "webp")} | {
    "image/jpeg": "jpg"
}
_BLEND_IMAGE_COUNTS: Final = range(2, 6)
_CHINESE_TEXT: Final = frozenset({"zh", "zh_cn"})


def _imagine(service: SubmissionService, request: SubmissionRequest) -> SimResponse:
    """Create an imagine task, or a video task for a prompt with `--video` (PROTOCOL §1.2)."""
    fields = service.read_fields(request)
    prompt = service.read_prompt(fields)
    images = [*fields.images("base64Array"), *filter(None, [fields.image("base64")])]
    is_video = "video" in service.dialect.endpoints and is_video_prompt(prompt)
    task = service.create_task(request, "video" if is_video else "imagine", prompt, images=images)
    if is_video:
        start_from_image(service, task, next(iter(images), None))
    task.prompt_en = " ".join([*service.store_images(images), prompt])
    task.final_prompt = with_model(task.prompt_en, task.model)
    task.description = f"/imagine {prompt}"
    return service.accept(task, request)


def _blend(service: SubmissionService, request: SubmissionRequest) -> SimResponse:
    """Create a blend task (PROTOCOL §1.3)."""
    fields = service.read_fields(request)
    dimensions = fields.choice("dimensions", tuple(_ASPECT_RATIOS), "SQUARE")
    if fields.list_length("base64Array") not in _BLEND_IMAGE_COUNTS:
        raise make_refusal(4, service.dialect.messages.get("images", "base64List参数错误"))
    if dimensions is None:
        raise make_refusal(4, "dimensions参数错误")
    images = fields.images("base64Array")
    task = service.create_task(request, "blend", images=images)
    final_prompt = " ".join([*service.store_images(images), f"--ar {_ASPECT_RATIOS[dimensions]}"])
    task.final_prompt, task.dimensions = with_model(final_prompt, task.model), dimensions
    task.prompt = task.prompt_en = final_prompt if service.dialect.blend_has_prompt else None
    task.description = f"/blend {task.id} {len(images)}"
    return service.accept(task, request)


def _describe(service: SubmissionService, request: SubmissionRequest) -> SimResponse:
    """Create a describe task for an image or a link (PROTOCOL §1.4)."""
    fields = service.read_fields(request)
    image = fields.image("base64") or _read_linked_image(service, fields)
    if image is None:
        raise make_refusal(4, service.dialect.messages.get("picture", "base64不能为空"))
    task = service.create_task(request, "describe", images=[image])
    task.described_bytes = image.data or (image.link or "").encode()
    task.described_link = image.link
    task.upload_name = None if image.link else service.images.add_upload(image.data)
    description = f"/describe {task.id}.{_ASPECT_SUFFIXES.get(image.mime, 'null')}"
    task.description = description if service.dialect.describe_names_file else "/describe"
    task.generated_text = text = describe_result(task.described_bytes)
    task.language = fields.text("language") or None
    if service.dialect.translates_descriptions and task.language in _CHINESE_TEXT:
        task.generated_text = attrs.evolve(text, text=text.text_zh or "")
    return service.accept(task, request)


def _read_linked_image(service: SubmissionService, fields: RequestFields) -> UploadedImage | None:
    if service.dialect.requires_data_urls or not (link := fields.text("link")):
        return None
    if not link.startswith(("http://", "https://")):
        raise make_refusal(4, service.dialect.messages.get("link", "link格式错误"))
    return UploadedImage(b"", link)


def _shorten(service: SubmissionService, request: SubmissionRequest) -> SimResponse:
    """Create a shorten task (PROTOCOL §1.5)."""
    prompt = service.read_prompt(service.read_fields(request))
    task = service.create_task(request, "shorten", prompt)
    task.description = f"/shorten {prompt}"
    task.generated_text = shorten_result(prompt)
    return service.accept(task, request)


def _upload(service: SubmissionService, request: SubmissionRequest) -> SimResponse:
    """Store images and return their links (PROTOCOL §1.12)."""
    fields = service.read_fields(request)
    texts = fields.texts("base64Array")
    try:
        images = [fields.decode_image(value) for value in texts]
    except RequestRefused as refusal:
        is_bare = service.dialect.has_bare_upload_errors
        raise (empty_response(refusal) if is_bare else refusal) from None
    if not images:
        raise make_refusal(4, service.dialect.messages.get("uploads", "base64Array不能为空"))
    return submit_result(1, "提交成功", service.store_images(images))


COMMAND_HANDLERS: Final[
    Mapping[str, Callable[[SubmissionService, SubmissionRequest], SimResponse]]
] = {
    "imagine": _imagine,
    "blend": _blend,
    "describe": _describe,
    "shorten": _shorten,
    **EDIT_HANDLERS,
    **FACE_SWAP_HANDLERS,
    "upload-discord-images": _upload,
}
"""Handlers of the endpoints that submit a new task, by endpoint."""

"""Handlers of face swaps, into a picture and into a video (PROTOCOL §1.13)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..images.image_spec import ImageSpec, size_for
from ..request_fields import RequestFields
from ..responses import SimResponse, make_refusal
from ..sim_task import UploadedImage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..sim_task import SimTask, SubmissionRequest
    from ..submitting import SubmissionService


def _swap(service: SubmissionService, request: SubmissionRequest) -> SimResponse:
    fields = service.read_fields(request)
    source, target = _face_field(fields, "source"), _face_field(fields, "target")
    if source is None or target is None or source == target:
        raise make_refusal(4, "参数错误")
    return service.accept(_create_swap(service, request, "swap", [source, target]), request)


def _swap_video(service: SubmissionService, request: SubmissionRequest) -> SimResponse:
    """Create a task from a form whose file is the video (PROTOCOL §1.13)."""
    fields = service.read_fields(request)
    source, target = _face_field(fields, "source"), _video_field(fields)
    if source is None or target is None:
        raise make_refusal(4, "参数错误")
    task = _create_swap(service, request, "swap_video", [source, target])
    width, height = size_for((1, 1), service.images.grid_size)
    task.source_image = ImageSpec("swap", task.final_prompt, task.seed, width, height)
    return service.accept(task, request)


def _face_field(fields: RequestFields, prefix: str) -> UploadedImage | None:
    return fields.image(f"{prefix}Base64") or fields.linked_image(f"{prefix}Url")


def _video_field(fields: RequestFields) -> UploadedImage | None:
    file = fields.get("targetFile")
    if file is None:
        return fields.linked_image("targetUrl")
    if not isinstance(file, bytes):
        raise fields.malformed_refusal()
    return UploadedImage(file) if file else None


def _create_swap(
    service: SubmissionService,
    request: SubmissionRequest,
    operation: str,
    images: list[UploadedImage],
) -> SimTask:
    task = service.create_task(request, operation, images=images)
    task.final_prompt, task.bot = " ".join(service.store_images(images)), "INSIGHT_FACE"
    task.description = "/swap"
    return task


FACE_SWAP_HANDLERS: Final[
    Mapping[str, Callable[[SubmissionService, SubmissionRequest], SimResponse]]
] = {
    "swap": _swap,
    "video-swap": _swap_video,
}
"""Handlers of the face swap endpoints, by endpoint."""

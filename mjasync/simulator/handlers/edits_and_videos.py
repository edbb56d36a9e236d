"""Handlers of edits, retextures and videos, and of jobs that are shown again."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import attrs

from ..button_sets import COMMAND_TABLE, SimButton
from ..prompts import with_model
from ..responses import SimResponse, make_refusal
from ..sim_task import TaskOutcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..request_fields import RequestFields
    from ..sim_task import SimTask, SubmissionRequest, UploadedImage
    from ..submitting import SubmissionService

_MOTIONS: Final = ("low", "high")
_VIDEO_TYPES: Final = ("vid_1.1_i2v_480", "vid_1.1_i2v_720")
_BATCH_SIZES: Final = frozenset({1, 2, 4})
_MAX_BATCH: Final = 4
_JOB_ID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_JOB_NOT_FOUND: Final = TaskOutcome(kind="fail", fail_reason="Job not found")


def start_from_image(
    service: SubmissionService, task: SimTask, image: UploadedImage | None
) -> None:
    """Let a task start from an image that was sent; do nothing without one."""
    if image is not None:
        task.source_image = service.images.find_image(image)
        task.first_frame_link = service.store_images([image])[0]


def _edit_handler(operation: str) -> Callable[[SubmissionService, SubmissionRequest], SimResponse]:
    """Return the handler of an edit or a retexture (PROTOCOL §1.10)."""

    def edit(service: SubmissionService, request: SubmissionRequest) -> SimResponse:
        fields = service.read_fields(request)
        prompt, image = fields.text("prompt"), fields.image("image")
        if not prompt or image is None:
            raise make_refusal(4, "image或prompt不能为空")
        service.check_banned_words(prompt)
        if service.dialect.edit_refusal:
            raise make_refusal(9, service.dialect.edit_refusal)
        task = service.create_task(request, operation, prompt, images=[image])
        task.source_image = service.images.find_image(image)
        task.description = f"/{operation} {prompt}"
        return service.accept(task, request)

    return edit


def _submit_video(service: SubmissionService, request: SubmissionRequest) -> SimResponse:
    """Create a video task, or extend a video (PROTOCOL §1.11)."""
    fields = service.read_fields(request)
    prompt = service.read_prompt(fields)
    motion = fields.option("motion", _MOTIONS)
    is_extension = fields.text("action") == "extend"
    if fields.text("taskId") and not is_extension:
        raise make_refusal(4, "任务类型错误")
    task = (_extend_video if is_extension else _start_video)(service, fields, prompt, motion)
    task.batch_size = _read_batch_size(fields)
    task.video_type = fields.option("videoType", _VIDEO_TYPES)
    loop_flag = " --loop" if fields.boolean("loop") else ""
    task.final_prompt = with_model(f"{prompt} --motion {motion}{loop_flag} --video", task.model)
    task.description = f"/video {prompt}"
    return service.accept(task, fields.request)


def _start_video(
    service: SubmissionService, fields: RequestFields, prompt: str, motion: str
) -> SimTask:
    """Create a new video task, with a first frame if one was sent."""
    first, last = fields.image("image"), fields.image("endImage")
    task = service.create_task(fields.request, "video", prompt, images=filter(None, (first, last)))
    task.pressed_button = SimButton("", "", "", "video", detail=motion)
    start_from_image(service, task, first)
    return task


def _extend_video(
    service: SubmissionService, fields: RequestFields, prompt: str, motion: str
) -> SimTask:
    """Create a task that extends one of a task's videos; their index starts at 0 here."""
    task_id, index = fields.text("taskId"), fields.integer("index") or 0
    if not task_id or index not in range(_MAX_BATCH):
        raise make_refusal(4, "参数错误")
    parent = service.find_finished_task(task_id)
    if parent.command.result not in {"video", "clip"}:
        raise make_refusal(4, "任务类型错误")
    if service.dialect.extend_refusal and not service.has_remix:
        raise make_refusal(9, service.dialect.extend_refusal)
    task = service.create_task(fields.request, "extend", prompt, parent=parent)
    task.pressed_button = SimButton("", "", "", "extend", index + 1, motion)
    return task


def _read_batch_size(fields: RequestFields) -> int:
    batch_size = fields.integer("batchSize")
    if batch_size is not None and batch_size not in _BATCH_SIZES:
        raise make_refusal(4, "batchSize参数错误")
    return _MAX_BATCH if batch_size is None else batch_size


def _show_job(service: SubmissionService, request: SubmissionRequest) -> SimResponse:
    """Create a task from a Midjourney job id, or from a link that has one (PROTOCOL §1.14)."""
    fields = service.read_fields(request)
    match = _JOB_ID.search(fields.text("jobId"))
    if match is None or fields.account_id() is None:
        raise make_refusal(4, "参数错误")
    task = service.create_task(request, "show")
    task.midjourney_job_id, task.description = match[0], f"/show {match[0]}"
    tasks = service.engine.tasks.values()
    same_job = (other for other in tasks if other.midjourney_job_id == match[0])
    original = next((other for other in same_job if other.image and other.offered_buttons), None)
    if original is None:
        return service.accept(task, request, _JOB_NOT_FOUND)
    task.command = attrs.evolve(COMMAND_TABLE["show"], result=original.command.result)
    task.model, task.batch_size = original.model, original.batch_size
    task.source_image = original.image
    task.prompt, task.prompt_en = original.prompt, original.prompt_en
    task.final_prompt = original.final_prompt
    return service.accept(task, request)


EDIT_HANDLERS: Final[
    Mapping[str, Callable[[SubmissionService, SubmissionRequest], SimResponse]]
] = {
    "edits": _edit_handler("edit"),
    "retexture": _edit_handler("retexture"),
    "video": _submit_video,
    "show": _show_job,
}
"""Handlers of these endpoints, by endpoint."""

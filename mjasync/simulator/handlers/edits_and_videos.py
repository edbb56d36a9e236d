"""Work on pictures that are sent: edits, retextures, videos; and jobs shown again."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import attrs

from ..button_sets import VERBS, Button
from ..prompts import with_model
from ..responses import Reply, refuse
from ..sim_task import Fate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..request_fields import Intake
    from ..sim_task import Image, Order, SimTask
    from ..submitting import Desk

__all__ = ["STUDIO", "begin_with"]

_MOTIONS: Final = ("low", "high")
_VIDEO_TYPES: Final = ("vid_1.1_i2v_480", "vid_1.1_i2v_720")
_BATCHES: Final = frozenset({1, 2, 4})
_MOST: Final = 4
_JOB: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NO_SUCH_JOB: Final = Fate(ending="fail", reason="Job not found")


def begin_with(desk: Desk, task: SimTask, image: Image | None) -> None:
    """Let a task start from a picture that was sent, should there be one."""
    if image is not None:
        task.begins = desk.gallery.picture_of(image)
        task.first_frame = desk.links([image])[0]


def _rework(verb: str) -> Callable[[Desk, Order], Reply]:
    """An edit or a retexture (PROTOCOL §1.10)."""

    def rework(desk: Desk, order: Order) -> Reply:
        read = desk.intake(order)
        prompt, image = read.text("prompt"), read.image("image")
        if not prompt or image is None:
            raise refuse(4, "image或prompt不能为空")
        desk.check_words(prompt)
        if desk.dialect.edit_refusal:
            raise refuse(9, desk.dialect.edit_refusal)
        task = desk.draft(order, verb, prompt, images=[image])
        task.begins = desk.gallery.picture_of(image)
        task.description = f"/{verb} {prompt}"
        return desk.accept(task, order)

    return rework


# --- videos -------------------------------------------------------------------------------------


def _video(desk: Desk, order: Order) -> Reply:
    """PROTOCOL §1.11."""
    read = desk.intake(order)
    prompt = desk.prompt(read)
    motion = read.option("motion", _MOTIONS)
    extends = read.text("action") == "extend"
    if read.text("taskId") and not extends:
        raise refuse(4, "任务类型错误")
    task = (_extended if extends else _begun)(desk, read, prompt, motion)
    task.batch, task.video_type = _batch(read), read.option("videoType", _VIDEO_TYPES)
    task.final_prompt = with_model(_flagged(read, prompt, motion), task.model)
    task.description = f"/video {prompt}"
    return desk.accept(task, read.order)


def _begun(desk: Desk, read: Intake, prompt: str, motion: str) -> SimTask:
    """A new video, from a first frame if there is one."""
    first, last = read.image("image"), read.image("endImage")
    task = desk.draft(read.order, "video", prompt, images=filter(None, (first, last)))
    task.button = Button("", "", "", "video", detail=motion)
    begin_with(desk, task, first)
    return task


def _extended(desk: Desk, read: Intake, prompt: str, motion: str) -> SimTask:
    """More of one of the videos of a task; they are counted from 0 here."""
    task_id, index = read.text("taskId"), read.whole("index") or 0
    if not task_id or index not in range(_MOST):
        raise refuse(4, "参数错误")
    parent = desk.finished(task_id)
    if parent.verb.makes not in {"video", "clip"}:
        raise refuse(4, "任务类型错误")
    if desk.dialect.extend_refusal and not desk.remix:
        raise refuse(9, desk.dialect.extend_refusal)
    task = desk.draft(read.order, "extend", prompt, parent=parent)
    task.button = Button("", "", "", "extend", index + 1, motion)
    return task


def _batch(read: Intake) -> int:
    batch = read.whole("batchSize")
    if batch is not None and batch not in _BATCHES:
        raise refuse(4, "batchSize参数错误")
    return _MOST if batch is None else batch


def _flagged(read: Intake, prompt: str, motion: str) -> str:
    """The prompt as Midjourney echoes it, with what was asked for in flags."""
    loop = " --loop" if read.truth("loop") else ""
    return f"{prompt} --motion {motion}{loop} --video"


# --- jobs ---------------------------------------------------------------------------------------


def _show(desk: Desk, order: Order) -> Reply:
    """A task rebuilt from Midjourney's own job id, or a link with one in it (PROTOCOL §1.14)."""
    read = desk.intake(order)
    found = _JOB.search(read.text("jobId"))
    if found is None or read.instance() is None:
        raise refuse(4, "参数错误")
    task = desk.draft(order, "show")
    task.job, task.description = found[0], f"/show {found[0]}"
    jobs = (known for known in desk.engine.tasks.values() if known.job == found[0])
    original = next((known for known in jobs if known.picture and known.offers), None)
    if original is None:
        return desk.accept(task, order, _NO_SUCH_JOB)
    task.verb = attrs.evolve(VERBS["show"], makes=original.verb.makes)
    task.model, task.batch, task.begins = original.model, original.batch, original.picture
    task.prompt, task.prompt_en = original.prompt, original.prompt_en
    task.final_prompt = original.final_prompt
    return desk.accept(task, order)


STUDIO: Final[Mapping[str, Callable[[Desk, Order], Reply]]] = {
    "edits": _rework("edit"),
    "retexture": _rework("retexture"),
    "video": _video,
    "show": _show,
}
"""What each of these endpoints does."""

"""The Task JSON: the value of each key in all dialects (PROTOCOL §3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs
import orjson

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .dialect import Dialect, TaskSource
    from .images.store import ImageStore
    from .sim_task import SimTask


@attrs.define(kw_only=True, eq=False)
class TaskSerializer:
    """Serializes tasks, once after each change of a task."""

    dialect: Dialect
    images: ImageStore
    includes_image_urls: bool = False
    """Whether finished grids have ``imageUrls``."""

    def dump(self, task: SimTask) -> bytes:
        """Return the current Task JSON."""
        if task.cached_json is None or not self.images.is_link_valid(task):
            task.cached_json = orjson.dumps(self._to_dict(task))
        return task.cached_json

    def dump_list(self, tasks: list[SimTask]) -> bytes:
        """Return a JSON list of tasks."""
        return b"[" + b",".join(map(self.dump, tasks)) + b"]"

    def _to_dict(self, task: SimTask) -> dict[str, object]:
        overrides = self.dialect.field_overrides
        value = {
            key: (overrides.get(key) or _FIELDS[key])(self, task) for key in self.dialect.task_keys
        }
        is_video = task.image is not None and task.image.kind == "video"
        if self.includes_image_urls:  # a video has the links of its videos here (PROTOCOL §3.3)
            images = self.images
            value["imageUrls"] = (images.video_links if is_video else images.quadrant_links)(task)
        if is_video and (self.includes_image_urls or self.dialect.has_video_urls):
            videos = self.images.video_links(task)
            value |= {"videoUrl": videos[0]["url"] if videos else None, "videoUrls": videos}
        if task.status == "SUCCESS":
            value |= {key: "" for key in self.dialect.blank_success_keys if value[key] is None}
        return value

    def build_properties(self, task: SimTask) -> dict[str, object]:
        """Return the ``properties`` of a task that have a value."""
        overrides, keys = self.dialect.property_overrides, self.dialect.property_keys
        values = ((key, (overrides.get(key) or _PROPERTIES[key])(task)) for key in keys)
        null_keys = self.dialect.null_properties
        return {key: value for key, value in values if value is not None or key in null_keys}

    def format_progress(self, task: SimTask) -> str | None:
        """Return the ``progress`` of a task (PROTOCOL §3.6)."""
        if task.status == "FAILURE":
            return ""
        if task.percent is None:
            return None
        if task.status != "IN_PROGRESS":
            return f"{task.percent}%"
        if task.outcome.kind == "stall" and task.percent == task.outcome.at_percent:
            return task.outcome.message or f"{task.percent}%"
        return self.dialect.progress_texts.get(task.percent, f"{task.percent}%")


def image_size(task: SimTask) -> tuple[int | None, int | None]:
    """Return the width and height of a finished image."""
    if task.image is None or task.status != "SUCCESS":
        return None, None
    return task.image.width, task.image.height


def _prompt_en(task: SimTask) -> str | None:
    """Return the prompt; for a describe, its result (PROTOCOL §1.4)."""
    return _result_text(task) if task.command.result == "description" else task.prompt_en


def _result_text(task: SimTask) -> str | None:
    return task.generated_text.text if task.generated_text and task.status == "SUCCESS" else None


_FIELDS: Final[Mapping[str, Callable[[TaskSource, SimTask], object]]] = {
    "id": lambda _, task: task.id,
    "properties": lambda view, task: view.build_properties(task),
    "action": lambda _, task: task.action,
    "status": lambda _, task: task.status,
    "prompt": lambda _, task: task.prompt or _prompt_en(task),
    "promptEn": lambda _, task: _prompt_en(task),
    "description": lambda _, task: task.description,
    "state": lambda _, task: task.state,
    "submitTime": lambda _, task: task.submitted_ms,
    "startTime": lambda _, task: task.started_ms,
    "finishTime": lambda _, task: task.finished_ms,
    "imageUrl": lambda view, task: view.images.task_link(task),
    "progress": lambda view, task: view.format_progress(task),
    "failReason": lambda _, task: task.fail_reason,
    "buttons": lambda _, task: [button.as_json() for button in task.offered_buttons.values()],
    "imageWidth": lambda _, task: image_size(task)[0],
    "imageHeight": lambda _, task: image_size(task)[1],
}


def _is_running(task: SimTask) -> bool:
    return task.status in {"IN_PROGRESS", "SUCCESS"}


def _final_prompt(task: SimTask) -> str | None:
    if task.status == "MODAL":
        return task.modal_prompt
    if task.generated_text:
        return _result_text(task)
    return task.final_prompt if _is_running(task) else None


def _message_content(task: SimTask) -> str | None:
    if not _is_running(task):
        return None
    return f"**{task.final_prompt}** - <@1012983546824114217> ({task.mode.lower()})"


def _after_start(getter: Callable[[SimTask], object]) -> Callable[[SimTask], object]:
    return lambda task: getter(task) if task.started_ms else None


def _after_success(getter: Callable[[SimTask], object]) -> Callable[[SimTask], object]:
    return lambda task: getter(task) if task.status == "SUCCESS" else None


_PROPERTIES: Final[Mapping[str, Callable[[SimTask], object]]] = {
    "notifyHook": lambda task: task.notify_hook,
    "finalPrompt": _final_prompt,
    "finalZhPrompt": _after_success(
        lambda task: task.generated_text and task.generated_text.text_zh
    ),
    "messageId": _after_success(lambda task: f"9{task.id}"),
    "messageHash": _after_success(lambda task: task.midjourney_job_id),
    "progressMessageId": _after_start(lambda task: f"8{task.id}"),
    "referencedMessageId": _after_start(lambda task: f"9{task.parent.id}" if task.parent else None),
    "flags": _after_start(lambda _: 0),
    "nonce": _after_start(lambda task: f"1{task.id}00"),
    "discordInstanceId": lambda task: task.account_id or None,
    "discordChannelId": lambda task: task.channel_id or None,
    "botType": lambda task: task.bot,
    "messageContent": _message_content,
    "customId": lambda task: (task.pressed_button and task.pressed_button.custom_id) or None,
    "modalCustomId": lambda task: (
        f"MJ::RemixModal::{task.midjourney_job_id}" if task.status == "MODAL" else None
    ),
}

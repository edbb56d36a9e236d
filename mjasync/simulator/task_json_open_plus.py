"""The Task JSON of the open re-implementation: more keys, and other values (PROTOCOL §3.3)."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from .task_json import image_size

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .dialect import TaskSource
    from .sim_task import SimTask

_CORE_KEYS: Final = (
    *("id", "properties", "parentId", "botType", "realBotType", "userId", "isWhite", "nonce"),
    *("instanceId", "subInstanceId", "action", "status", "prompt", "promptEn", "promptFull"),
    *("description", "language", "state", "submitTime", "startTime", "finishTime", "progress"),
    *("failReason", "imageUrl", "mode", "requestMode", "accountFilter", "buttons", "seed"),
    *("seedError", "jobId", "version", "isCompleted", "displays", "useTime"),
)
_MEDIA_KEYS: Final = (
    *("imageUrls", "thumbnailUrl", "url", "proxyUrl", "width", "height", "imageWidth"),
    *("imageHeight", "size", "contentType", "baseImageUrl", "videoUrl", "videoUrls"),
    *("videoDuration", "frameCount", "videoGenOriginImageUrl", "videoType", "isHdVideo"),
)
_FALSE_KEYS: Final = (
    *("isWhite", "remixAutoSubmit", "remixModaling", "hasAIReviewRetried", "isThirdParty"),
    *("isPartner", "isPartnerRelax", "isOfficial", "isReplicate"),
)
_NULL_KEYS: Final = (
    *("realBotType", "userId", "subInstanceId", "promptFull", "seedError", "imageUrls"),
    *("thumbnailUrl", "proxyUrl", "size", "baseImageUrl", "videoUrl", "videoUrls"),
    *("videoDuration", "frameCount", "interactionMetadataId", "remixModalMessageId"),
    *("partnerTaskId", "partnerTaskInfo", "officialTaskId", "officialTaskInfo"),
    *("seedMessageId", "replicateSource", "replicateTarget", "storageOption"),
)
_INTERNAL_KEYS: Final = (
    *("interactionMetadataId", "messageId", "messageIds", "remixModalMessageId"),
    *("remixAutoSubmit", "remixModaling", "hasAIReviewRetried", "isThirdParty", "isPartner"),
    *("isPartnerRelax", "partnerTaskId", "partnerTaskInfo", "isOfficial", "officialTaskId"),
    *("officialTaskInfo", "isDiscord", "seedMessageId", "clientIp", "isReplicate"),
    *("replicateSource", "replicateTarget", "storageOption"),
)
TASK_KEYS: Final = (*_CORE_KEYS, *_MEDIA_KEYS, *_INTERNAL_KEYS)
"""All keys, always present."""
PROPERTY_KEYS: Final = (
    *("notifyHook", "botType", "finalPrompt", "remix", "messageContent", "messageId"),
    *("messageHash", "progressMessageId", "custom_id", "flags", "nonce", "discordInstanceId"),
    *("discordChannelId", "referencedMessageId", "iframe_modal_custom_id", "remix_custom_id"),
    *("action_index", "language"),
)
"""All keys that its ``properties`` may have."""
_STATUS_TEXTS: Final = {
    "NOT_START": "未启动",
    "SUBMITTED": "已提交",
    "MODAL": "窗口等待",
    "IN_PROGRESS": "执行中",
    "SUCCESS": "成功",
    "FAILURE": "失败",
}
_SEED_KEY: Final = re.compile(r"\s*--seed\s+\d+\b", re.IGNORECASE)


def _prompt(task: SimTask) -> str | None:
    """Return the prompt without its seed (PROTOCOL §7.3)."""
    return _SEED_KEY.sub("", task.prompt) if task.prompt else task.prompt


def _description(task: SimTask) -> str | None:
    """Return the description; for a shorten, its result (PROTOCOL §1.5)."""
    if task.action == "SHORTEN" and task.generated_text and task.status == "SUCCESS":
        return task.generated_text.text
    return task.description


def _format_time(millis: int | None) -> str | None:
    if millis is None:
        return None
    return datetime.fromtimestamp(millis / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _display_fields(serializer: TaskSource, task: SimTask) -> dict[str, object]:
    return {
        "status": _STATUS_TEXTS[task.status],
        "action": task.action.replace("_", " ").title(),
        "progress": serializer.format_progress(task),
        "submitTime": _format_time(task.submitted_ms),
        "startTime": _format_time(task.started_ms),
        "finishTime": _format_time(task.finished_ms),
        "discordInstanceId": _instance_id(task),
    }


def _elapsed(task: SimTask) -> str:
    if task.started_ms is None or task.finished_ms is None:
        return "-"
    return f"{(task.finished_ms - task.started_ms) / 1000:.2f} s"


def _content_type(task: SimTask) -> str | None:
    if task.image is None or task.status != "SUCCESS":
        return None
    return "image/webp" if task.image.kind == "video" else "image/png"


def _instance_id(task: SimTask) -> str | None:
    """Return the account id, which a face swap does not have (PROTOCOL §1.13)."""
    return None if task.bot == "INSIGHT_FACE" else task.account_id or None


def _message_field(task: SimTask) -> str | None:
    return f"9{task.id}" if task.status == "SUCCESS" else None


def _action_index(task: SimTask) -> object:
    """Return the index of a button: a number, but "11", "21"… for a described prompt (§3.3)."""
    if task.pressed_button is None or not task.pressed_button.index:
        return None
    index = task.pressed_button.index
    return f"{index}1" if task.command.name == "picture_prompt" else index


def _modal_id(task: SimTask, kind: str) -> str | None:
    """Return the id of a modal at Discord (PROTOCOL §5.2), which differs for an inpaint."""
    if task.modal_prompt is None or (task.command.name == "inpaint") != (kind == "iframe"):
        return None
    return f"MJ::{kind}::{task.midjourney_job_id}"


FIELDS: Final[Mapping[str, Callable[[TaskSource, SimTask], object]]] = {
    **dict.fromkeys(_FALSE_KEYS, lambda *_: False),
    **dict.fromkeys(_NULL_KEYS, lambda *_: None),
    "parentId": lambda _, task: task.parent.id if task.parent else None,
    "botType": lambda _, task: task.bot,
    "nonce": lambda _, task: f"1{task.id}00",
    "instanceId": lambda _, task: _instance_id(task),
    "prompt": lambda _, task: _prompt(task),
    "promptEn": lambda _, task: task.prompt_en,
    "description": lambda _, task: _description(task),
    "language": lambda _, task: task.language,
    "mode": lambda _, task: task.mode,
    "requestMode": lambda _, task: task.requested_speed,
    "accountFilter": lambda _, task: task.request.body.get("accountFilter"),
    "seed": lambda _, task: str(task.image.seed) if task.image and task.is_seed_known else None,
    "jobId": lambda _, task: task.midjourney_job_id if task.status == "SUCCESS" else None,
    "version": lambda _, task: f"{task.model.family} {task.model.number}",
    "isCompleted": lambda _, task: task.is_terminal,
    "displays": _display_fields,
    "useTime": lambda _, task: _elapsed(task),
    "url": lambda view, task: view.images.task_link(task) if _content_type(task) else None,
    "width": lambda _, task: image_size(task)[0],
    "height": lambda _, task: image_size(task)[1],
    "contentType": lambda _, task: _content_type(task),
    "videoGenOriginImageUrl": lambda _, task: task.first_frame_link,
    "videoType": lambda _, task: task.video_type,
    "isHdVideo": lambda _, task: (task.video_type or "").endswith("720"),
    "messageId": lambda _, task: _message_field(task),
    "messageIds": lambda _, task: [*filter(None, [_message_field(task)])],
    "isDiscord": lambda *_: True,
    "clientIp": lambda *_: "127.0.0.1",
}
"""The keys of the Task JSON that the others do not have, or with other values."""
PROPERTIES: Final[Mapping[str, Callable[[SimTask], object]]] = {
    "remix": lambda task: True if task.modal_prompt is not None else None,
    "custom_id": lambda task: (task.pressed_button and task.pressed_button.custom_id) or None,
    "action_index": _action_index,
    "language": lambda task: task.language,
    "discordInstanceId": _instance_id,
    "discordChannelId": _instance_id,
    "remix_custom_id": lambda task: _modal_id(task, "RemixModal"),
    "iframe_modal_custom_id": lambda task: _modal_id(task, "iframe"),
}
"""The same for ``properties``."""

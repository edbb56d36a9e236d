"""The Task JSON of the open re-implementation: its many keys, and its own ways (PROTOCOL §3.3)."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .dialect import TaskSource
    from .sim_task import SimTask

__all__ = ["FIELDS", "KEYS", "PROPERTIES", "PROPERTY_KEYS"]

_CORE: Final = (
    *("id", "properties", "parentId", "botType", "realBotType", "userId", "isWhite", "nonce"),
    *("instanceId", "subInstanceId", "action", "status", "prompt", "promptEn", "promptFull"),
    *("description", "language", "state", "submitTime", "startTime", "finishTime", "progress"),
    *("failReason", "imageUrl", "mode", "requestMode", "accountFilter", "buttons", "seed"),
    *("seedError", "jobId", "version", "isCompleted", "displays", "useTime"),
)
_MEDIA: Final = (
    *("imageUrls", "thumbnailUrl", "url", "proxyUrl", "width", "height", "imageWidth"),
    *("imageHeight", "size", "contentType", "baseImageUrl", "videoUrl", "videoUrls"),
    *("videoDuration", "frameCount", "videoGenOriginImageUrl", "videoType", "isHdVideo"),
)
_FALSE: Final = (
    *("isWhite", "remixAutoSubmit", "remixModaling", "hasAIReviewRetried", "isThirdParty"),
    *("isPartner", "isPartnerRelax", "isOfficial", "isReplicate"),
)
_NULL: Final = (
    *("realBotType", "userId", "subInstanceId", "promptFull", "seedError", "imageUrls"),
    *("thumbnailUrl", "proxyUrl", "size", "baseImageUrl", "videoUrl", "videoUrls"),
    *("videoDuration", "frameCount", "interactionMetadataId", "remixModalMessageId"),
    *("partnerTaskId", "partnerTaskInfo", "officialTaskId", "officialTaskInfo"),
    *("seedMessageId", "replicateSource", "replicateTarget", "storageOption"),
)
_INTERNAL: Final = (
    *("interactionMetadataId", "messageId", "messageIds", "remixModalMessageId"),
    *("remixAutoSubmit", "remixModaling", "hasAIReviewRetried", "isThirdParty", "isPartner"),
    *("isPartnerRelax", "partnerTaskId", "partnerTaskInfo", "isOfficial", "officialTaskId"),
    *("officialTaskInfo", "isDiscord", "seedMessageId", "clientIp", "isReplicate"),
    *("replicateSource", "replicateTarget", "storageOption"),
)
KEYS: Final = (*_CORE, *_MEDIA, *_INTERNAL)
"""Every key, always there."""

PROPERTY_KEYS: Final = (
    *("notifyHook", "botType", "finalPrompt", "remix", "messageContent", "messageId"),
    *("messageHash", "progressMessageId", "custom_id", "flags", "nonce", "discordInstanceId"),
    *("discordChannelId", "referencedMessageId", "iframe_modal_custom_id", "remix_custom_id"),
    *("action_index", "language"),
)
"""Every key its ``properties`` may hold."""

_STATUSES: Final = {
    "NOT_START": "未启动",
    "SUBMITTED": "已提交",
    "MODAL": "窗口等待",
    "IN_PROGRESS": "执行中",
    "SUCCESS": "成功",
    "FAILURE": "失败",
}
_SEED: Final = re.compile(r"\s*--seed\s+\d+\b", re.IGNORECASE)


def _prompt(task: SimTask) -> str | None:
    """The prompt without its seed (PROTOCOL §7.3)."""
    return _SEED.sub("", task.prompt) if task.prompt else task.prompt


def _description(task: SimTask) -> str | None:
    """A shorten overwrites it with all that it found (PROTOCOL §1.5)."""
    if task.action == "SHORTEN" and task.words and task.status == "SUCCESS":
        return task.words.text
    return task.description


def _moment(millis: int | None) -> str | None:
    if millis is None:
        return None
    return datetime.fromtimestamp(millis / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _displays(view: TaskSource, task: SimTask) -> dict[str, object]:
    return {
        "status": _STATUSES[task.status],
        "action": task.action.replace("_", " ").title(),
        "progress": view.progress(task),
        "submitTime": _moment(task.submitted_ms),
        "startTime": _moment(task.started_ms),
        "finishTime": _moment(task.finished_ms),
        "discordInstanceId": _instance(task),
    }


def _use_time(task: SimTask) -> str:
    if task.started_ms is None or task.finished_ms is None:
        return "-"
    return f"{(task.finished_ms - task.started_ms) / 1000:.2f} s"


def _content_type(task: SimTask) -> str | None:
    if task.picture is None or task.status != "SUCCESS":
        return None
    return "image/webp" if task.picture.kind == "video" else "image/png"


def _side(name: str) -> Callable[[TaskSource, SimTask], object]:
    def side(_: TaskSource, task: SimTask) -> object:
        return getattr(task.picture, name) if _content_type(task) else None

    return side


def _instance(task: SimTask) -> str | None:
    """A face swap belongs to no Discord account (PROTOCOL §1.13)."""
    return None if task.bot == "INSIGHT_FACE" else task.account or None


def _message(task: SimTask) -> str | None:
    return f"9{task.id}" if task.status == "SUCCESS" else None


def _action_index(task: SimTask) -> object:
    """A number, and yet "11", "21"… for a described prompt: a string and one more (§3.3)."""
    if task.button is None or not task.button.index:
        return None
    index = task.button.index
    return f"{index}1" if task.verb.name == "picture_prompt" else index


def _custom_id(task: SimTask) -> str | None:
    return (task.button and task.button.custom_id) or None


def _modal_id(task: SimTask, kind: str) -> str | None:
    """The id of a modal between server and Discord (PROTOCOL §5.2): a region has another one."""
    if task.modal_prompt is None or (task.verb.name == "inpaint") != (kind == "iframe"):
        return None
    return f"MJ::{kind}::{task.job}"


def _always(value: object) -> Callable[[TaskSource, SimTask], object]:
    return lambda _view, _task: value


FIELDS: Final[Mapping[str, Callable[[TaskSource, SimTask], object]]] = {
    **dict.fromkeys(_FALSE, _always(value=False)),
    **dict.fromkeys(_NULL, _always(value=None)),
    "parentId": lambda _, task: task.parent.id if task.parent else None,
    "botType": lambda _, task: task.bot,
    "nonce": lambda _, task: f"1{task.id}00",
    "instanceId": lambda _, task: _instance(task),
    "prompt": lambda _, task: _prompt(task),
    "promptEn": lambda _, task: task.prompt_en,
    "description": lambda _, task: _description(task),
    "language": lambda _, task: task.language,
    "mode": lambda _, task: task.mode,
    "requestMode": lambda _, task: task.wish,
    "accountFilter": lambda _, task: task.order.body.get("accountFilter"),
    "seed": lambda _, task: str(task.picture.seed) if task.picture and task.seed_known else None,
    "jobId": lambda _, task: task.job if task.status == "SUCCESS" else None,
    "version": lambda _, task: f"{task.model.family} {task.model.number}",
    "isCompleted": lambda _, task: task.terminal,
    "displays": _displays,
    "useTime": lambda _, task: _use_time(task),
    "url": lambda view, task: view.gallery.link(task) if _content_type(task) else None,
    "width": _side("width"),
    "height": _side("height"),
    "contentType": lambda _, task: _content_type(task),
    "videoGenOriginImageUrl": lambda _, task: task.first_frame,
    "videoType": lambda _, task: task.video_type,
    "isHdVideo": lambda _, task: (task.video_type or "").endswith("720"),
    "messageId": lambda _, task: _message(task),
    "messageIds": lambda _, task: [*filter(None, [_message(task)])],
    "isDiscord": _always(value=True),
    "clientIp": _always("127.0.0.1"),
}
"""What each key says that the others of the family do not have, or say otherwise."""

PROPERTIES: Final[Mapping[str, Callable[[SimTask], object]]] = {
    "remix": lambda task: True if task.modal_prompt is not None else None,
    "custom_id": _custom_id,
    "action_index": _action_index,
    "language": lambda task: task.language,
    "discordInstanceId": _instance,
    "discordChannelId": _instance,
    "remix_custom_id": lambda task: _modal_id(task, "RemixModal"),
    "iframe_modal_custom_id": lambda task: _modal_id(task, "iframe"),
}
"""The same for its ``properties``."""

"""The words of the protocol: whatever else a server says is passed through, and logged once."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

from .._models import Button, TaskInfo, TaskStatus
from .buttons import classify_button

__all__ = ["unknown_terms"]

_STATUSES: Final = frozenset(TaskStatus.__members__)
# fmt: off
_ACTIONS: Final = frozenset({
    "IMAGINE", "UPSCALE", "UPSCALE_HD", "VARIATION", "REROLL", "BLEND", "DESCRIBE", "SHORTEN",
    "ACTION", "MODAL", "PAN", "ZOOM", "CUSTOM_ZOOM", "OUTPAINT", "INPAINT", "HIGH_VARIATION",
    "LOW_VARIATION", "SHOW", "SWAP_FACE", "SWAP_VIDEO_FACE", "VIDEO", "VIDEO_EXTEND", "EDIT",
    "EDITS", "RETEXTURE", "PIC_READER", "UPLOAD",
})
"""Every action a server of the family is known to name (PROTOCOL §3)."""
_FIELDS: Final = frozenset({
    "id", "properties", "action", "status", "prompt", "promptEn", "description", "state",
    "submitTime", "startTime", "finishTime", "imageUrl", "progress", "failReason", "buttons",
    "imageHeight", "imageWidth", "displays", "parentId", "botType", "realBotType", "userId",
    "isWhite", "nonce", "instanceId", "subInstanceId", "promptFull", "language", "mode",
    "requestMode", "accountFilter", "seed", "seedError", "jobId", "version", "isCompleted",
    "useTime", "imageUrls", "thumbnailUrl", "url", "proxyUrl", "width", "height", "size",
    "contentType", "baseImageUrl", "videoUrl", "videoUrls", "videoDuration", "frameCount",
    "videoGenOriginImageUrl", "videoType", "isHdVideo", "interactionMetadataId", "messageId",
    "messageIds", "remixModalMessageId", "remixAutoSubmit", "remixModaling",
    "hasAIReviewRetried", "isThirdParty", "isPartner", "isPartnerRelax", "partnerTaskId",
    "partnerTaskInfo", "isOfficial", "officialTaskId", "officialTaskInfo", "isDiscord",
    "seedMessageId", "clientIp", "isReplicate", "replicateSource", "replicateTarget",
    "storageOption", "customId", "maskBase64", "messageHash",
})
"""Every key a Task JSON is known to have (PROTOCOL §3.1-§3.4)."""
# fmt: on
_JOB: Final = re.compile(r"[0-9a-fA-F-]{16,}")
"""What differs from job to job in the custom id of the same button."""


def unknown_terms(info: TaskInfo, raw: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the terms of a task that the protocol does not define, as (kind, term)."""
    if info.status not in _STATUSES:
        yield "status", info.status
    if info.action and info.action not in _ACTIONS:
        yield "action", info.action
    for button in info.buttons if info.status.is_final else ():
        kind = _JOB.sub("…", button.custom_id)
        if not _means_something(kind, button.label, button.emoji):
            yield "button", kind
    if not _FIELDS.issuperset(raw):
        for field in raw.keys() - _FIELDS:
            yield "field", field


@lru_cache(1024)
def _means_something(custom_id: str, label: str, emoji: str) -> bool:
    return classify_button(Button(custom_id=custom_id, label=label, emoji=emoji)) is not None

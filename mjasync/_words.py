"""The words of the protocol: whatever else a server says is passed through, and logged once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from ._buttons import meaning_of
from ._models import TaskInfo, TaskStatus

__all__ = ["strange_words"]

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


def strange_words(info: TaskInfo) -> Iterator[tuple[str, str]]:
    """What the protocol does not know of this task, as (kind, word)."""
    if info.status not in TaskStatus.__members__:
        yield "status", info.status
    if info.action and info.action not in _ACTIONS:
        yield "action", info.action
    for button in info.buttons:
        if meaning_of(button) is None:
            yield "button", re.sub(r"[0-9a-fA-F-]{16,}", "…", button.custom_id)
    for field in info.raw.keys() - _FIELDS:
        yield "field", field

"""What a finished task means: its verdict, its texts, its links, its buttons. Pure."""

from __future__ import annotations

import re
from typing import Any, Final

from .._models import Button, TaskInfo, TaskStatus
from ..errors import InvalidRequest, TaskBanned, TaskCancelled, TaskFailed
from .buttons import Buttons, is_pick
from .error_rules import is_ban

__all__ = [
    "buttons_of",
    "is_grid",
    "judge",
    "link_of",
    "prompts_of",
    "record_of",
    "text_of",
]

_GRID_ACTIONS: Final = frozenset({"IMAGINE", "VARIATION", "REROLL", "BLEND"})
_TEXT_ACTIONS: Final = frozenset({"DESCRIBE", "SHORTEN"})
_NUMBERED: Final = re.compile(r"(?:\d\ufe0f?\u20e3|\d[.)、](?!\d))\s*(?=\S)")
"""A line that begins with a keycap or a number (PROTOCOL §1.4)."""
_COLON: Final = re.compile("[:：]")
"""After it, a reason names the word it is about."""
_WORD_AT_MOST: Final = 200
_MATCHED_AT_MOST: Final = 2000
"""Characters of a reason that are searched for that word."""
_LABELS: Final = ("U1", "U2", "U3", "U4", "", "V1", "V2", "V3", "V4")
_WITHOUT_IDS: Final = Buttons(
    Button(custom_id="", label=label, emoji="" if label else "🔄") for label in _LABELS
)
"""What a grid offers on a server that lists no buttons: pressed through `/submit/change`."""


def judge(info: TaskInfo) -> None:
    """Raise what an ended task's status means.

    Raises:
        TaskCancelled: CANCEL, or a FAILURE whose reason says so (PROTOCOL §1.15).
        TaskBanned: A banned word, found late.
        TaskFailed: Any other FAILURE.
    """
    if info.status is TaskStatus.SUCCESS:
        return
    reason = info.fail_reason or ""
    if info.status is TaskStatus.CANCEL or "取消" in reason:
        message = "The task was cancelled on the server."
        raise TaskCancelled(message, reason=reason, task_id=info.id, info=info)
    if is_ban(reason):
        message = "The task failed: the prompt holds a banned word."
        _, *after = _COLON.split(reason[:_MATCHED_AT_MOST], maxsplit=1)
        word = "".join(after).strip()[:_WORD_AT_MOST]
        raise TaskBanned(message, word=word, reason=reason, task_id=info.id, info=info)
    message = "The task failed on the server."
    raise TaskFailed(message, reason=reason, task_id=info.id, info=info)


def buttons_of(info: TaskInfo) -> Buttons:
    """The buttons the server listed, or those every grid has where a server lists none."""
    lists_none = info.raw.get("buttons") is None
    if info.status is TaskStatus.SUCCESS and lists_none and info.action in _GRID_ACTIONS:
        return _WITHOUT_IDS
    return Buttons(info.buttons)


def record_of(info: TaskInfo) -> dict[str, Any]:
    """Return what a server said of a task as JSON has it. Every key is always there."""
    submitted, finished = info.submitted_at, info.finished_at
    return {
        "id": info.id,
        "status": str(info.status),
        "action": info.action or None,
        "progress": info.progress,
        "prompt": info.prompt,
        "final_prompt": info.final_prompt,
        "state": info.state,
        "image_url": info.image_url,
        "image_urls": list(info.image_urls),
        "video_urls": list(info.video_urls),
        "submitted_at": submitted.isoformat() if submitted else None,
        "finished_at": finished.isoformat() if finished else None,
        "buttons": [
            {"label": button.label, "emoji": button.emoji, "custom_id": button.custom_id}
            for button in buttons_of(info)
        ],
        "text": text_of(info) or None,
        "prompts": list(prompts_of(info)),
    }


def is_grid(info: TaskInfo) -> bool:
    """Whether the picture is four in one: it has U1-U4, and is no video."""
    if info.video_urls or "VIDEO" in info.action:
        return False
    return any(map(is_pick, buttons_of(info)))


def text_of(info: TaskInfo) -> str:
    """The result of describe and shorten, wherever the dialect put it (PROTOCOL §1.4, §1.5)."""
    if info.action not in _TEXT_ACTIONS or info.status is not TaskStatus.SUCCESS:
        return ""
    return info.final_prompt or info.prompt or info.description or ""


def prompts_of(info: TaskInfo) -> tuple[str, ...]:
    """The single prompts in that text: its numbered lines, else each line that is not blank."""
    lines = [line.strip() for line in text_of(info).splitlines() if line.strip()]
    starts = [_NUMBERED.match(line) for line in lines]
    numbered = tuple(
        line[start.end() :] for line, start in zip(lines, starts, strict=True) if start is not None
    )
    return numbered or tuple(lines)


def link_of(info: TaskInfo) -> str:
    """The link of the result.

    Raises:
        InvalidRequest: There is none.
    """
    _must_be_finished(info)
    link = next(iter(info.video_urls), None) or info.image_url
    if not link:
        message = (
            f"This {info.action.lower() or 'task'} has no picture; its result may be in .text."
        )
        raise InvalidRequest(message, task_id=info.id, info=info)
    return link


def _must_be_finished(info: TaskInfo) -> None:
    if info.status is not TaskStatus.SUCCESS:
        message = f"There is no finished picture yet ({info.status}): await the Task first."
        raise InvalidRequest(message, task_id=info.id, info=info)

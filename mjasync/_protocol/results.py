"""What a finished task means: its verdict, its texts, its links, its buttons. Pure."""

from __future__ import annotations

import re
from typing import Final

from .._models import TaskInfo, TaskStatus, listed_buttons
from ..errors import InvalidRequest, TaskBanned, TaskCancelled, TaskFailed
from .buttons import Buttons, is_grid_upscale
from .error_rules import is_ban_text

__all__ = ["buttons_of", "is_grid", "raise_for_status", "result_url"]

_COLON: Final = re.compile("[:：]")
"""After it, a reason names the word it is about."""
_MAX_WORD_LENGTH: Final = 200
_MAX_SEARCHED_TEXT: Final = 2000
"""Characters of a reason that are searched for that word."""


def raise_for_status(info: TaskInfo) -> None:
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
    if is_ban_text(reason):
        message = "The task failed: the prompt holds a banned word."
        _, *after = _COLON.split(reason[:_MAX_SEARCHED_TEXT], maxsplit=1)
        word = "".join(after).strip()[:_MAX_WORD_LENGTH]
        raise TaskBanned(message, word=word, reason=reason, task_id=info.id, info=info)
    message = "The task failed on the server."
    raise TaskFailed(message, reason=reason, task_id=info.id, info=info)


def buttons_of(info: TaskInfo) -> Buttons:
    """Return the buttons of a task as a collection to look them up in."""
    return Buttons(listed_buttons(info))


def is_grid(info: TaskInfo) -> bool:
    """Return whether the image is a grid: it has U1-U4 and is not a video."""
    if info.video_urls or "VIDEO" in info.action:
        return False
    return any(map(is_grid_upscale, buttons_of(info)))


def result_url(info: TaskInfo) -> str:
    """Return the link of the result.

    Raises:
        InvalidRequest: There is none.
    """
    _check_finished(info)
    link = next(iter(info.video_urls), None) or info.image_url
    if not link:
        message = (
            f"This {info.action.lower() or 'task'} has no picture; its result may be in .text."
        )
        raise InvalidRequest(message, task_id=info.id, info=info)
    return link


def _check_finished(info: TaskInfo) -> None:
    if info.status is not TaskStatus.SUCCESS:
        message = f"There is no finished picture yet ({info.status}): await the Task first."
        raise InvalidRequest(message, task_id=info.id, info=info)

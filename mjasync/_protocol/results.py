"""The outcome of a finished task: its error, its links and its buttons."""

from __future__ import annotations

import re
from typing import Final

from .._models import TaskInfo, TaskStatus, listed_buttons
from ..errors import InvalidRequest, TaskBanned, TaskCancelled, TaskFailed
from .buttons import Buttons, is_grid_upscale
from .error_rules import is_ban_text

_COLON: Final = re.compile("[:：]")
"""Precedes the banned word in a reason."""
_MAX_WORD_LENGTH: Final = 200
_MAX_SEARCHED_TEXT: Final = 2000
"""Characters of a reason that are searched for the word."""


def raise_for_status(info: TaskInfo) -> None:
    """Raise the error of a task that has ended, unless it succeeded.

    Raises:
        TaskCancelled: CANCEL, or FAILURE with such a reason (PROTOCOL §1.15).
        TaskBanned: FAILURE because of a banned word.
        TaskFailed: Any other FAILURE.
    """
    if info.status is TaskStatus.SUCCESS:
        return
    reason = info.fail_reason or ""
    if info.status is TaskStatus.CANCEL or "取消" in reason:
        message = "The task was cancelled on the server."
        raise TaskCancelled(message, reason=reason, task_id=info.id, info=info)
    if is_ban_text(reason):
        message = "The task failed: the prompt contains a banned word."
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
        InvalidRequest: The task has not finished, or has no image.
    """
    if info.status is not TaskStatus.SUCCESS:
        message = f"There is no finished image yet ({info.status}): await the Task first."
        raise InvalidRequest(message, task_id=info.id, info=info)
    link = next(iter(info.video_urls), None) or info.image_url
    if not link:
        message = f"This {info.action.lower() or 'task'} has no image; its result may be in .text."
        raise InvalidRequest(message, task_id=info.id, info=info)
    return link

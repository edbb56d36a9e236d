"""The Task JSON of the original: values that differ from the others (PROTOCOL §3.1)."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .dialect import TaskSource
    from .sim_task import SimTask

PROGRESS_TEXTS: Final[Mapping[int, str]] = {0: "Waiting to start", 46: "46.5%"}
"""Progress texts of Midjourney that it shows unchanged."""
_PREVIEW_NAMESPACE: Final = uuid.UUID(int=7)


def _is_submitted(task: SimTask) -> bool:
    """Return whether the images and the prompt of a task are sent to Midjourney."""
    return task.running or task.started_ms is not None or task.is_terminal


def _has_message(task: SimTask) -> bool:
    return task.has_started or task.status == "SUCCESS"


def _prompt(task: SimTask) -> str | None:
    if task.generated_text is not None:
        return task.generated_text.text if task.status == "SUCCESS" else None
    if task.command.name == "blend":
        return task.final_prompt if _has_message(task) else None
    return task.prompt_en if _is_submitted(task) else task.prompt


def _description(task: SimTask) -> str | None:
    if task.command.name == "imagine" and _is_submitted(task):
        return f"/imagine {task.prompt_en}"
    return task.description


def _image_link(serializer: TaskSource, task: SimTask) -> str | None:
    """Return the image link, which a describe has only at its end."""
    has_image = task.image is not None or task.status == "SUCCESS"
    return serializer.images.task_link(task) if has_image else None


FIELDS: Final[Mapping[str, Callable[[TaskSource, SimTask], object]]] = {
    "prompt": lambda _, task: _prompt(task),
    "promptEn": lambda _, task: _prompt(task),
    "description": lambda _, task: _description(task),
    "imageUrl": _image_link,
}
"""The keys of the Task JSON with other values than usual."""


def _final_prompt(task: SimTask) -> str | None:
    if task.generated_text is not None:
        return _prompt(task)
    if _has_message(task):
        return task.final_prompt
    return task.parent.final_prompt if task.parent else None


def _progress_message_id(task: SimTask) -> str | None:
    """Return the message id; a change has its parent's until Midjourney posts another one."""
    is_running_describe = task.command.result == "description" and task.started_ms is not None
    if (
        task.has_started
        or is_running_describe
        or (task.status == "SUCCESS" and not task.command.is_immediate)
    ):
        return f"8{task.id}"
    return f"9{task.parent.id}" if task.parent else None


def _message_hash(task: SimTask) -> str | None:
    """Return the hash of the preview, or that of the result."""
    if task.status == "SUCCESS":
        return task.midjourney_job_id
    has_preview = task.has_started and task.percent
    return str(uuid.uuid5(_PREVIEW_NAMESPACE, task.midjourney_job_id)) if has_preview else None


PROPERTIES: Final[Mapping[str, Callable[[SimTask], object]]] = {
    "finalPrompt": _final_prompt,
    "messageHash": _message_hash,
    "progressMessageId": _progress_message_id,
    "referencedMessageId": lambda task: f"9{task.parent.id}" if task.parent else None,
    "flags": lambda task: 0 if task.status == "SUCCESS" else None,
    "nonce": lambda task: f"1{task.id}00",
}
"""The same for ``properties``."""

"""The Task JSON of the original: what it says from when on (PROTOCOL §3.1)."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .dialect import TaskSource
    from .sim_task import SimTask

__all__ = ["FIELDS", "PROGRESS", "PROPERTIES"]

PROGRESS: Final[Mapping[int, str]] = {0: "Waiting to start", 46: "46.5%"}
"""Progress texts of Midjourney that are passed on as they are."""

_PREVIEWS: Final = uuid.UUID(int=7)


def _sent(task: SimTask) -> bool:
    """Whether its pictures are uploaded and its prompt is with Midjourney."""
    return task.running or task.started_ms is not None or task.terminal


def _seen(task: SimTask) -> bool:
    return task.begun or task.status == "SUCCESS"


def _prompt(task: SimTask) -> str | None:
    if task.words is not None:
        return task.words.text if task.status == "SUCCESS" else None
    if task.verb.name == "blend":
        return task.final_prompt if _seen(task) else None
    return task.prompt_en if _sent(task) else task.prompt


def _description(task: SimTask) -> str | None:
    if task.verb.name == "imagine" and _sent(task):
        return f"/imagine {task.prompt_en}"
    return task.description


def _image(view: TaskSource, task: SimTask) -> str | None:
    """A describe shows its picture only at its end."""
    shown = task.picture is not None or task.status == "SUCCESS"
    return view.gallery.link(task) if shown else None


FIELDS: Final[Mapping[str, Callable[[TaskSource, SimTask], object]]] = {
    "prompt": lambda _, task: _prompt(task),
    "promptEn": lambda _, task: _prompt(task),
    "description": lambda _, task: _description(task),
    "imageUrl": _image,
}
"""What each key says that the others of the family say otherwise."""


def _final_prompt(task: SimTask) -> str | None:
    if task.words is not None:
        return _prompt(task)
    if _seen(task):
        return task.final_prompt
    return task.parent.final_prompt if task.parent else None


def _progress_message(task: SimTask) -> str | None:
    """A change has its parent's message until Midjourney writes one of its own."""
    described = task.verb.makes == "description" and task.started_ms is not None
    if task.begun or described or (task.status == "SUCCESS" and not task.verb.direct):
        return f"8{task.id}"
    return f"9{task.parent.id}" if task.parent else None


def _hash(task: SimTask) -> str | None:
    """The one of the preview, and another one at the end."""
    if task.status == "SUCCESS":
        return task.job
    shown = task.begun and task.percent
    return str(uuid.uuid5(_PREVIEWS, task.job)) if shown else None


PROPERTIES: Final[Mapping[str, Callable[[SimTask], object]]] = {
    "finalPrompt": _final_prompt,
    "messageHash": _hash,
    "progressMessageId": _progress_message,
    "referencedMessageId": lambda task: f"9{task.parent.id}" if task.parent else None,
    "flags": lambda task: 0 if task.status == "SUCCESS" else None,
    "nonce": lambda task: f"1{task.id}00",
}
"""The same for its ``properties``."""

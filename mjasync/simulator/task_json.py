"""The Task JSON: what each key says, for whichever dialect shows it (PROTOCOL §3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs
import orjson

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .dialect import Dialect, TaskSource
    from .images.store import Gallery
    from .sim_task import SimTask

__all__ = ["View"]


@attrs.define(kw_only=True, eq=False)
class View:
    """Turns tasks into JSON, each change of a task once."""

    dialect: Dialect
    gallery: Gallery
    image_urls: bool = False
    """Whether finished grids carry ``imageUrls``."""

    def task(self, task: SimTask) -> bytes:
        """The Task JSON as it is now."""
        if task.cache is None or not self.gallery.is_alive(task):
            task.cache = orjson.dumps(self._value(task))
        return task.cache

    def tasks(self, tasks: list[SimTask]) -> bytes:
        """A JSON list of Task JSON."""
        return b"[" + b",".join(map(self.task, tasks)) + b"]"

    def _value(self, task: SimTask) -> dict[str, object]:
        own = self.dialect.fields
        value = {key: (own.get(key) or _FIELDS[key])(self, task) for key in self.dialect.task_keys}
        if self.image_urls:
            value |= self._pictures(task)
        if (self.image_urls or self.dialect.video_urls) and is_video(task):
            value |= self._videos(task)
        if task.status == "SUCCESS":
            value |= {key: "" for key in self.dialect.blank_on_success if value[key] is None}
        return value

    def _pictures(self, task: SimTask) -> dict[str, object]:
        """The links of a grid's pictures; a video's are those of its videos (PROTOCOL §3.3)."""
        links = self.gallery.videos(task) if is_video(task) else self.gallery.quadrants(task)
        return {"imageUrls": links}

    def _videos(self, task: SimTask) -> dict[str, object]:
        videos = self.gallery.videos(task)
        return {"videoUrl": videos[0]["url"] if videos else None, "videoUrls": videos}

    def properties(self, task: SimTask) -> dict[str, object]:
        """Its ``properties``, only those there are."""
        own, keys = self.dialect.properties, self.dialect.property_keys
        values = ((key, (own.get(key) or _PROPERTIES[key])(task)) for key in keys)
        kept = self.dialect.null_properties
        return {key: value for key, value in values if value is not None or key in kept}

    def progress(self, task: SimTask) -> str | None:
        """Its ``progress`` (PROTOCOL §3.6)."""
        if task.status == "FAILURE":
            return self.dialect.failure_progress
        if task.percent is None:
            return None
        if task.status != "IN_PROGRESS":
            return f"{task.percent}%"
        if task.fate.ending == "stall" and task.percent == task.fate.at:
            return task.fate.says or f"{task.percent}%"
        return self.dialect.progress_texts.get(task.percent, f"{task.percent}%")


def is_video(task: SimTask) -> bool:
    """Whether it makes moving pictures."""
    return task.picture is not None and task.picture.kind == "video"


def _shown_size(task: SimTask) -> tuple[int | None, int | None]:
    if task.picture is None or task.status != "SUCCESS":
        return None, None
    return task.picture.width, task.picture.height


def _english(task: SimTask) -> str | None:
    """A describe puts what it found where the prompt would be (PROTOCOL §1.4)."""
    return _found(task) if task.verb.makes == "description" else task.prompt_en


def _found(task: SimTask) -> str | None:
    return task.words.text if task.words and task.status == "SUCCESS" else None


_FIELDS: Final[Mapping[str, Callable[[TaskSource, SimTask], object]]] = {
    "id": lambda _, task: task.id,
    "properties": lambda view, task: view.properties(task),
    "action": lambda _, task: task.action,
    "status": lambda _, task: task.status,
    "prompt": lambda _, task: task.prompt or _english(task),
    "promptEn": lambda _, task: _english(task),
    "description": lambda _, task: task.description,
    "state": lambda _, task: task.state,
    "submitTime": lambda _, task: task.submitted_ms,
    "startTime": lambda _, task: task.started_ms,
    "finishTime": lambda _, task: task.finished_ms,
    "imageUrl": lambda view, task: view.gallery.link(task),
    "progress": lambda view, task: view.progress(task),
    "failReason": lambda _, task: task.fail_reason,
    "buttons": lambda _, task: [button.as_json() for button in task.offers.values()],
    "imageWidth": lambda _, task: _shown_size(task)[0],
    "imageHeight": lambda _, task: _shown_size(task)[1],
}


def _under_way(task: SimTask) -> bool:
    return task.status in {"IN_PROGRESS", "SUCCESS"}


def _final_prompt(task: SimTask) -> str | None:
    if task.status == "MODAL":
        return task.modal_prompt
    if task.words:
        return _found(task)
    return task.final_prompt if _under_way(task) else None


def _message(task: SimTask) -> str | None:
    if not _under_way(task):
        return None
    return f"**{task.final_prompt}** - <@1012983546824114217> ({task.mode.lower()})"


def _after_start(value: Callable[[SimTask], object]) -> Callable[[SimTask], object]:
    return lambda task: value(task) if task.started_ms else None


def _after_success(value: Callable[[SimTask], object]) -> Callable[[SimTask], object]:
    return lambda task: value(task) if task.status == "SUCCESS" else None


_PROPERTIES: Final[Mapping[str, Callable[[SimTask], object]]] = {
    "notifyHook": lambda task: task.notify_hook,
    "finalPrompt": _final_prompt,
    "finalZhPrompt": _after_success(lambda task: task.words and task.words.text_zh),
    "messageId": _after_success(lambda task: f"9{task.id}"),
    "messageHash": _after_success(lambda task: task.job),
    "progressMessageId": _after_start(lambda task: f"8{task.id}"),
    "referencedMessageId": _after_start(lambda task: f"9{task.parent.id}" if task.parent else None),
    "flags": _after_start(lambda _: 0),
    "nonce": _after_start(lambda task: f"1{task.id}00"),
    "discordInstanceId": lambda task: task.account or None,
    "discordChannelId": lambda task: task.channel or None,
    "botType": lambda task: task.bot,
    "messageContent": _message,
    "customId": lambda task: (task.button and task.button.custom_id) or None,
    "modalCustomId": lambda task: f"MJ::RemixModal::{task.job}" if task.status == "MODAL" else None,
}

"""The rows of a gateway: what it has last seen of each task, and how it tells that on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final

import attrs

__all__ = ["TaskRow", "TaskRows"]

_TEXT_KEYS: Final = {
    "prompt_en": "promptEn",
    "state": "state",
    "image_url": "imageUrl",
    "status": "status",
    "progress": "progress",
    "fail_reason": "failReason",
}
_TIME_KEYS: Final = {
    "submitted_at": "submitTime",
    "started_at": "startTime",
    "finished_at": "finishTime",
}
_KEPT_PROPERTIES: Final = ("finalPrompt", "finalZhPrompt")
_BUTTON_KEYS: Final = ("customId", "emoji", "label", "type", "style")
_TERMINAL_STATUSES: Final = frozenset({"SUCCESS", "FAILURE", "CANCEL"})
_TIMEOUT_REASON: Final = "上游任务超时（超过1小时）"


@attrs.define(kw_only=True, eq=False)
class TaskRow:
    """One row; an unknown text is empty and an unknown time 0 (PROTOCOL §3.4)."""

    key: int = 0
    """Its place among all rows, from the moment it is inserted."""
    id: str
    user: str
    action: str
    prompt: str = ""
    prompt_en: str = ""
    description: str = ""
    state: str = ""
    submitted_at: int
    """Epoch milliseconds, as the others."""
    started_at: int = 0
    finished_at: int = 0
    image_url: str = ""
    status: str = ""
    progress: str = "0%"
    fail_reason: str = ""
    video_url: str = ""
    video_urls: list[Any] | None = None
    buttons: list[Any] | None = None
    properties: Mapping[str, Any] | None = None
    mode: str = "FAST"
    """The speed it was asked for at."""
    image_host: str | None = None
    """The image host its submission asked for."""
    parent_id: str | None = None
    """The task whose button was pressed."""
    is_accepted: bool = True
    """Whether it was accepted; an unanswered modal is not."""

    @property
    def has_full_progress(self) -> bool:
        """Whether the gateway is done with it (PROTOCOL §6.3)."""
        return self.progress == "100%"

    @property
    def is_terminal(self) -> bool:
        """Whether it is known that nothing can change any more."""
        return self.status in _TERMINAL_STATUSES or self.has_full_progress

    def update(self, task: Mapping[str, Any]) -> None:
        """Take over what the upstream or a webhook says."""
        for name, key in _TEXT_KEYS.items():
            setattr(self, name, task.get(key) or "")
        for name, key in _TIME_KEYS.items():
            setattr(self, name, task.get(key) or 0)

    def refresh(self, task: Mapping[str, Any], max_ms: float | None) -> None:
        """Take over what a list says, buttons, properties and videos too (PROTOCOL §3.6, §6.3)."""
        known_submitted_at = self.submitted_at
        self.update(task)
        if (properties := task.get("properties")) is not None:
            self.properties = {key: properties.get(key) or "" for key in _KEPT_PROPERTIES}
        if (buttons := task.get("buttons")) is not None:
            self.buttons = _copy_buttons(buttons)
        self.video_url = task.get("videoUrl") or ""
        videos = task.get("videoUrls") or ()
        self.video_urls = [{"url": link.get("url") or ""} for link in videos] or None
        age_ms = time.time() * 1000 - known_submitted_at
        if max_ms is not None and age_ms > max_ms:
            self.status, self.fail_reason = "FAILURE", _TIMEOUT_REASON
        if self.fail_reason:
            self.progress = "100%"

    def as_json(self, image_url: str, *, has_videos: bool) -> dict[str, Any]:
        """Exactly the fields there are (PROTOCOL §3.4)."""
        return {
            "id": self.id,
            "action": self.action,
            "customId": "",
            "botType": "",
            "prompt": self.prompt,
            "promptEn": self.prompt_en,
            "description": self.description,
            "state": self.state,
            "submitTime": self.submitted_at,
            "startTime": self.started_at,
            "finishTime": self.finished_at,
            "imageUrl": image_url,
            **({"videoUrl": self.video_url, "videoUrls": self.video_urls} if has_videos else {}),
            "status": self.status,
            "progress": self.progress,
            "failReason": self.fail_reason,
            "buttons": self.buttons,
            "maskBase64": "",
            "properties": self.properties,
        }


def _copy_buttons(buttons: object) -> list[Any] | None:
    """Buttons as they are kept: every field there is, null where it is missing."""
    if not isinstance(buttons, list):
        return None
    return [{name: button.get(name) for name in _BUTTON_KEYS} for button in buttons]


class TaskRows:
    """All rows, in the order they were inserted."""

    def __init__(self) -> None:
        self._rows: dict[str, list[TaskRow]] = {}
        self._unfinished: dict[int, TaskRow] = {}
        self._in_flight: dict[str, TaskRow] = {}
        self._last_key = 0
        self.max_in_flight: int = 0
        self.row_inserted: asyncio.Event = asyncio.Event()
        """Set by the next row."""

    def insert(self, row: TaskRow) -> None:
        """Keep a row; there may be one with its id already (PROTOCOL §4.3)."""
        self._last_key += 1
        row.key = self._last_key
        self._rows.setdefault(row.id, []).append(row)
        self._track(row)
        self.row_inserted.set()
        self.row_inserted.clear()

    def add(self, row: TaskRow) -> None:
        """Insert a row, or count it in now that it is paid for."""
        if row.key:
            self._track(row)
        else:
            self.insert(row)

    def update(self, row: TaskRow) -> None:
        """Count a row out if what was just seen is its end."""
        if row.has_full_progress:
            self._unfinished.pop(row.key, None)
        if row.is_terminal and self._in_flight.get(row.id) is row:
            del self._in_flight[row.id]

    @property
    def by_id(self) -> dict[str, TaskRow]:
        """What a fetch of each id shows: the row with the lowest key."""
        return {task_id: rows[0] for task_id, rows in self._rows.items() if task_id}

    @property
    def in_flight(self) -> int:
        """How many tasks are accepted and not seen to be finished."""
        return len(self._in_flight)

    @property
    def unfinished_by_id(self) -> dict[str, TaskRow]:
        """What the upstream is to be asked about: the last unfinished row of each id."""
        return {row.id: row for row in self._unfinished.values() if row.id}

    @property
    def has_unfinished(self) -> bool:
        """Whether there is anything to ask about."""
        return bool(self._unfinished)

    def fail_rows_without_id(self) -> None:
        """Fail the rows that have no id, about which nobody can be asked."""
        for row in [row for row in self._unfinished.values() if not row.id]:
            row.status, row.progress = "FAILURE", "100%"
            self.update(row)

    def find(self, task_id: object, user: str | None = None) -> TaskRow | None:
        """The first row of an id; with a user only of that user's."""
        rows = self._rows.get(str(task_id), ())
        return next((row for row in rows if user in {None, row.user}), None)

    def select(self, ids: Iterable[str], user: str) -> list[TaskRow]:
        """Every row with one of these ids in order of keys, twice where there are two."""
        matches = (row for task_id in set(ids) for row in self._rows.get(task_id, ()))
        return sorted((row for row in matches if row.user == user), key=lambda row: row.key)

    def forget(self, task_id: str | None) -> None:
        """Lose one task, or all of them.

        Raises:
            KeyError: There is no such task.
        """
        for forgotten_id in [task_id] if task_id else [*self._rows]:
            for row in self._rows.pop(forgotten_id):
                self._unfinished.pop(row.key, None)
            self._in_flight.pop(forgotten_id, None)

    def _track(self, row: TaskRow) -> None:
        if not row.has_full_progress:
            self._unfinished[row.key] = row
        if row.is_accepted:
            self._in_flight[row.id] = row
        self.max_in_flight = max(self.max_in_flight, len(self._in_flight))

"""The rows of a gateway: the last known state of each task."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final

import attrs

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
    """One row; an unknown text is empty, an unknown time 0 (PROTOCOL §3.4)."""

    key: int = 0
    """The position among all rows; 0 until it is inserted."""
    id: str
    user: str
    action: str
    prompt: str = ""
    prompt_en: str = ""
    description: str = ""
    state: str = ""
    submitted_at: int
    """Epoch milliseconds, like the other times."""
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
    """The requested speed."""
    image_host: str | None = None
    """The requested image host."""
    parent_id: str | None = None
    """The task whose button was pressed."""
    is_accepted: bool = True
    """Whether the upstream runs it; a task that waits for its modal is not accepted."""

    @property
    def has_full_progress(self) -> bool:
        """Whether the gateway polls it no more (PROTOCOL §6.3)."""
        return self.progress == "100%"

    def update(self, task: Mapping[str, Any]) -> None:
        """Apply the fields of an upstream's task or of a webhook."""
        for name, key in _TEXT_KEYS.items():
            setattr(self, name, task.get(key) or "")
        for name, key in _TIME_KEYS.items():
            setattr(self, name, task.get(key) or 0)

    def refresh(self, task: Mapping[str, Any], max_ms: float | None) -> None:
        """Apply an upstream's task, its buttons, properties and videos included.

        Args:
            task: The task (PROTOCOL §3.6, §6.3).
            max_ms: The age in milliseconds at which it has failed; None: it never does.
        """
        age_ms = time.time() * 1000 - self.submitted_at
        self.update(task)
        if (properties := task.get("properties")) is not None:
            self.properties = {key: properties.get(key) or "" for key in _KEPT_PROPERTIES}
        if (buttons := task.get("buttons")) is not None:
            self.buttons = (
                [{key: button.get(key) for key in _BUTTON_KEYS} for button in buttons]
                if isinstance(buttons, list)
                else None
            )
        self.video_url = task.get("videoUrl") or ""
        videos = task.get("videoUrls") or ()
        self.video_urls = [{"url": video.get("url") or ""} for video in videos] or None
        if max_ms is not None and age_ms > max_ms:
            self.status, self.fail_reason = "FAILURE", _TIMEOUT_REASON
        if self.fail_reason:
            self.progress = "100%"

    def as_json(self, image_url: str, *, has_videos: bool) -> dict[str, Any]:
        """Return the JSON of the row: exactly these fields (PROTOCOL §3.4)."""
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


class TaskRows:
    """All rows, in the order they were inserted."""

    def __init__(self) -> None:
        self._rows: dict[str, list[TaskRow]] = {}
        self._unfinished: dict[int, TaskRow] = {}
        self._in_flight: dict[str, TaskRow] = {}
        self._last_key = 0
        self.max_in_flight: int = 0
        self.row_inserted: asyncio.Event = asyncio.Event()
        """Set for a moment by each new row."""

    def insert(self, row: TaskRow) -> None:
        """Insert a row; its id need not be unique (PROTOCOL §4.3)."""
        self._last_key += 1
        row.key = self._last_key
        self._rows.setdefault(row.id, []).append(row)
        self._track(row)
        self.row_inserted.set()
        self.row_inserted.clear()

    def insert_or_track(self, row: TaskRow) -> None:
        """Insert a row; count it in again if it is inserted already."""
        if row.key:
            self._track(row)
        else:
            self.insert(row)

    def update(self, row: TaskRow) -> None:
        """Take a row out of the unfinished and those in flight if it has ended."""
        if row.has_full_progress:
            self._unfinished.pop(row.key, None)
        has_ended = row.has_full_progress or row.status in _TERMINAL_STATUSES
        if has_ended and self._in_flight.get(row.id) is row:
            del self._in_flight[row.id]

    @property
    def by_id(self) -> dict[str, TaskRow]:
        """The row that a fetch of each id returns: the one with the lowest key."""
        return {task_id: rows[0] for task_id, rows in self._rows.items() if task_id}

    @property
    def in_flight(self) -> int:
        """The number of tasks that are accepted and not known to be finished."""
        return len(self._in_flight)

    @property
    def unfinished_by_id(self) -> dict[str, TaskRow]:
        """The rows to poll: the last unfinished one of each id."""
        return {row.id: row for row in self._unfinished.values() if row.id}

    @property
    def has_unfinished(self) -> bool:
        """Whether there is any row to poll."""
        return bool(self._unfinished)

    def fail_rows_without_id(self) -> None:
        """Fail the rows that have no id, which cannot be polled."""
        for row in [row for row in self._unfinished.values() if not row.id]:
            row.status, row.progress = "FAILURE", "100%"
            self.update(row)

    def find(self, task_id: object, user: str | None = None) -> TaskRow | None:
        """Return the first row of an id; only of one user if ``user`` is set."""
        rows = self._rows.get(str(task_id), ())
        return next((row for row in rows if user in {None, row.user}), None)

    def select(self, ids: Iterable[str], user: str) -> list[TaskRow]:
        """Return all rows of these ids and this user, ordered by key."""
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

"""The properties of a Task, read from its last `TaskInfo`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ._models import TaskInfo, TaskStatus, prompts_of, text_of
from ._protocol import results
from ._protocol.buttons import Buttons


class TaskView:
    """Properties that read from a `TaskInfo`, which is replaced at each change."""

    __slots__ = ("_info",)

    def __init__(self, info: TaskInfo) -> None:
        self._info = info

    @property
    def info(self) -> TaskInfo:
        """The last state; its id is "" until the server has accepted the task."""
        return self._info

    @property
    def id(self) -> str:
        """The id of the task; "" until the server has accepted it."""
        return self._info.id

    @property
    def status(self) -> TaskStatus:
        """The status of the task."""
        return self._info.status

    @property
    def progress(self) -> int | None:
        """Progress in percent, 0 to 100; None if unknown. The outcome is in `status`."""
        return self._info.progress

    @property
    def prompt(self) -> str | None:
        """The prompt, as the server returns it."""
        return self._info.prompt

    @property
    def final_prompt(self) -> str | None:
        """The prompt that Midjourney received; for describe and shorten, the result."""
        return self._info.final_prompt

    @property
    def text(self) -> str:
        """The result of describe and shorten as text; "" for images."""
        return text_of(self._info)

    @property
    def prompts(self) -> tuple[str, ...]:
        """The prompts that describe or shorten returned."""
        return prompts_of(self._info)

    @property
    def image_url(self) -> str | None:
        """Link to the image, which may expire; in progress, perhaps to a preview."""
        return self._info.image_url

    @property
    def image_urls(self) -> tuple[str, ...]:
        """Links to the four images of a grid, on servers that list them."""
        return self._info.image_urls

    @property
    def video_urls(self) -> tuple[str, ...]:
        """Links to videos."""
        return self._info.video_urls

    @property
    def buttons(self) -> Buttons:
        """The buttons of the task, by label, emoji, custom id or position.

        On a server without buttons, a grid has U1-U4, V1-V4 and 🔄, without custom ids.
        """
        return results.buttons_of(self._info)

    @property
    def fail_reason(self) -> str | None:
        """The reason of a failure, as the server returns it."""
        return self._info.fail_reason

    @property
    def state(self) -> str | None:
        """The `state` of the submission, as the server returns it."""
        return self._info.state

    @property
    def submitted_at(self) -> datetime | None:
        """Time of the submission, with time zone."""
        return self._info.submitted_at

    @property
    def started_at(self) -> datetime | None:
        """Time of the start, with time zone."""
        return self._info.started_at

    @property
    def finished_at(self) -> datetime | None:
        """Time of the end, with time zone."""
        return self._info.finished_at

    @property
    def properties(self) -> Mapping[str, Any]:
        """The `properties` of the reply."""
        return self._info.properties

    @property
    def raw(self) -> Mapping[str, Any]:
        """The last reply, undecoded."""
        return self._info.raw

    @property
    def done(self) -> bool:
        """Whether the task has ended: SUCCESS, FAILURE or CANCEL."""
        return self._info.status.is_final

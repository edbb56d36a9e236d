"""What a Task shows of its last snapshot."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ._models import TaskInfo, TaskStatus, prompts_of, text_of
from ._protocol import results
from ._protocol.buttons import Buttons

__all__ = ["TaskView"]


class TaskView:
    """A mutable handle's view of one frozen `TaskInfo`, swapped whenever the server tells more."""

    __slots__ = ("_info",)

    def __init__(self, info: TaskInfo) -> None:
        self._info = info

    @property
    def info(self) -> TaskInfo:
        """The last snapshot; blank (id "") until the server accepted the job."""
        return self._info

    @property
    def id(self) -> str:
        """The server's id; "" until it accepted the job."""
        return self._info.id

    @property
    def status(self) -> TaskStatus:
        """Where it stands."""
        return self._info.status

    @property
    def progress(self) -> int | None:
        """Percent, 0-100, or None when the server gave none. Never tells the outcome."""
        return self._info.progress

    @property
    def prompt(self) -> str | None:
        """The prompt, as the server repeats it."""
        return self._info.prompt

    @property
    def final_prompt(self) -> str | None:
        """What Midjourney was asked in the end; for describe and shorten, the result text."""
        return self._info.final_prompt

    @property
    def text(self) -> str:
        """The result of describe and shorten, as text; "" for pictures."""
        return text_of(self._info)

    @property
    def prompts(self) -> tuple[str, ...]:
        """The prompts that describe or shorten came up with, one by one."""
        return prompts_of(self._info)

    @property
    def image_url(self) -> str | None:
        """Link to the picture; while in progress perhaps to a preview. It may expire."""
        return self._info.image_url

    @property
    def image_urls(self) -> tuple[str, ...]:
        """Links to the single pictures of a grid, on servers that list them."""
        return self._info.image_urls

    @property
    def video_urls(self) -> tuple[str, ...]:
        """Links to videos."""
        return self._info.video_urls

    @property
    def buttons(self) -> Buttons:
        """What can be pressed, looked up by label, emoji, custom id or position.

        On a server without buttons a grid still has U1-U4, V1-V4 and 🔄, with no custom id.
        """
        return results.buttons_of(self._info)

    @property
    def fail_reason(self) -> str | None:
        """The server's reason, when it failed."""
        return self._info.fail_reason

    @property
    def state(self) -> str | None:
        """The mark sent with the submission, echoed by the server."""
        return self._info.state

    @property
    def submitted_at(self) -> datetime | None:
        """When the server took it (aware)."""
        return self._info.submitted_at

    @property
    def started_at(self) -> datetime | None:
        """When it began to run (aware)."""
        return self._info.started_at

    @property
    def finished_at(self) -> datetime | None:
        """When it ended (aware)."""
        return self._info.finished_at

    @property
    def properties(self) -> Mapping[str, Any]:
        """The server's own bag of further facts."""
        return self._info.properties

    @property
    def raw(self) -> Mapping[str, Any]:
        """The last reply as it came."""
        return self._info.raw

    @property
    def done(self) -> bool:
        """Whether it ended: SUCCESS, FAILURE or CANCEL."""
        return self._info.status.is_final

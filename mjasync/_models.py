"""The models: what a server returns about tasks, buttons and accounts (PROTOCOL §2-§3)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from operator import attrgetter
from typing import Any, Final, Literal, Self, cast

import attrs

from ._json import dump_json, parse_json_leniently
from ._text import printable

Speed = Literal["relax", "fast", "turbo"]
"""The speed, which sets the price; usually part of the path (PROTOCOL §6.1)."""
ImageHost = Literal["relay", "origin", "proxy"]
"""The host of image links, on gateways that offer a choice by path suffix."""
SpeedVia = Literal["path", "prompt", "both"]
"""How to request the speed: some gateways ignore the path, others remove prompt flags."""
Auth = Literal["secret", "bearer"]
"""The header of the token: `mj-api-secret` or `Authorization: Bearer` (PROTOCOL §6.2)."""
Bot = Literal["midjourney", "niji"]
"""The Midjourney bot."""
VideoType = Literal["vid_1.1_i2v_480", "vid_1.1_i2v_720"]
"""The resolution of a video."""
Dimensions = Literal["PORTRAIT", "SQUARE", "LANDSCAPE"]
"""The shape of a blend: 2:3, 1:1 or 3:2."""
NOTHING: Final[Mapping[str, Any]] = {}
"""A shared empty mapping; a mapping proxy could not be pickled."""


class TaskStatus(StrEnum):
    """The status of a task (PROTOCOL §3.6). Unknown values of a server are kept."""

    NOT_START = "NOT_START"
    """Accepted, not started; also for `""` and null."""
    SUBMITTED = "SUBMITTED"
    """Sent to Midjourney."""
    MODAL = "MODAL"
    """Waits for the answer to a modal, or for the answer to be processed."""
    IN_PROGRESS = "IN_PROGRESS"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    CANCEL = "CANCEL"

    is_final: bool
    """Whether the task has ended: SUCCESS, FAILURE or CANCEL."""

    def __new__(cls, value: str) -> Self:
        status = str.__new__(cls, value)
        status._value_ = value
        status.is_final = value in {"SUCCESS", "FAILURE", "CANCEL"}
        return status

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, str):
            return None
        status = str.__new__(cls, value)
        status._value_ = value
        status._name_ = printable(value)  # it is shown, and a server chose it
        status.is_final = False
        return status


class TaskPhase(StrEnum):
    """The phase of a Task: on the client until it is accepted, then on the server."""

    NEW = "new"
    """Not awaited yet."""
    WAITING = "waiting"
    """The parent Task has not finished."""
    PREPARING = "preparing"
    """The images are read, or the button is selected."""
    QUEUED = "queued"
    """Waits for other submissions of this client."""
    SENDING = "sending"
    """The submission is in flight."""
    HELD_UP = "held-up"
    """The submission failed for now and is retried: see `Task.held_up`."""
    SUBMITTED = "submitted"
    """The server has accepted it, and has not started."""
    MODAL = "modal"
    """The server waits for the answer to a modal."""
    RUNNING = "running"
    """The server is working on it."""
    FINISHED = "finished"
    """It has finished successfully."""
    FAILED = "failed"
    """It has failed, or its submission was refused."""
    CLOSED = "closed"
    """It was closed before it was submitted."""


@attrs.frozen(kw_only=True)
class Button:
    """One button of a finished task (PROTOCOL §3.5); any of the texts may be empty."""

    custom_id: str
    """The id that presses the button; always one that the server listed."""
    label: str = ""
    emoji: str = ""
    """A glyph, or the name of a Discord emoji (`upscale_1`)."""
    style: int = 0
    """2 for normal buttons, 3 for those used already."""
    type: int = 0


@attrs.frozen(kw_only=True)
class TaskInfo:
    """The state of a task, as the server reports it (PROTOCOL §3)."""

    id: str
    status: TaskStatus = TaskStatus.NOT_START
    action: str = ""
    """The kind of task ("IMAGINE", "UPSCALE"); the expected kind until the server reports it."""
    progress: int | None = None
    """Progress in percent, 0 to 100; None if unknown. The outcome is in `status`."""
    prompt: str | None = None
    prompt_en: str | None = None
    final_prompt: str | None = None
    """The prompt that Midjourney received; for describe and shorten, the result."""
    description: str | None = None
    image_url: str | None = None
    image_urls: tuple[str, ...] = ()
    """Links to the four images of a grid, on servers that list them."""
    video_urls: tuple[str, ...] = ()
    buttons: tuple[Button, ...] = ()
    fail_reason: str | None = None
    seed: int | None = None
    state: str | None = None
    """The `state` of the submission."""
    mode: str | None = None
    """"RELAX", "FAST" or "TURBO", on servers that report it."""
    submitted_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    _properties: Mapping[str, Any] | None = attrs.field(
        default=None, repr=False, alias="properties"
    )
    _raw: Mapping[str, Any] | bytes = attrs.field(default=NOTHING, repr=False, alias="raw")

    @property
    def raw(self) -> Mapping[str, Any]:
        """The whole reply, for values that have no field here."""
        if isinstance(self._raw, bytes):  # parsed when it is first read
            object.__setattr__(self, "_raw", parse_json_leniently(self._raw))
        return cast("Mapping[str, Any]", self._raw)

    @property
    def properties(self) -> Mapping[str, Any]:
        """The `properties` of the reply."""
        if self._properties is not None:
            return self._properties
        properties = self.raw.get("properties")
        return properties if isinstance(properties, dict) else NOTHING

    def __eq__(self, other: object) -> bool:
        """Compare all fields except `raw`."""
        if not isinstance(other, TaskInfo):
            return NotImplemented
        return (
            _hashable_fields(self) == _hashable_fields(other)
            and self.properties == other.properties
        )

    def __hash__(self) -> int:
        return hash(_hashable_fields(self))

    def to_dict(self) -> dict[str, Any]:
        """Return the task as a dictionary of JSON values, as `mjasync … --json` prints it."""
        return record_of(self)

    def to_json(self) -> str:
        """Return the task as JSON."""
        return dump_json(self.to_dict()).decode()


_hashable_fields: Final = attrgetter(
    *(attrs.fields_dict(TaskInfo).keys() - {"_properties", "_raw"})
)
"""Read the fields that can be hashed."""


@attrs.frozen(kw_only=True)
class Account:
    """A Midjourney account of a server, without its secrets (PROTOCOL §1.16)."""

    id: str
    """The id of the account's channel."""
    enabled: bool | None = None
    concurrency: int | None = None
    """Number of tasks that run concurrently."""
    queue_size: int | None = None
    """Number of tasks that may wait."""
    timeout_minutes: int | None = None
    raw: Mapping[str, Any] = attrs.field(default=NOTHING, repr=False, eq=False)
    """The whole reply, without values that look like secrets."""


@attrs.frozen(kw_only=True)
class SubmitReceipt:
    """The reply to an accepted submission (PROTOCOL §2)."""

    code: int
    """1: accepted; 22: queued; 21: waits for a modal, or exists already."""
    ids: tuple[str, ...]
    """The ids of the new tasks; a button may start several."""
    description: str = ""
    properties: Mapping[str, Any] = attrs.field(default=NOTHING, repr=False)

    @property
    def is_modal(self) -> bool:
        """Whether the server waits for the answer to a modal (PROTOCOL §4.4)."""
        if self.code == 21:
            return not (self.properties.get("status") or self.properties.get("imageUrl"))
        if self.properties.get("remix") is True:
            return True
        return "window confirm" in self.description.lower() or "窗口等待" in self.description


def _as_tuple(value: Iterable[Speed]) -> tuple[Speed, ...]:
    return tuple(value)


@attrs.frozen(kw_only=True)
class AccountFilter:
    """The accounts that may run a task (PROTOCOL §1.1). Gateways drop or replace this filter."""

    instance_id: str | None = None
    """The id of the account, which is a channel id."""
    modes: tuple[Speed, ...] = attrs.field(default=(), converter=_as_tuple)
    """Speeds that the account must allow."""
    remix: bool | None = None
    niji_remix: bool | None = None
    remix_auto_considered: bool | None = None
    remark: str | None = None

    def to_payload(self) -> dict[str, Any]:
        """Return the filter as the `accountFilter` of a request."""
        fields = {
            "instanceId": self.instance_id,
            "modes": [mode.upper() for mode in self.modes] or None,
            "remix": self.remix,
            "nijiRemix": self.niji_remix,
            "remixAutoConsidered": self.remix_auto_considered,
            "remark": self.remark,
        }
        return {name: value for name, value in fields.items() if value is not None}


_GRID_ACTIONS: Final = frozenset({"IMAGINE", "VARIATION", "REROLL", "BLEND"})
_TEXT_ACTIONS: Final = frozenset({"DESCRIBE", "SHORTEN"})
_NUMBERED_LINE: Final = re.compile(r"(?:\d\ufe0f?\u20e3|\d[.)、](?!\d))\s*(?=\S)")
"""The start of a line with a keycap or a number (PROTOCOL §1.4)."""
_GRID_LABELS: Final = ("U1", "U2", "U3", "U4", "", "V1", "V2", "V3", "V4")
_GRID_BUTTONS: Final = tuple(
    Button(custom_id="", label=label, emoji="" if label else "🔄") for label in _GRID_LABELS
)
"""The buttons of a grid on servers that list none; pressed through `/submit/change`."""


def listed_buttons(info: TaskInfo) -> tuple[Button, ...]:
    """Return the buttons of a task; those that every grid has where a server lists none."""
    lists_none = info.raw.get("buttons") is None
    if info.status is TaskStatus.SUCCESS and lists_none and info.action in _GRID_ACTIONS:
        return _GRID_BUTTONS
    return info.buttons


def record_of(info: TaskInfo) -> dict[str, Any]:
    """Return a task as a dictionary of JSON values; every key is always present."""
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
            for button in listed_buttons(info)
        ],
        "text": text_of(info) or None,
        "prompts": list(prompts_of(info)),
    }


def text_of(info: TaskInfo) -> str:
    """Return the result of describe or shorten, wherever a server puts it (PROTOCOL §1.4, §1.5)."""
    if info.action not in _TEXT_ACTIONS or info.status is not TaskStatus.SUCCESS:
        return ""
    return info.final_prompt or info.prompt or info.description or ""


def prompts_of(info: TaskInfo) -> tuple[str, ...]:
    """Return the prompts in that text: its numbered lines, or else each line that is not blank."""
    lines = [line.strip() for line in text_of(info).splitlines() if line.strip()]
    starts = [_NUMBERED_LINE.match(line) for line in lines]
    numbered = tuple(
        line[start.end() :] for line, start in zip(lines, starts, strict=True) if start is not None
    )
    return numbered or tuple(lines)

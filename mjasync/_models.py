"""The nouns: frozen snapshots of what a server said. PROTOCOL §2-§3."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Self

import attrs

from ._text import printable

__all__ = [
    "Account",
    "AccountFilter",
    "Auth",
    "Bot",
    "Button",
    "Dimensions",
    "ImageHost",
    "Speed",
    "SpeedVia",
    "SubmitReceipt",
    "TaskInfo",
    "TaskPhase",
    "TaskStatus",
    "VideoType",
    "listed_buttons",
    "prompts_of",
    "record_of",
    "text_of",
]

Speed = Literal["relax", "fast", "turbo"]
"""How fast, and how dear: chosen by path (PROTOCOL §6.1)."""
ImageHost = Literal["relay", "origin", "proxy"]
"""Where picture links point to, on gateways that offer the choice by path suffix."""
SpeedVia = Literal["path", "prompt", "both"]
"""How the speed is asked for: one gateway ignores the path, another strips prompt flags."""
Auth = Literal["secret", "bearer"]
"""`mj-api-secret` alone, or `Authorization: Bearer` alone; never both (PROTOCOL §6.2)."""
Bot = Literal["midjourney", "niji"]
"""Which of Midjourney's two bots draws."""
VideoType = Literal["vid_1.1_i2v_480", "vid_1.1_i2v_720"]
"""Resolution of a video."""
Dimensions = Literal["PORTRAIT", "SQUARE", "LANDSCAPE"]
"""Shape of a blend: 2:3, 1:1 or 3:2."""

NOTHING: Final[Mapping[str, Any]] = {}
"""The empty object everybody shares (a mapping proxy would not pickle)."""


class TaskStatus(StrEnum):
    """Where a task stands (PROTOCOL §3.6). An unknown word of a server passes through as itself."""

    NOT_START = "NOT_START"
    """Accepted, nothing has begun (also what `""` and null mean)."""
    SUBMITTED = "SUBMITTED"
    """Handed to Midjourney."""
    MODAL = "MODAL"
    """Waits for a modal to be answered, or, once answered, for the answer to go through."""
    IN_PROGRESS = "IN_PROGRESS"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    CANCEL = "CANCEL"

    is_final: bool
    """Whether nothing will change any more: SUCCESS, FAILURE and CANCEL, and nothing else."""

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
    """What happens to a Task: on this side until the server has it, then what the server tells."""

    NEW = "new"
    """Made, and not awaited yet."""
    WAITING = "waiting"
    """The Task before it in a chain is not finished."""
    PREPARING = "preparing"
    """Its pictures are read, or the button is chosen."""
    QUEUED = "queued"
    """Others of this client are before it."""
    SENDING = "sending"
    """Its submission is on the wire."""
    HELD_UP = "held-up"
    """It did not get through for now, and is tried again: see `Task.held_up`."""
    SUBMITTED = "submitted"
    """The server has it and has not begun."""
    MODAL = "modal"
    """The server waits for the answer to a modal."""
    RUNNING = "running"
    """The server works at it."""
    FINISHED = "finished"
    """It has its result."""
    FAILED = "failed"
    """It ended without one, or its submission did not go through."""
    CLOSED = "closed"
    """It was closed before it was sent."""


@attrs.frozen(kw_only=True, weakref_slot=False)  # laid out as what it is made from in `codec`
class Button:
    """One button of a finished task (PROTOCOL §3.5); any of the texts may be empty."""

    custom_id: str
    """What the server wants back when it is pressed. Only ever taken from a server's list."""
    label: str = ""
    emoji: str = ""
    """A glyph, or the name of a Discord emoji (`upscale_1`)."""
    style: int = 0
    """2 normal, 3 already used."""
    type: int = 0


class LazyFields:
    """Where a snapshot keeps the reply whose fields nobody has asked for yet.

    Of a task under way hardly anybody asks for more than status and progress. Read, it would take
    four times the memory; and thousands may be waited for.
    """

    __slots__ = ("_body",)
    _read: ClassVar[Callable[[TaskInfo], None]]

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> object:
            """Fill in every field once one is asked for that was left unread."""
            if name not in _FIELDS:
                message = f"{type(self).__name__!r} object has no attribute {name!r}"
                raise AttributeError(message)
            type(self)._read(self)  # noqa: SLF001 - our own
            return getattr(self, name)


@attrs.frozen(kw_only=True)
class TaskInfo(LazyFields):
    """One snapshot of a task, as the server told it. PROTOCOL §3."""

    id: str
    status: TaskStatus = TaskStatus.NOT_START
    action: str = ""
    """The server's word for what this is (IMAGINE, UPSCALE…), the expected one until it tells."""
    progress: int | None = None
    """Percent, 0-100; None when the server gave none. Never tells the outcome."""
    prompt: str | None = None
    prompt_en: str | None = None
    final_prompt: str | None = None
    """What Midjourney was asked in the end; for describe and shorten, the result text."""
    description: str | None = None
    image_url: str | None = None
    image_urls: tuple[str, ...] = ()
    """The single pictures of a grid, on servers that list them."""
    video_urls: tuple[str, ...] = ()
    buttons: tuple[Button, ...] = ()
    fail_reason: str | None = None
    seed: int | None = None
    state: str | None = None
    """The caller's own mark, echoed."""
    mode: str | None = None
    """RELAX, FAST or TURBO, on servers that tell."""
    submitted_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    properties: Mapping[str, Any] = attrs.field(default=NOTHING, repr=False)
    raw: Mapping[str, Any] = attrs.field(default=NOTHING, repr=False)
    """The reply as it came, for whatever has no field of its own here."""

    def __eq__(self, other: object) -> bool:
        """Compare everything but the reply as it came."""
        if not isinstance(other, TaskInfo):
            return NotImplemented
        return (
            _hashable_fields(self) == _hashable_fields(other)
            and self.properties == other.properties
        )

    def __hash__(self) -> int:
        return hash(_hashable_fields(self))

    def to_dict(self) -> dict[str, Any]:
        """Return the record that `mjasync … --json` prints of a task: texts, numbers and lists."""
        return record_of(self)

    def to_json(self) -> str:
        """Return that record as JSON."""
        import orjson

        return orjson.dumps(self.to_dict()).decode()


_FIELDS: Final = frozenset(attrs.fields_dict(TaskInfo))
_hashable_fields: Final = attrgetter(*(_FIELDS - {"properties", "raw"}))
"""The fields that can be hashed."""


@attrs.frozen(kw_only=True)
class Account:
    """A Midjourney account behind a server (PROTOCOL §1.16), without its secrets."""

    id: str
    """The channel's id."""
    enabled: bool | None = None
    concurrency: int | None = None
    """Tasks it runs at once."""
    queue_size: int | None = None
    """Tasks it keeps waiting."""
    timeout_minutes: int | None = None
    raw: Mapping[str, Any] = attrs.field(default=NOTHING, repr=False, eq=False)
    """What else the server told, but for whatever looks like a secret."""


@attrs.frozen(kw_only=True)
class SubmitReceipt:
    """What a server answered to an accepted submission (PROTOCOL §2)."""

    code: int
    """1 accepted, 22 queued, 21 waits for a modal or exists already."""
    ids: tuple[str, ...]
    """The new task's id; more than one where one press makes several tasks."""
    description: str = ""
    properties: Mapping[str, Any] = attrs.field(default=NOTHING, repr=False)

    @property
    def is_modal(self) -> bool:
        """Whether the server waits for `/submit/modal` (PROTOCOL §4.4)."""
        if self.code == 21:
            return not (self.properties.get("status") or self.properties.get("imageUrl"))
        if self.properties.get("remix") is True:
            return True
        return "window confirm" in self.description.lower() or "窗口等待" in self.description


def _as_tuple(value: Iterable[Speed]) -> tuple[Speed, ...]:
    return tuple(value)


@attrs.frozen(kw_only=True)
class AccountFilter:
    """Which of the server's accounts may do a job (PROTOCOL §1.1); gateways drop or replace it."""

    instance_id: str | None = None
    """The account's id (a channel id)."""
    modes: tuple[Speed, ...] = attrs.field(default=(), converter=_as_tuple)
    """The speeds it must allow."""
    remix: bool | None = None
    niji_remix: bool | None = None
    remix_auto_considered: bool | None = None
    remark: str | None = None

    def to_payload(self) -> dict[str, Any]:
        """As the servers spell it."""
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
"""A line that begins with a keycap or a number (PROTOCOL §1.4)."""


_GRID_LABELS: Final = ("U1", "U2", "U3", "U4", "", "V1", "V2", "V3", "V4")


_GRID_BUTTONS: Final = tuple(
    Button(custom_id="", label=label, emoji="" if label else "🔄") for label in _GRID_LABELS
)
"""What a grid offers on a server that lists no buttons: pressed through `/submit/change`."""


def listed_buttons(info: TaskInfo) -> tuple[Button, ...]:
    """Return the buttons of a task; those that every grid has where a server lists none."""
    lists_none = info.raw.get("buttons") is None
    if info.status is TaskStatus.SUCCESS and lists_none and info.action in _GRID_ACTIONS:
        return _GRID_BUTTONS
    return info.buttons


def record_of(info: TaskInfo) -> dict[str, Any]:
    """Return what a server said of a task as JSON has it. Every key is always there."""
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
    """The result of describe and shorten, wherever the dialect put it (PROTOCOL §1.4, §1.5)."""
    if info.action not in _TEXT_ACTIONS or info.status is not TaskStatus.SUCCESS:
        return ""
    return info.final_prompt or info.prompt or info.description or ""


def prompts_of(info: TaskInfo) -> tuple[str, ...]:
    """The single prompts in that text: its numbered lines, else each line that is not blank."""
    lines = [line.strip() for line in text_of(info).splitlines() if line.strip()]
    starts = [_NUMBERED_LINE.match(line) for line in lines]
    numbered = tuple(
        line[start.end() :] for line, start in zip(lines, starts, strict=True) if start is not None
    )
    return numbered or tuple(lines)

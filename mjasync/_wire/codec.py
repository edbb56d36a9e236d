"""JSON to nouns and back: one converter, every dialect's spelling of nothing means None."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from sys import intern
from typing import Any, Final

import orjson
from cattrs.gen import make_dict_structure_fn, override
from cattrs.preconf.orjson import make_converter

from .._models import NOTHING, Account, Button, TaskInfo, TaskStatus

__all__ = [
    "dump",
    "is_told",
    "load",
    "refresh_period",
    "snapshot",
    "structure_account",
    "structure_task",
    "task_id_in",
]

_PERCENT = re.compile(r"\s*([0-9]+)(?:\.[0-9]*)?\s*%?\s*")
_SECRET = re.compile(r"token|secret|password|cookie|agent", re.IGNORECASE)

_REFRESHED: Final[Mapping[str, float]] = {"maskBase64": 15.0}
"""What only a gateway's own rows have, and how many seconds pass until such a gateway looks at the
server behind it again (PROTOCOL §3.4, §6.3)."""

load = orjson.loads
dump = orjson.dumps


def structure_task(raw: Mapping[str, Any]) -> TaskInfo:
    """Make the public snapshot of a task object as any server of the family sends it.

    Fields of a wrong type read as missing rather than losing the task: PROTOCOL §7.3.

    Raises:
        ValueError: It has no id.
    """
    return _converter.structure(raw, TaskInfo)


def snapshot(raw: Mapping[str, Any], body: bytes) -> TaskInfo:
    """The snapshot of a task just read from `body`.

    Of one that goes on, all but what waiting needs is read when somebody asks for it.

    Raises:
        ValueError: It has no id.
    """
    status = _status(raw.get("status"), None)
    if status.is_final:
        return structure_task(raw)
    info = TaskInfo.__new__(TaskInfo)
    keep = object.__setattr__  # it is frozen
    keep(info, "_body", body)
    keep(info, "id", _task_id(raw.get("id"), None))
    keep(info, "status", status)
    keep(info, "action", intern(_word(raw.get("action"))))
    keep(info, "progress", percent(raw.get("progress")))
    mode = text(raw.get("mode"))
    keep(info, "mode", mode and intern(mode))
    return info


def is_told(info: TaskInfo) -> bool:
    """Whether a server told it; nothing that was left unread is read for that."""
    return hasattr(info, "_body") or bool(info.raw)


def refresh_period(raw: Mapping[str, Any]) -> float | None:
    """Seconds between a server's own looks at the one behind it; None where it needs none."""
    return next((_REFRESHED[key] for key in _REFRESHED if key in raw), None)


def task_id_in(payload: object) -> str | None:
    """The id of the task in somebody's JSON, read or not; None where there is none."""
    if isinstance(payload, str | bytes | bytearray | memoryview):
        try:
            payload = load(payload)
        except orjson.JSONDecodeError:
            return None
    return text(payload.get("id")) if isinstance(payload, Mapping) else None


def structure_account(raw: Mapping[str, Any]) -> Account:
    """Make the public account of one as the servers send it; its secrets stay behind."""
    safe = {key: value for key, value in raw.items() if not _SECRET.search(key)}
    enabled = raw.get("enable")
    return Account(
        id=text(raw.get("id")) or text(raw.get("channelId")) or "",
        enabled=enabled if isinstance(enabled, bool) else None,
        concurrency=whole(raw.get("coreSize")),
        queue_size=whole(raw.get("queueSize")),
        timeout_minutes=whole(raw.get("timeoutMinutes")),
        raw=safe,
    )


def text(value: Any, _: Any = None) -> str | None:
    """A string; null and "" are None, a number is spelled out (PROTOCOL §2: numeric ids)."""
    if isinstance(value, str):
        return value or None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return None


def percent(value: Any, _: Any = None) -> int | None:
    """`"45%"` is 45; "", null and words are None. PROTOCOL §3.6."""
    if isinstance(value, str):
        match = _PERCENT.fullmatch(value)
        value = int(match[1][:9]) if match else None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return max(0, min(100, int(value)))
    return None


def moment(value: Any, _: Any = None) -> datetime | None:
    """Epoch milliseconds; 0 and null are None."""
    number = whole(value)
    if not number or number < 0:
        return None
    try:
        return datetime.fromtimestamp(number / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return None


def whole(value: Any, _: Any = None) -> int | None:
    """An integer, spelled out or not (a seed is a string on some servers)."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, str) and value.isascii() and value.strip().isdecimal():
        return int(value.strip()[:20])
    return None


def links(value: Any, _: Any = None) -> tuple[str, ...]:
    """URLs, given as strings or as `{"url": …}`."""
    if not isinstance(value, list):
        return ()
    urls = (item.get("url") if isinstance(item, dict) else item for item in value)
    return tuple(url for url in urls if isinstance(url, str) and url)


def mapping(value: Any, _: Any = None) -> Mapping[str, Any]:
    """An object; null and anything else are empty."""
    return value if isinstance(value, dict) and value else NOTHING


def _task_id(value: Any, _: Any) -> str:
    task_id = text(value)
    if task_id is None:
        message = "a task without an id"
        raise ValueError(message)
    return task_id


def _status(value: Any, _: Any) -> TaskStatus:
    return TaskStatus(value) if isinstance(value, str) and value else TaskStatus.NOT_START


def _word(value: Any, _: Any = None) -> str:
    return text(value) or ""


def _buttons(value: Any, _: Any) -> tuple[Button, ...]:
    if not isinstance(value, list):
        return ()
    pressable = (item for item in value if isinstance(item, dict) and item.get("customId"))
    return tuple(_converter.structure(item, Button) for item in pressable)


_converter = make_converter()
_converter.register_structure_hook(
    Button,
    make_dict_structure_fn(
        Button,
        _converter,
        custom_id=override(rename="customId", struct_hook=_word),
        label=override(struct_hook=_word),
        emoji=override(struct_hook=_word),
        style=override(struct_hook=lambda value, _: whole(value) or 0),
        type=override(struct_hook=lambda value, _: whole(value) or 0),
    ),
)
_structure_fields = make_dict_structure_fn(
    TaskInfo,
    _converter,
    _cattrs_detailed_validation=False,
    id=override(struct_hook=_task_id),
    status=override(struct_hook=_status),
    action=override(struct_hook=_word),
    progress=override(struct_hook=percent),
    prompt=override(struct_hook=text),
    prompt_en=override(rename="promptEn", struct_hook=text),
    final_prompt=override(rename="finalPrompt", struct_hook=text),
    description=override(struct_hook=text),
    image_url=override(rename="imageUrl", struct_hook=text),
    image_urls=override(rename="imageUrls", struct_hook=links),
    video_urls=override(rename="videoUrls", struct_hook=links),
    buttons=override(struct_hook=_buttons),
    fail_reason=override(rename="failReason", struct_hook=text),
    seed=override(struct_hook=whole),
    state=override(struct_hook=text),
    mode=override(struct_hook=text),
    submitted_at=override(rename="submitTime", struct_hook=moment),
    started_at=override(rename="startTime", struct_hook=moment),
    finished_at=override(rename="finishTime", struct_hook=moment),
    properties=override(struct_hook=mapping),
    raw=override(struct_hook=mapping),
)


def _structure(raw: Mapping[str, Any], _: Any) -> TaskInfo:
    videos = links(raw.get("videoUrls")) or links([raw.get("videoUrl")])
    made = {
        "finalPrompt": mapping(raw.get("properties")).get("finalPrompt"),
        "videoUrls": list(videos),
        "raw": raw,
    }
    return _structure_fields({"id": None, **raw, **made}, TaskInfo)


_converter.register_structure_hook(TaskInfo, _structure)
TaskInfo._read = staticmethod(lambda body: structure_task(load(body)))  # noqa: SLF001 - its reader

"""Replies to models, structured by cattrs with tolerant hooks for odd servers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from sys import intern
from typing import Any, Final

from cattrs import Converter
from cattrs.gen import make_dict_structure_fn, override

from .._json import parse_json_leniently
from .._models import Account, Button, TaskInfo, TaskStatus

_PERCENT: Final = re.compile(r"\s*([0-9]+)(?:\.[0-9]*)?\s*%?\s*")
_MAX_PROGRESS_LENGTH: Final = 32
"""Characters of a progress text that are parsed."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_SECRET: Final = re.compile(r"token|secret|password|cookie|agent", re.IGNORECASE)
_REFRESH_PERIODS: Final[Mapping[str, float]] = {"maskBase64": 15.0}
"""Fields that only a gateway's own rows have, and the seconds between the gateway's reads of the
server behind it (PROTOCOL §3.4, §6.3)."""


def decode_task(raw: Mapping[str, Any]) -> TaskInfo:
    """Return the state of a task, from a reply of any server of the family.

    A field of the wrong type counts as missing (PROTOCOL §7.3).

    Raises:
        ValueError: The task has no id.
    """
    return _structure_task(raw, raw)


def decode_running_task(raw: Mapping[str, Any], body: bytes) -> TaskInfo:
    """Return the state of a task, from a reply that was just parsed.

    While the task runs, its body is kept in place of the parsed reply: a client may wait for
    thousands of tasks, and the poller keeps the body anyway.

    Args:
        raw: The parsed reply.
        body: The reply; empty if it cannot be written as JSON again.

    Raises:
        ValueError: The task has no id.
    """
    is_final = _status(raw.get("status")).is_final
    return _structure_task(raw, raw if is_final or not body else body)


def is_from_server(info: TaskInfo) -> bool:
    """Return whether a state came from a server."""
    return bool(info._raw)  # noqa: SLF001 - `raw` would be parsed


def gateway_refresh_period(raw: Mapping[str, Any]) -> float | None:
    """Return the seconds between a gateway's refreshes; None for other servers."""
    return next((_REFRESH_PERIODS[key] for key in _REFRESH_PERIODS if key in raw), None)


def task_id_in(payload: object) -> str | None:
    """Return the id of the task in a payload, parsed or not; None if there is none."""
    if isinstance(payload, str):
        payload = payload.encode("utf-8", "replace")
    if isinstance(payload, bytes | bytearray | memoryview):
        try:
            payload = parse_json_leniently(bytes(payload))
        except ValueError:
            return None
    return parse_text(payload.get("id")) if isinstance(payload, Mapping) else None


def decode_account(raw: Mapping[str, Any]) -> Account:
    """Return an account of a server, without its secrets."""
    public = {key: value for key, value in raw.items() if not _SECRET.search(key)}
    account_id = parse_text(raw.get("id")) or raw.get("channelId")
    account: Account = _structure_account({**raw, "id": account_id, "raw": public}, Account)
    return account


def parse_text(value: Any) -> str | None:
    """Return a string; null and "" become None, numbers become text (PROTOCOL §2)."""
    if isinstance(value, str):
        return value or None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return None


def parse_percent(value: Any) -> int | None:
    """Return the percentage in a text such as "45%"; None for other texts (PROTOCOL §3.6)."""
    if isinstance(value, str):
        return _percent_in(value[:_MAX_PROGRESS_LENGTH])
    if isinstance(value, int | float) and not isinstance(value, bool):
        return max(0, min(100, int(value)))
    return None


@lru_cache(256)
def _percent_in(text: str) -> int | None:
    match = _PERCENT.fullmatch(text)
    return min(100, int(match[1][:9])) if match else None


def parse_timestamp(value: Any) -> datetime | None:
    """Return the time of epoch milliseconds; None for 0 and null."""
    number = parse_int(value) or 0
    try:
        return _EPOCH + number * _MILLISECOND if number > 0 else None
    except OverflowError:
        return None


def parse_int(value: Any) -> int | None:
    """Return an integer, also from text, since some servers send seeds as strings."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.isascii() and value.strip().isdecimal():
        return int(value.strip()[:20])
    return None


def parse_urls(value: Any) -> tuple[str, ...]:
    """Return the URLs of a list of strings or of `{"url": …}` objects."""
    if not isinstance(value, list):
        return ()
    urls = (item.get("url") if isinstance(item, dict) else item for item in value)
    return tuple(url for url in urls if isinstance(url, str) and url)


# Hooks of cattrs: the value of a field in a reply, and the type of the field.


def _required_id(value: Any, _: Any) -> str:
    task_id = parse_text(value)
    if task_id is None:
        message = "a task without an id"
        raise ValueError(message)
    return task_id


def _status(value: Any, _: Any = None) -> TaskStatus:
    if not isinstance(value, str) or not value:
        return TaskStatus.NOT_START
    return _STATUSES.get(value) or TaskStatus(value)


_STATUSES: Final[Mapping[str, TaskStatus]] = dict(TaskStatus.__members__)


def _text(value: Any, _: Any) -> str | None:
    return (value or None) if type(value) is str else parse_text(value)


def _text_or_empty(value: Any, _: Any) -> str:
    return value if type(value) is str else parse_text(value) or ""


def _action(value: Any, _: Any) -> str:
    return intern(value if type(value) is str else parse_text(value) or "")  # few are in use


def _mode(value: Any, _: Any) -> str | None:
    return intern(value) if value and type(value) is str else parse_text(value)


def _final_prompt(properties: Any, _: Any) -> str | None:
    return parse_text(properties.get("finalPrompt")) if isinstance(properties, dict) else None


def _percent(value: Any, _: Any) -> int | None:
    return None if value is None else parse_percent(value)


def _int(value: Any, _: Any) -> int | None:
    return value if type(value) is int else parse_int(value)


def _int_or_zero(value: Any, _: Any) -> int:
    return value if type(value) is int else parse_int(value) or 0


def _bool(value: Any, _: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _timestamp(value: Any, _: Any) -> datetime | None:
    return parse_timestamp(value) if value else None


def _urls(value: Any, _: Any) -> tuple[str, ...]:
    return parse_urls(value) if value else ()


def _buttons(value: Any, _: Any) -> tuple[Button, ...]:
    """Return the buttons that can be pressed."""
    if not value or not isinstance(value, list):
        return ()
    return tuple(
        _structure_button(item, Button)
        for item in value
        if isinstance(item, dict) and parse_text(item.get("customId"))
    )


def _unchanged(value: Any, _: Any) -> Any:
    return value


_converter: Final = Converter(detailed_validation=False)
_structure_button: Final = make_dict_structure_fn(
    Button,
    _converter,
    custom_id=override(rename="customId", struct_hook=_text_or_empty),
    label=override(rename="label", struct_hook=_text_or_empty),
    emoji=override(rename="emoji", struct_hook=_text_or_empty),
    style=override(rename="style", struct_hook=_int_or_zero),
    type=override(rename="type", struct_hook=_int_or_zero),
)
_structure_account: Final = make_dict_structure_fn(
    Account,
    _converter,
    id=override(rename="id", struct_hook=_text_or_empty),
    enabled=override(rename="enable", struct_hook=_bool),
    concurrency=override(rename="coreSize", struct_hook=_int),
    queue_size=override(rename="queueSize", struct_hook=_int),
    timeout_minutes=override(rename="timeoutMinutes", struct_hook=_int),
    raw=override(rename="raw", struct_hook=_unchanged),
)
_structure_fields: Final = make_dict_structure_fn(
    TaskInfo,
    _converter,
    id=override(rename="id", struct_hook=_required_id),
    status=override(rename="status", struct_hook=_status),
    action=override(rename="action", struct_hook=_action),
    progress=override(rename="progress", struct_hook=_percent),
    prompt=override(rename="prompt", struct_hook=_text),
    prompt_en=override(rename="promptEn", struct_hook=_text),
    final_prompt=override(rename="properties", struct_hook=_final_prompt),
    description=override(rename="description", struct_hook=_text),
    image_url=override(rename="imageUrl", struct_hook=_text),
    image_urls=override(rename="imageUrls", struct_hook=_urls),
    video_urls=override(rename="videoUrls", struct_hook=_urls),
    buttons=override(rename="buttons", struct_hook=_buttons),
    fail_reason=override(rename="failReason", struct_hook=_text),
    seed=override(rename="seed", struct_hook=_int),
    state=override(rename="state", struct_hook=_text),
    mode=override(rename="mode", struct_hook=_mode),
    submitted_at=override(rename="submitTime", struct_hook=_timestamp),
    started_at=override(rename="startTime", struct_hook=_timestamp),
    finished_at=override(rename="finishTime", struct_hook=_timestamp),
    _properties=override(omit=True),
    _raw=override(rename="_raw", struct_hook=_unchanged),
)


def _structure_task(reply: Mapping[str, Any], raw: Mapping[str, Any] | bytes) -> TaskInfo:
    fields = {"id": None, **reply, "_raw": raw}
    if "videoUrl" in reply and not parse_urls(reply.get("videoUrls")):
        fields["videoUrls"] = [reply["videoUrl"]]
    return _structure_fields(fields, TaskInfo)

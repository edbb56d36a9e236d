"""JSON to nouns and back: one converter, every dialect's spelling of nothing means None."""

from __future__ import annotations

import json
import re
from codecs import BOM_UTF8
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from math import isfinite
from sys import intern
from typing import Any, Final

import attrs
import orjson
from cattrs.preconf.orjson import make_converter

from .._models import NOTHING, Account, Button, LazyFields, TaskInfo, TaskStatus

__all__ = [
    "decode_account",
    "decode_running_task",
    "decode_task",
    "dump_json",
    "dump_text",
    "gateway_refresh_period",
    "is_from_server",
    "parse_json",
    "parse_json_leniently",
    "raw_of",
    "split_task_list",
    "task_id_in",
]

_PERCENT = re.compile(r"\s*([0-9]+)(?:\.[0-9]*)?\s*%?\s*")
_ROW_SEPARATOR: Final = re.compile(r"(?<=\}),\s{0,9}(?=\{\s{0,9}\"id\"\s{0,9}:)")
"""Where a task ends and the next one begins."""
_MAX_PROGRESS_LENGTH: Final = 32
"""Characters of a progress text that are looked at."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_SECRET = re.compile(r"token|secret|password|cookie|agent", re.IGNORECASE)

_REFRESH_PERIODS: Final[Mapping[str, float]] = {"maskBase64": 15.0}
"""What only a gateway's own rows have, and how many seconds pass until such a gateway looks at the
server behind it again (PROTOCOL §3.4, §6.3)."""

_ID_SEARCH_BYTES: Final = 64
"""Bytes of a task's JSON by which it is found again: its id is usually among them."""

parse_json = orjson.loads
dump_json = orjson.dumps


def dump_text(value: Any) -> bytes:
    """Write what was read; empty where it is nested too deeply for that."""
    try:
        return dump_json(value)
    except TypeError:
        return b""


def parse_json_leniently(body: bytes) -> Any:
    """Read JSON, or what is nearly JSON.

    Servers send half an emoji, a cut character, a line break within a text, NaN, or a NUL at the
    end. What waiting needs is plain all the same, so such a reply is read a second time: what
    cannot be decoded becomes U+FFFD, and NaN and infinities become null. A row of a list that
    cannot be read even so is an empty object.

    Raises:
        ValueError: It is no JSON even so.
    """
    try:
        return parse_json(body)
    except ValueError:
        pass
    body = body.removeprefix(BOM_UTF8).strip(b"\0 \t\r\n")
    for encoding in ("utf-8", "gb18030") if body[:1] in (b"{", b"[") else ():
        try:
            return _repair(body.decode(encoding, "replace"))
        except ValueError:
            continue
    rows = _split_rows(body.decode("utf-8", "replace"))
    if not any(rows):
        message = "not even nearly JSON"
        raise ValueError(message)
    return rows


def _repair(words: str) -> Any:
    """Read JSON as Python's own reader does, which takes more, and make it strict.

    Raises:
        ValueError: It cannot be read.
    """
    try:
        value = json.loads(
            words, strict=False, parse_constant=_reject_constant, parse_float=_finite_float
        )
        strict = json.dumps(value, ensure_ascii=False)
    except RecursionError as error:
        raise ValueError from error
    if not strict.isascii():
        strict = strict.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return parse_json(strict)


def _reject_constant(_: str) -> None:
    """Stand for a number that JSON does not have."""


def _finite_float(number: str) -> float | None:
    value = float(number)
    return value if isfinite(value) else None


def _split_rows(words: str) -> list[Any]:
    """Yield the rows of a list, decoded singly; an empty one for each that is invalid."""
    if not (words.startswith("[") and words.endswith("]")):
        return []
    rows: list[Any] = []
    for row in _ROW_SEPARATOR.split(words[1:-1]):
        try:
            rows.append(_repair(row))
        except ValueError:
            rows.append({})
    return rows


def split_task_list(
    body: bytes, known: Iterable[bytes]
) -> tuple[set[bytes], list[tuple[bytes, dict[str, Any]]]] | None:
    """Cut a list of objects into those that are `known`, byte for byte, and the others, read.

    An object ends where the next one begins as the first one does (`},{"id":`): no text holds
    that, and a list that one of them holds leaves halves that cannot be read. None where it is no
    such list.
    """
    body = body.rstrip()
    seen = {one[:_ID_SEARCH_BYTES]: one for one in known}
    between = b"}," + body[1 : body.find(b":") + 1]
    same: set[bytes] = set()
    others: list[tuple[bytes, dict[str, Any]]] = []
    before, at, end = b"[", 1, len(body) - 1
    while at < end and body.startswith(before, at - 1):
        one = seen.get(body[at : at + _ID_SEARCH_BYTES])
        if one is not None and body.startswith(one, at):
            same.add(one)
        else:
            one = body[at : body.find(between, at) + 1 or end]
            try:
                task = parse_json(one)
            except ValueError:
                return None
            if not isinstance(task, dict):
                return None
            others.append((one, task))
        before, at = b",", at + len(one) + 1
    return (same, others) if 1 < at == end + 1 and body.endswith(b"]") else None


def decode_task(raw: Mapping[str, Any]) -> TaskInfo:
    """Make the public snapshot of a task object as any server of the family sends it.

    Fields of a wrong type read as missing rather than losing the task: PROTOCOL §7.3.

    Raises:
        ValueError: It has no id.
    """
    return _read_task(raw, TaskInfo)


def decode_running_task(raw: Mapping[str, Any], body: bytes) -> TaskInfo:
    """Return the state of a task from the body that was just read.

    For a running task, fields that waiting does not need are decoded when they are read.

    Raises:
        ValueError: It has no id.
    """
    status = _status(raw.get("status"))
    if status.is_final:
        return decode_task(raw)
    info = TaskInfo.__new__(TaskInfo)
    _put_body(info, body)
    _put_id(info, _task_id(raw.get("id")))
    _put_status(info, status)
    for put, key, read, nothing in _EAGER_FIELDS:
        value = raw.get(key)
        put(info, nothing if value is None else read(value))
    return info


def raw_of(info: TaskInfo) -> Mapping[str, Any]:
    """Return the reply of a task without decoding its other fields."""
    try:
        raw: Mapping[str, Any] = _get_raw(info)
    except AttributeError:
        raw = parse_json(_get_body(info))
    return raw


def is_from_server(info: TaskInfo) -> bool:
    """Return whether the state came from a server, without decoding it."""
    return hasattr(info, "_body") or bool(info.raw)


def gateway_refresh_period(raw: Mapping[str, Any]) -> float | None:
    """Return the seconds between a gateway's refreshes; None for other servers."""
    return next((_REFRESH_PERIODS[key] for key in _REFRESH_PERIODS if key in raw), None)


def task_id_in(payload: object) -> str | None:
    """Return the id of the task in a payload, decoded or not; None if there is none."""
    if isinstance(payload, str | bytes | bytearray | memoryview):
        try:
            payload = parse_json_leniently(_as_bytes(payload))
        except ValueError:
            return None
    return parse_text(payload.get("id")) if isinstance(payload, Mapping) else None


def _as_bytes(payload: str | bytes | bytearray | memoryview) -> bytes:
    return payload.encode("utf-8", "replace") if isinstance(payload, str) else bytes(payload)


def decode_account(raw: Mapping[str, Any]) -> Account:
    """Make the public account of one as the servers send it; its secrets stay behind."""
    safe = {key: value for key, value in raw.items() if not _SECRET.search(key)}
    enabled = raw.get("enable")
    return Account(
        id=parse_text(raw.get("id")) or parse_text(raw.get("channelId")) or "",
        enabled=enabled if isinstance(enabled, bool) else None,
        concurrency=parse_int(raw.get("coreSize")),
        queue_size=parse_int(raw.get("queueSize")),
        timeout_minutes=parse_int(raw.get("timeoutMinutes")),
        raw=safe,
    )


def parse_text(value: Any) -> str | None:
    """Return a string; null and "" become None, numbers become text (PROTOCOL §2)."""
    if isinstance(value, str):
        return value or None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return None


def parse_percent(value: Any) -> int | None:
    """`"45%"` is 45; "", null and words are None. PROTOCOL §3.6."""
    if isinstance(value, str):
        return _percent_in(value[:_MAX_PROGRESS_LENGTH])
    if isinstance(value, int | float) and not isinstance(value, bool):
        return max(0, min(100, int(value)))
    return None


@lru_cache(256)
def _percent_in(words: str) -> int | None:
    match = _PERCENT.fullmatch(words)
    return min(100, int(match[1][:9])) if match else None


def parse_timestamp(value: Any) -> datetime | None:
    """Epoch milliseconds; 0 and null are None."""
    number = value if type(value) is int else parse_int(value) or 0
    try:
        return _EPOCH + number * _MILLISECOND if number > 0 else None
    except OverflowError:
        return None


def parse_int(value: Any) -> int | None:
    """Return an integer, also from text, since some servers send seeds as strings."""
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, str) and value.isascii() and value.strip().isdecimal():
        return int(value.strip()[:20])
    return None


def parse_urls(value: Any) -> tuple[str, ...]:
    """URLs, given as strings or as `{"url": …}`."""
    if not isinstance(value, list):
        return ()
    urls = (item.get("url") if isinstance(item, dict) else item for item in value)
    return tuple(url for url in urls if isinstance(url, str) and url)


def parse_object(value: Any) -> Mapping[str, Any]:
    """Return an object; anything else becomes an empty one."""
    return value if isinstance(value, dict) and value else NOTHING


def _task_id(value: Any) -> str:
    task_id = parse_text(value)
    if task_id is None:
        message = "a task without an id"
        raise ValueError(message)
    return task_id


def _status(value: Any) -> TaskStatus:
    if not isinstance(value, str) or not value:
        return TaskStatus.NOT_START
    return _STATUSES.get(value) or TaskStatus(value)


def _enum_word(value: Any) -> str:
    return parse_text(value) or ""


def _interned(value: Any) -> str | None:
    """Return an interned copy of a word that thousands of tasks share."""
    word = value if type(value) is str else parse_text(value)
    return intern(word) if word else None


def _action(value: Any) -> str:
    return intern(value) if type(value) is str else _enum_word(value)


def _final_prompt(properties: Any) -> str | None:
    prompt = properties.get("finalPrompt") if isinstance(properties, dict) else None
    return (prompt or None) if type(prompt) is str else parse_text(prompt)


def _buttons(value: Any) -> tuple[Button, ...]:
    """Decode the buttons, with a fast path for complete ones."""
    if not isinstance(value, list):
        return ()
    try:
        return _promised_buttons(value)
    except (KeyError, TypeError):
        return tuple(
            Button(
                custom_id=_enum_word(custom_id),
                label=_enum_word(item.get("label")),
                emoji=_enum_word(item.get("emoji")),
                style=parse_int(item.get("style")) or 0,
                type=parse_int(item.get("type")) or 0,
            )
            for item in value
            if isinstance(item, dict) and (custom_id := item.get("customId"))
        )


def _promised_buttons(items: list[Any]) -> tuple[Button, ...]:
    """Decode buttons that have all fields with the right types.

    Raises:
        KeyError: One is not there.
        TypeError: One is not of its type, or nothing to press.
    """
    made: list[Any] = []
    for item in items:
        button = _Unfrozen()
        button.custom_id = custom_id = item["customId"]
        button.label = label = item["label"]
        button.emoji = emoji = item["emoji"]
        button.style = style = item["style"]
        button.type = kind = item["type"]
        if not (
            custom_id
            and type(custom_id) is type(label) is type(emoji) is str
            and type(style) is type(kind) is int
        ):
            raise TypeError
        _set_class(button, Button)
        made.append(button)
    return tuple(made)


class _Unfrozen:
    """A Button that is being made: of its shape, with fields that can be set, at half the cost."""

    __slots__ = tuple(attrs.fields_dict(Button))
    custom_id: str
    label: str
    emoji: str
    style: int
    type: int


def _setter(cls: type, field: str) -> Callable[[Any, Any], None]:
    """Sets a field of an object that is being made: what is frozen has no quicker way in."""
    put: Callable[[Any, Any], None] = cls.__dict__[field].__set__
    return put


_STATUSES: Final[Mapping[str, TaskStatus]] = dict(TaskStatus.__members__)
_set_class = _setter(object, "__class__")
_get_raw = TaskInfo.__dict__["raw"].__get__
_get_body = LazyFields.__dict__["_body"].__get__
_put_raw, _put_video_urls = _setter(TaskInfo, "raw"), _setter(TaskInfo, "video_urls")
_put_body = _setter(LazyFields, "_body")
_put_id, _put_status = _setter(TaskInfo, "id"), _setter(TaskInfo, "status")
_EAGER_FIELDS: Final = tuple(
    (_setter(TaskInfo, field), key, read, read(None))
    for field, key, read in (
        ("action", "action", _action),
        ("progress", "progress", parse_percent),
        ("mode", "mode", _interned),
    )
)
"""What waiting needs besides id and status: field, key and reader, and what null means."""
_TEXT_FIELDS: Final = tuple(
    (_setter(TaskInfo, field), key)
    for field, key in (
        ("prompt", "prompt"),
        ("prompt_en", "promptEn"),
        ("description", "description"),
        ("image_url", "imageUrl"),
        ("fail_reason", "failReason"),
        ("state", "state"),
    )
)
_FIELDS: Final = (
    *_EAGER_FIELDS,
    *(
        (_setter(TaskInfo, field), key, read, read(None))
        for field, key, read in (
            ("final_prompt", "properties", _final_prompt),
            ("image_urls", "imageUrls", parse_urls),
            ("video_urls", "videoUrls", parse_urls),
            ("buttons", "buttons", _buttons),
            ("seed", "seed", parse_int),
            ("submitted_at", "submitTime", parse_timestamp),
            ("started_at", "startTime", parse_timestamp),
            ("finished_at", "finishTime", parse_timestamp),
            ("properties", "properties", parse_object),
        )
    ),
)


def _structure(raw: Mapping[str, Any], _: Any) -> TaskInfo:
    info = TaskInfo.__new__(TaskInfo)
    _decode_fields(info, raw)
    return info


def _decode_fields(info: TaskInfo, raw: Mapping[str, Any]) -> None:
    get = raw.get
    _put_id(info, _task_id(get("id")))
    _put_status(info, _status(get("status")))
    for put, key, read, nothing in _FIELDS:
        value = get(key)
        put(info, nothing if value is None else read(value))
    for put, key in _TEXT_FIELDS:
        value = get(key)
        put(info, (value or None) if type(value) is str else parse_text(value))
    _put_raw(info, raw)
    if "videoUrl" in raw and not info.video_urls:
        _put_video_urls(info, parse_urls([raw["videoUrl"]]))


_converter = make_converter()
_converter.register_structure_hook(TaskInfo, _structure)
_read_task: Final[Callable[[Any, Any], TaskInfo]] = _converter.get_structure_hook(TaskInfo)
TaskInfo._read = staticmethod(lambda info: _decode_fields(info, parse_json_leniently(info._body)))  # noqa: SLF001

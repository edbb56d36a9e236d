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

from .._models import NOTHING, Account, Button, TaskInfo, TaskStatus, Unread

__all__ = [
    "cut_up",
    "dump",
    "dumped",
    "is_told",
    "load",
    "load_leniently",
    "refresh_period",
    "snapshot",
    "structure_account",
    "structure_task",
    "task_id_in",
    "told",
]

_PERCENT = re.compile(r"\s*([0-9]+)(?:\.[0-9]*)?\s*%?\s*")
_BETWEEN_ROWS: Final = re.compile(r"(?<=\}),\s{0,9}(?=\{\s{0,9}\"id\"\s{0,9}:)")
"""Where a task ends and the next one begins."""
_PERCENT_AT_MOST: Final = 32
"""Characters of a progress text that are looked at."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_SECRET = re.compile(r"token|secret|password|cookie|agent", re.IGNORECASE)

_REFRESHED: Final[Mapping[str, float]] = {"maskBase64": 15.0}
"""What only a gateway's own rows have, and how many seconds pass until such a gateway looks at the
server behind it again (PROTOCOL §3.4, §6.3)."""

_BEGINNING: Final = 64
"""Bytes of a task's JSON by which it is found again: its id is usually among them."""

load = orjson.loads
dump = orjson.dumps


def dumped(value: Any) -> bytes:
    """Write what was read; empty where it is nested too deeply for that."""
    try:
        return dump(value)
    except TypeError:
        return b""


def load_leniently(body: bytes) -> Any:
    """Read JSON, or what is nearly JSON.

    Servers send half an emoji, a cut character, a line break within a text, NaN, or a NUL at the
    end. What waiting needs is plain all the same, so such a reply is read a second time: what
    cannot be decoded becomes U+FFFD, and NaN and infinities become null. A row of a list that
    cannot be read even so is an empty object.

    Raises:
        ValueError: It is no JSON even so.
    """
    try:
        return load(body)
    except ValueError:
        pass
    body = body.removeprefix(BOM_UTF8).strip(b"\0 \t\r\n")
    for encoding in ("utf-8", "gb18030") if body[:1] in (b"{", b"[") else ():
        try:
            return _tidied(body.decode(encoding, "replace"))
        except ValueError:
            continue
    rows = _rows_of(body.decode("utf-8", "replace"))
    if not any(rows):
        message = "not even nearly JSON"
        raise ValueError(message)
    return rows


def _tidied(words: str) -> Any:
    """Read JSON as Python's own reader does, which takes more, and make it strict.

    Raises:
        ValueError: It cannot be read.
    """
    try:
        value = json.loads(words, strict=False, parse_constant=_nothing, parse_float=_finite)
        strict = json.dumps(value, ensure_ascii=False)
    except RecursionError as error:
        raise ValueError from error
    if not strict.isascii():
        strict = strict.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return load(strict)


def _nothing(_: str) -> None:
    """Stand for a number that JSON does not have."""


def _finite(number: str) -> float | None:
    value = float(number)
    return value if isfinite(value) else None


def _rows_of(words: str) -> list[Any]:
    """The rows of a whole list, each read by itself; an empty one for each that cannot be."""
    if not (words.startswith("[") and words.endswith("]")):
        return []
    rows: list[Any] = []
    for row in _BETWEEN_ROWS.split(words[1:-1]):
        try:
            rows.append(_tidied(row))
        except ValueError:
            rows.append({})
    return rows


def cut_up(
    body: bytes, known: Iterable[bytes]
) -> tuple[set[bytes], list[tuple[bytes, dict[str, Any]]]] | None:
    """Cut a list of objects into those that are `known`, byte for byte, and the others, read.

    An object ends where the next one begins as the first one does (`},{"id":`): no text holds
    that, and a list that one of them holds leaves halves that cannot be read. None where it is no
    such list.
    """
    body = body.rstrip()
    seen = {one[:_BEGINNING]: one for one in known}
    between = b"}," + body[1 : body.find(b":") + 1]
    same: set[bytes] = set()
    others: list[tuple[bytes, dict[str, Any]]] = []
    before, at, end = b"[", 1, len(body) - 1
    while at < end and body.startswith(before, at - 1):
        one = seen.get(body[at : at + _BEGINNING])
        if one is not None and body.startswith(one, at):
            same.add(one)
        else:
            one = body[at : body.find(between, at) + 1 or end]
            try:
                task = load(one)
            except ValueError:
                return None
            if not isinstance(task, dict):
                return None
            others.append((one, task))
        before, at = b",", at + len(one) + 1
    return (same, others) if 1 < at == end + 1 and body.endswith(b"]") else None


def structure_task(raw: Mapping[str, Any]) -> TaskInfo:
    """Make the public snapshot of a task object as any server of the family sends it.

    Fields of a wrong type read as missing rather than losing the task: PROTOCOL §7.3.

    Raises:
        ValueError: It has no id.
    """
    return _read_task(raw, TaskInfo)


def snapshot(raw: Mapping[str, Any], body: bytes) -> TaskInfo:
    """The snapshot of a task just read from `body`.

    Of one that goes on, all but what waiting needs is read when somebody asks for it.

    Raises:
        ValueError: It has no id.
    """
    status = _status(raw.get("status"))
    if status.is_final:
        return structure_task(raw)
    info = TaskInfo.__new__(TaskInfo)
    _put_body(info, body)
    _put_id(info, _task_id(raw.get("id")))
    _put_status(info, status)
    for put, key, read, nothing in _NEEDED:
        value = raw.get(key)
        put(info, nothing if value is None else read(value))
    return info


def told(info: TaskInfo) -> Mapping[str, Any]:
    """The reply a snapshot was made of; what was left unread stays so."""
    try:
        raw: Mapping[str, Any] = _get_raw(info)
    except AttributeError:
        raw = load(_get_body(info))
    return raw


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
            payload = load_leniently(_as_bytes(payload))
        except ValueError:
            return None
    return text(payload.get("id")) if isinstance(payload, Mapping) else None


def _as_bytes(payload: str | bytes | bytearray | memoryview) -> bytes:
    return payload.encode("utf-8", "replace") if isinstance(payload, str) else bytes(payload)


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


def text(value: Any) -> str | None:
    """A string; null and "" are None, a number is spelled out (PROTOCOL §2: numeric ids)."""
    if isinstance(value, str):
        return value or None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return None


def percent(value: Any) -> int | None:
    """`"45%"` is 45; "", null and words are None. PROTOCOL §3.6."""
    if isinstance(value, str):
        return _percent_in(value[:_PERCENT_AT_MOST])
    if isinstance(value, int | float) and not isinstance(value, bool):
        return max(0, min(100, int(value)))
    return None


@lru_cache(256)
def _percent_in(words: str) -> int | None:
    match = _PERCENT.fullmatch(words)
    return min(100, int(match[1][:9])) if match else None


def moment(value: Any) -> datetime | None:
    """Epoch milliseconds; 0 and null are None."""
    number = value if type(value) is int else whole(value) or 0
    try:
        return _EPOCH + number * _MILLISECOND if number > 0 else None
    except OverflowError:
        return None


def whole(value: Any) -> int | None:
    """An integer, spelled out or not (a seed is a string on some servers)."""
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, str) and value.isascii() and value.strip().isdecimal():
        return int(value.strip()[:20])
    return None


def links(value: Any) -> tuple[str, ...]:
    """URLs, given as strings or as `{"url": …}`."""
    if not isinstance(value, list):
        return ()
    urls = (item.get("url") if isinstance(item, dict) else item for item in value)
    return tuple(url for url in urls if isinstance(url, str) and url)


def mapping(value: Any) -> Mapping[str, Any]:
    """An object; null and anything else are empty."""
    return value if isinstance(value, dict) and value else NOTHING


def _task_id(value: Any) -> str:
    task_id = text(value)
    if task_id is None:
        message = "a task without an id"
        raise ValueError(message)
    return task_id


def _status(value: Any) -> TaskStatus:
    if not isinstance(value, str) or not value:
        return TaskStatus.NOT_START
    return _STATUSES.get(value) or TaskStatus(value)


def _word(value: Any) -> str:
    return text(value) or ""


def _interned(value: Any) -> str | None:
    """One of a few words that thousands of tasks share."""
    word = value if type(value) is str else text(value)
    return intern(word) if word else None


def _action(value: Any) -> str:
    return intern(value) if type(value) is str else _word(value)


def _final_prompt(properties: Any) -> str | None:
    prompt = properties.get("finalPrompt") if isinstance(properties, dict) else None
    return (prompt or None) if type(prompt) is str else text(prompt)


def _buttons(value: Any) -> tuple[Button, ...]:
    """A dozen on each finished task: what is as promised goes fast."""
    if not isinstance(value, list):
        return ()
    try:
        return _promised_buttons(value)
    except (KeyError, TypeError):
        return tuple(
            Button(
                custom_id=_word(custom_id),
                label=_word(item.get("label")),
                emoji=_word(item.get("emoji")),
                style=whole(item.get("style")) or 0,
                type=whole(item.get("type")) or 0,
            )
            for item in value
            if isinstance(item, dict) and (custom_id := item.get("customId"))
        )


def _promised_buttons(items: list[Any]) -> tuple[Button, ...]:
    """As `_buttons`, where every field is there and of its type.

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
        _become(button, Button)
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
_become = _setter(object, "__class__")
_get_raw = TaskInfo.__dict__["raw"].__get__
_get_body = Unread.__dict__["_body"].__get__
_put_raw, _put_video_urls = _setter(TaskInfo, "raw"), _setter(TaskInfo, "video_urls")
_put_body = _setter(Unread, "_body")
_put_id, _put_status = _setter(TaskInfo, "id"), _setter(TaskInfo, "status")
_NEEDED: Final = tuple(
    (_setter(TaskInfo, field), key, read, read(None))
    for field, key, read in (
        ("action", "action", _action),
        ("progress", "progress", percent),
        ("mode", "mode", _interned),
    )
)
"""What waiting needs besides id and status: field, key and reader, and what null means."""
_TEXTS: Final = tuple(
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
    *_NEEDED,
    *(
        (_setter(TaskInfo, field), key, read, read(None))
        for field, key, read in (
            ("final_prompt", "properties", _final_prompt),
            ("image_urls", "imageUrls", links),
            ("video_urls", "videoUrls", links),
            ("buttons", "buttons", _buttons),
            ("seed", "seed", whole),
            ("submitted_at", "submitTime", moment),
            ("started_at", "startTime", moment),
            ("finished_at", "finishTime", moment),
            ("properties", "properties", mapping),
        )
    ),
)


def _structure(raw: Mapping[str, Any], _: Any) -> TaskInfo:
    info = TaskInfo.__new__(TaskInfo)
    _fill(info, raw)
    return info


def _fill(info: TaskInfo, raw: Mapping[str, Any]) -> None:
    get = raw.get
    _put_id(info, _task_id(get("id")))
    _put_status(info, _status(get("status")))
    for put, key, read, nothing in _FIELDS:
        value = get(key)
        put(info, nothing if value is None else read(value))
    for put, key in _TEXTS:
        value = get(key)
        put(info, (value or None) if type(value) is str else text(value))
    _put_raw(info, raw)
    if "videoUrl" in raw and not info.video_urls:
        _put_video_urls(info, links([raw["videoUrl"]]))


_converter = make_converter()
_converter.register_structure_hook(TaskInfo, _structure)
_read_task: Final[Callable[[Any, Any], TaskInfo]] = _converter.get_structure_hook(TaskInfo)
TaskInfo._read = staticmethod(lambda info: _fill(info, load_leniently(info._body)))  # noqa: SLF001

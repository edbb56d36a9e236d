"""JSON: strict where it is, lenient where a server is not."""

from __future__ import annotations

import json
import re
from codecs import BOM_UTF8
from collections.abc import Iterable
from math import isfinite
from typing import Any, Final

import orjson

_ROW_SEPARATOR: Final = re.compile(r"(?<=\}),\s{0,9}(?=\{\s{0,9}\"id\"\s{0,9}:)")
"""The comma between two tasks of a list."""
_ID_SEARCH_BYTES: Final = 64
"""Leading bytes of a task by which it is looked up; they usually contain its id."""
parse_json = orjson.loads
dump_json = orjson.dumps


def dump_or_empty(value: Any) -> bytes:
    """Return a value as JSON; empty if it is nested too deeply for that."""
    try:
        return dump_json(value)
    except TypeError:
        return b""


def parse_json_leniently(body: bytes) -> Any:
    """Parse JSON, or what is nearly JSON.

    Servers send half an emoji, a truncated character, a line break within a text, NaN, or a NUL at
    the end. Such a reply is parsed a second time, in which

    - undecodable bytes become U+FFFD,
    - NaN and infinities become null,
    - a row of a list that is still invalid becomes an empty object.

    Raises:
        ValueError: It is not JSON even so.
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


def _repair(text: str) -> Any:
    """Parse JSON with the standard library, which accepts more, and make it strict.

    Raises:
        ValueError: It is invalid.
    """
    try:
        value = json.loads(
            text, strict=False, parse_constant=_reject_constant, parse_float=_finite_float
        )
        strict = json.dumps(value, ensure_ascii=False)
    except RecursionError as error:
        raise ValueError from error
    if not strict.isascii():
        strict = strict.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return parse_json(strict)


def _reject_constant(_: str) -> None:
    """Return None for a number that JSON does not have."""


def _finite_float(number: str) -> float | None:
    value = float(number)
    return value if isfinite(value) else None


def _split_rows(text: str) -> list[Any]:
    """Return the rows of a list, parsed singly; an empty object for each invalid one."""
    if not (text.startswith("[") and text.endswith("]")):
        return []
    rows: list[Any] = []
    for row in _ROW_SEPARATOR.split(text[1:-1]):
        try:
            rows.append(_repair(row))
        except ValueError:
            rows.append({})
    return rows


def split_task_list(
    body: bytes, known: Iterable[bytes]
) -> tuple[set[bytes], list[tuple[bytes, dict[str, Any]]]] | None:
    """Split a list of objects into known ones, byte for byte, and the others, parsed.

    An object ends where the next one begins like the first one (`},{"id":`). No JSON text contains
    that. A list within an object leaves halves that are invalid.

    Args:
        body: The list.
        known: Objects that need not be parsed.

    Returns:
        The known objects, and the others with their bodies; None if it is not such a list.
    """
    body = body.rstrip()
    known_by_start = {each[:_ID_SEARCH_BYTES]: each for each in known}
    separator = b"}," + body[1 : body.find(b":") + 1]
    same: set[bytes] = set()
    others: list[tuple[bytes, dict[str, Any]]] = []
    before, start, end = b"[", 1, len(body) - 1
    while start < end and body.startswith(before, start - 1):
        row = known_by_start.get(body[start : start + _ID_SEARCH_BYTES])
        if row is not None and body.startswith(row, start):
            same.add(row)
        else:
            row = body[start : body.find(separator, start) + 1 or end]
            try:
                task = parse_json(row)
            except ValueError:
                return None
            if not isinstance(task, dict):
                return None
            others.append((row, task))
        before, start = b",", start + len(row) + 1
    return (same, others) if 1 < start == end + 1 and body.endswith(b"]") else None

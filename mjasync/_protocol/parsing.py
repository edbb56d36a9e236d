"""From the bytes of a reply to its code, description and result (PROTOCOL §7.1)."""

from __future__ import annotations

import email.utils
import re
from codecs import BOM_UTF8
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Final

import attrs

from . import decoding

__all__ = ["_MATCHED_AT_MOST", "Operation", "Words", "read"]


_RETRY_AFTER_CAP: Final = 3600.0


_DESCRIBED_AT_MOST: Final = 20_000
"""Characters of a server's description that are kept."""


_DETAILS_AT_MOST: Final = 5


_PAGE_START: Final = 16_384
"""Bytes of a web page that are looked at."""


class Operation(Enum):
    """What was asked; the same reply means different things to different questions."""

    SUBMIT = "submit"
    """A paid POST that starts something new."""
    FOLLOW_UP = "follow-up"
    """A paid POST about an existing task: action, modal, change."""
    FETCH = "fetch"
    """One task."""
    LIST = "list"
    """Many tasks."""
    IMAGE = "image"
    """The bytes of a picture."""
    OTHER = "other"
    """Any other call about a task: seed, cancel."""

    @property
    def is_paid(self) -> bool:
        """Whether sending it twice may cost twice."""
        return self in (Operation.SUBMIT, Operation.FOLLOW_UP)


@attrs.frozen(kw_only=True)
class Words:
    """What a reply says of itself, whatever its shape."""

    status: int
    code: int | None = None
    description: str = ""
    result: Any = attrs.field(default=None, repr=False)
    properties: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    retry_after: float | None = None
    json: Any = attrs.field(default=None, repr=False)
    is_json: bool = False
    is_html: bool = False
    is_app_page: bool = False
    """Whether it is the front page of a gateway, which stands for a missing endpoint."""
    is_empty: bool = False
    token_header: str | None = None
    """The header that carried the token of the request; "" for none, None if not told."""
    prefix: str = ""
    """What stood before `/mj` in the path of the request."""


_APP_PAGE: Final = re.compile(rb"<div[^>]{0,80}\bid=[\"']?(root|app)\b", re.IGNORECASE)
"""What a gateway's own front page has, which it shows where it has no endpoint (PROTOCOL §7.5)."""


def read(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    wall: float = 0.0,
    token_header: str | None = None,
    prefix: str = "",
) -> Words:
    """Read any of the eleven shapes. By content: gateways send JSON as text/plain.

    Args:
        status: The HTTP status.
        headers: The reply's.
        body: All of it.
        wall: The time, in seconds since the epoch, for a Retry-After that is a date.
        token_header: The header that carried the token, "" for none; None: not told.
        prefix: What stood before `/mj` in the path of the request, such as `/mj-turbo`.
    """
    words = _read_body(status, headers, body, wall)
    return attrs.evolve(words, token_header=token_header, prefix=prefix)


def _read_body(status: int, headers: Mapping[str, str], body: bytes, wall: float) -> Words:
    after = retry_after(headers.get("Retry-After"), wall)
    body = body.removeprefix(BOM_UTF8)
    if not body.strip():
        return Words(status=status, is_empty=True, retry_after=after)
    try:
        value = decoding.load_leniently(body)
    except ValueError:
        return _read_text(status, body, after)
    if not isinstance(value, dict):
        return Words(status=status, json=value, is_json=True, retry_after=after)
    return _read_object(status, value, after)


def _read_text(status: int, body: bytes, after: float | None) -> Words:
    plain = body[:_MATCHED_AT_MOST].decode("utf-8", "replace").strip()
    if re.match(r"<(!doctype\s+html|html|head|body|!--|\?xml)", plain, re.IGNORECASE):
        _, _, after_title = plain.partition("<title>")
        title, is_closed, _ = after_title.partition("</title>")
        return Words(
            status=status,
            is_html=True,
            is_app_page=_APP_PAGE.search(body[:_PAGE_START]) is not None,
            description=f"(a web page) {title.strip()}".strip() if is_closed else "(a web page)",
            retry_after=after,
        )
    return Words(status=status, description=plain[:500], retry_after=after)


def _read_object(status: int, value: dict[str, Any], after: float | None) -> Words:
    error = value.get("error")
    inner = error if isinstance(error, dict) else value
    said = [inner.get(name) for name in ("description", "message")]
    if isinstance(error, str):
        said.insert(0, error)
    said.extend(_details(value.get("detail")))
    waits = value.get("retryAfter")
    if after is None and isinstance(waits, int | float) and not isinstance(waits, bool):
        after = _capped(waits)
    return Words(
        status=status,
        code=decoding.whole(value.get("code")),
        description=": ".join(
            dict.fromkeys(s.strip() for s in said if isinstance(s, str) and s.strip())
        )[:_DESCRIBED_AT_MOST],
        result=value.get("result"),
        properties=decoding.mapping(value.get("properties")),
        retry_after=after,
        json=value,
        is_json=True,
    )


def _details(detail: object) -> list[str]:
    """What FastAPI says: text, or a list of objects that say where and what."""
    if isinstance(detail, str):
        return [detail]
    items = detail[:_DETAILS_AT_MOST] if isinstance(detail, list) else []
    found = []
    for item in items:
        if isinstance(item, dict) and isinstance(item.get("msg"), str):
            place = item.get("loc")
            where = ".".join(map(str, place[1:])) if isinstance(place, list) else ""
            found.append(f"{where}: {item['msg']}" if where else item["msg"])
    return found


def retry_after(value: str | None, wall: float) -> float | None:
    """Seconds to wait from a Retry-After header: a number or an HTTP date, capped at an hour."""
    if value is None:
        return None
    try:
        return _capped(float(value))
    except ValueError:
        pass
    try:
        when = email.utils.parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    aware = when if when.tzinfo else when.replace(tzinfo=UTC)
    return _capped((aware - datetime.fromtimestamp(wall, UTC)).total_seconds())


def _capped(seconds: float) -> float | None:
    return min(max(0.0, seconds), _RETRY_AFTER_CAP) if seconds == seconds else None  # noqa: PLR0124 - NaN


def plain_task(task_id: str, status: int, body: bytes) -> dict[str, Any] | None:
    """A task as promised, which most answers to a look are; None: `read` it and see."""
    try:
        value = decoding.load(body) if status == 200 else None
    except ValueError:
        return None
    if isinstance(value, dict) and "status" in value and decoding.text(value.get("id")) == task_id:
        return value
    return None


_MATCHED_AT_MOST: Final = 2000
"""Characters of a server's text that patterns see."""

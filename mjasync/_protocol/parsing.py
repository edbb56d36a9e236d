"""Replies in any shape to their code, description and result (PROTOCOL §7.1)."""

from __future__ import annotations

import email.utils
import re
from codecs import BOM_UTF8
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Final

import attrs

from .._json import parse_json, parse_json_leniently
from . import decoding

_MAX_RETRY_AFTER: Final = 3600.0
_MAX_DESCRIPTION: Final = 20_000
"""Characters of a server's description that are kept."""
_MAX_DETAILS: Final = 5
_MAX_PAGE_SCAN: Final = 16_384
"""Bytes of a web page that are searched."""


class Operation(Enum):
    """The requested operation, on which the meaning of a reply depends."""

    SUBMIT = "submit"
    """A paid POST that starts something new."""
    FOLLOW_UP = "follow-up"
    """A paid POST for an existing task: action, modal, change."""
    FETCH = "fetch"
    """One task."""
    LIST = "list"
    """Many tasks."""
    IMAGE = "image"
    """The bytes of an image."""
    OTHER = "other"
    """Any other call about a task: seed, cancel."""

    @property
    def is_paid(self) -> bool:
        """Whether sending it twice may cost twice."""
        return self in (Operation.SUBMIT, Operation.FOLLOW_UP)


@attrs.frozen(kw_only=True)
class ParsedReply:
    """The content of a reply, independent of its shape."""

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
    """Whether it is the front page of a gateway, which means that the endpoint is missing."""
    is_empty: bool = False
    token_header: str | None = None
    """The header that contained the token of the request; "" for none, None if unknown."""
    prefix: str = ""
    """The part of the path before `/mj` in the request, such as `/mj-turbo`."""


_APP_PAGE: Final = re.compile(rb"<div[^>]{0,80}\bid=[\"']?(root|app)\b", re.IGNORECASE)
"""Found in the front page of a gateway, which it returns for unknown endpoints (PROTOCOL §7.5)."""


def parse_reply(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    wall: float = 0.0,
    token_header: str | None = None,
    prefix: str = "",
) -> ParsedReply:
    """Parse a reply of any shape, by its content: gateways send JSON as text/plain.

    Args:
        status: The HTTP status.
        headers: The headers.
        body: The whole body.
        wall: The time in seconds since the epoch, for a Retry-After that is a date.
        token_header: The header that contained the token; "" for none, None if unknown.
        prefix: The part of the path before `/mj` in the request, such as `/mj-turbo`.
    """
    reply = _parse_body(status, headers, body, wall)
    return attrs.evolve(reply, token_header=token_header, prefix=prefix)


def _parse_body(status: int, headers: Mapping[str, str], body: bytes, wall: float) -> ParsedReply:
    after = parse_retry_after(headers.get("Retry-After"), wall)
    body = body.removeprefix(BOM_UTF8)
    if not body.strip():
        return ParsedReply(status=status, is_empty=True, retry_after=after)
    try:
        value = parse_json_leniently(body)
    except ValueError:
        return _parse_text_body(status, body, after)
    if not isinstance(value, dict):
        return ParsedReply(status=status, json=value, is_json=True, retry_after=after)
    return _parse_object_body(status, value, after)


def _parse_text_body(status: int, body: bytes, after: float | None) -> ParsedReply:
    plain = body[:MAX_MATCHED_TEXT].decode("utf-8", "replace").strip()
    if re.match(r"<(!doctype\s+html|html|head|body|!--|\?xml)", plain, re.IGNORECASE):
        _, _, after_title = plain.partition("<title>")
        title, is_closed, _ = after_title.partition("</title>")
        return ParsedReply(
            status=status,
            is_html=True,
            is_app_page=_APP_PAGE.search(body[:_MAX_PAGE_SCAN]) is not None,
            description=f"(a web page) {title.strip()}".strip() if is_closed else "(a web page)",
            retry_after=after,
        )
    return ParsedReply(status=status, description=plain[:500], retry_after=after)


def _parse_object_body(status: int, value: dict[str, Any], after: float | None) -> ParsedReply:
    error = value.get("error")
    inner = error if isinstance(error, dict) else value
    texts = [inner.get(name) for name in ("description", "message")]
    if isinstance(error, str):
        texts.insert(0, error)
    texts.extend(_describe_details(value.get("detail")))
    waits = value.get("retryAfter")
    if after is None and isinstance(waits, int | float) and not isinstance(waits, bool):
        after = _cap_retry_after(waits)
    properties = value.get("properties")
    return ParsedReply(
        status=status,
        code=decoding.parse_int(value.get("code")),
        description=": ".join(
            dict.fromkeys(s.strip() for s in texts if isinstance(s, str) and s.strip())
        )[:_MAX_DESCRIPTION],
        result=value.get("result"),
        properties=properties if isinstance(properties, dict) else {},
        retry_after=after,
        json=value,
        is_json=True,
    )


def _describe_details(detail: object) -> list[str]:
    """Return the texts of FastAPI's `detail`: a string, or a list of objects."""
    if isinstance(detail, str):
        return [detail]
    items = detail[:_MAX_DETAILS] if isinstance(detail, list) else []
    texts = []
    for item in items:
        if isinstance(item, dict) and isinstance(item.get("msg"), str):
            location = item.get("loc")
            field = ".".join(map(str, location[1:])) if isinstance(location, list) else ""
            texts.append(f"{field}: {item['msg']}" if field else item["msg"])
    return texts


def parse_retry_after(value: str | None, wall: float) -> float | None:
    """Return the seconds of a Retry-After header, number or date, at most an hour."""
    if value is None:
        return None
    try:
        return _cap_retry_after(float(value))
    except ValueError:
        pass
    try:
        date = email.utils.parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    aware = date if date.tzinfo else date.replace(tzinfo=UTC)
    return _cap_retry_after((aware - datetime.fromtimestamp(wall, UTC)).total_seconds())


def _cap_retry_after(seconds: float) -> float | None:
    return min(max(0.0, seconds), _MAX_RETRY_AFTER) if seconds == seconds else None  # noqa: PLR0124 - NaN


def parse_task_fast(task_id: str, status: int, body: bytes) -> dict[str, Any] | None:
    """Return a task of the usual shape; None if the reply needs `parse_reply`."""
    try:
        value = parse_json(body) if status == 200 else None
    except ValueError:
        return None
    if (
        isinstance(value, dict)
        and "status" in value
        and decoding.parse_text(value.get("id")) == task_id
    ):
        return value
    return None


MAX_MATCHED_TEXT: Final = 2000
"""Characters of a text that patterns are matched against."""

"""Bodies of requests: JSON, or the fields of a form (the only form is in PROTOCOL §1.13)."""

from __future__ import annotations

import json
from email import message_from_bytes, policy
from typing import Any

import orjson

FORM_TYPE = "multipart/form-data"
"""The content type of a form with files in it."""


def read_body(raw: bytes, content_type: str, *, first_value_only: bool = False) -> Any:  # noqa: ANN401 - JSON
    """Parse a body.

    Args:
        raw: The body.
        content_type: The whole header, which includes the boundary of a form.
        first_value_only: Parse only the first JSON value, in any Unicode encoding.

    Returns:
        Any JSON value; for a form, a dict of strings, and of bytes for its files; None for an
        empty or invalid body.
    """
    if content_type.lower().startswith(FORM_TYPE):
        return _form_fields(raw, content_type)
    if first_value_only:
        return _parse_first_value(raw)
    try:
        return orjson.loads(raw) if raw else None
    except orjson.JSONDecodeError:
        return None


def _parse_first_value(raw: bytes) -> Any:  # noqa: ANN401 - JSON holds anything
    """Parse as Jackson does: accept a BOM, and ignore everything after the first value."""
    try:
        text = raw.decode(json.detect_encoding(raw)).lstrip(" \t\r\n")
        return _FIRST_VALUE_DECODER.raw_decode(text)[0]
    except (ValueError, RecursionError):
        return None


def _reject_constant(name: str) -> None:
    raise ValueError(name)


_FIRST_VALUE_DECODER = json.JSONDecoder(parse_constant=_reject_constant)


def _form_fields(raw: bytes, content_type: str) -> dict[str, str | bytes]:
    header = f"Content-Type: {content_type}\r\n\r\n".encode()
    message = message_from_bytes(header + raw, policy=policy.HTTP)
    fields: dict[str, str | bytes] = {}
    for part in message.iter_parts():
        data = part.get_payload(decode=True)
        name = part.get_param("name", header="content-disposition")
        if isinstance(name, str) and isinstance(data, bytes):
            fields[name] = data if part.get_filename() else data.decode(errors="replace")
    return fields

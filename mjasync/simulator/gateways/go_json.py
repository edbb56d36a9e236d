"""JSON as Go's encoding/json decodes it into structs, with Go's error messages."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final, NoReturn, Self

import attrs

_WHITESPACE: Final = " \t\r\n"
_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_INT64_LIMIT: Final = 2**63
_ZERO_VALUES: Final[Mapping[type, Any]] = {str: "", int: 0, list: None, object: None}
_GO_TYPES: Final = {str: "string", int: "int", list: "[]string"}
_JSON_TYPES: Final = {bool: "bool", str: "string", list: "array", dict: "object"}
_CONTEXTS: Final = {
    "Expecting value": "looking for beginning of value",
    "Expecting property name enclosed in double quotes": (
        "looking for beginning of object key string"
    ),
    "Illegal trailing comma before end of object": "looking for beginning of object key string",
    "Illegal trailing comma before end of array": "looking for beginning of value",
    "Expecting ':' delimiter": "after object key",
    "Extra data": "after top-level value",
    "Invalid control character at": "in string literal",
    "Invalid \\escape": "in string escape code",
    "Invalid \\uXXXX escape": "in \\u hexadecimal character escape",
}
"""Go's description of the place of an invalid character, by the message of Python."""


class GoJsonError(ValueError):
    """Raised when a request cannot be decoded; its text is Go's message."""


class NumberLiteral(float):
    """A number that is no integer, with its literal."""

    literal: str

    def __new__(cls, literal: str) -> Self:
        """Parse a literal and keep its spelling."""
        number = super().__new__(cls, literal)
        number.literal = literal
        return number


@attrs.frozen
class GoStruct:
    """A Go struct that JSON objects are decoded into."""

    name: str
    """The name with its package, as error messages quote it."""
    fields: Mapping[str, type]
    """The type of each field by its JSON name: ``str``, ``int``, ``list`` (of strings) or
    ``object`` (anything)."""

    def decode(self, value: object) -> dict[str, Any]:
        """Return the fields of a JSON value: zero values for those that are absent or null.

        Names match in any case, as in Go.

        Raises:
            GoJsonError: The value is no object, or a field has another type.
        """
        values = {name: _ZERO_VALUES[kind] for name, kind in self.fields.items()}
        if value is None:
            return values
        if not isinstance(value, dict):
            raise GoJsonError(
                f"json: cannot unmarshal {_json_type(value)} into Go value of type {self.name}"
            )
        name_by_lowercase = {name.lower(): name for name in self.fields}
        for key, item in value.items():
            name = key if key in self.fields else name_by_lowercase.get(key.lower())
            if name is not None and item is not None:
                field_path = f"Go struct field {self.name.rpartition('.')[2]}.{name}"
                values[name] = _convert(item, self.fields[name], field_path)
        return values


def decode(raw: bytes, *, first_value_only: bool = False) -> Any:  # noqa: ANN401 - JSON holds anything
    """Decode a body.

    Args:
        raw: The body.
        first_value_only: Ignore everything after the first value.

    Raises:
        GoJsonError: The body is not JSON.
    """
    text = raw.decode(errors="replace")
    decoder = json.JSONDecoder(parse_float=NumberLiteral, parse_constant=_reject_constant)
    try:
        if first_value_only:
            return decoder.raw_decode(text, len(text) - len(text.lstrip(_WHITESPACE)))[0]
        return decoder.decode(text)
    except json.JSONDecodeError as error:
        has_byte_order_mark = raw.startswith(b"\xef\xbb\xbf")
        raise _syntax_error(error, text, has_byte_order_mark=has_byte_order_mark) from error


def _convert(value: Any, target_type: type, field_path: str) -> Any:  # noqa: ANN401 - JSON holds anything
    if target_type is object:
        return value
    if target_type is list and isinstance(value, list):
        return [_convert(item, str, field_path) if item is not None else "" for item in value]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    is_in_range = not is_number or -_INT64_LIMIT <= value < _INT64_LIMIT
    if isinstance(value, target_type) and not isinstance(value, bool) and is_in_range:
        return value
    literal = ""
    if target_type is int and is_number:
        literal = f" {value.literal if isinstance(value, NumberLiteral) else value}"
    problem = f"{_json_type(value)}{literal} into {field_path} of type {_GO_TYPES[target_type]}"
    raise GoJsonError(f"json: cannot unmarshal {problem}")


def _json_type(value: object) -> str:
    return _JSON_TYPES.get(type(value), "number")


def _reject_constant(constant: str) -> NoReturn:
    """Refuse ``NaN`` and its like, which Python accepts and JSON does not have."""
    if constant.startswith("-"):
        raise GoJsonError(f"invalid character {_quote(constant[1])} in numeric literal")
    raise GoJsonError(f"invalid character {_quote(constant[0])} looking for beginning of value")


def _syntax_error(
    error: json.JSONDecodeError, text: str, *, has_byte_order_mark: bool
) -> GoJsonError:
    """Translate an error of Python into Go's, which names the first invalid byte."""
    if has_byte_order_mark:
        return GoJsonError("invalid character 'ï' looking for beginning of value")
    # newer Pythons point at a trailing comma, older ones behind it
    is_trailing_comma = error.msg.startswith("Illegal trailing comma")
    remaining = text[error.pos + is_trailing_comma :].lstrip(_WHITESPACE)
    is_control_character = error.msg == "Invalid control character at"
    if (not remaining and not is_control_character) or error.msg.startswith("Unterminated"):
        return GoJsonError("unexpected end of JSON input")
    character = text[error.pos] if is_control_character else remaining[0]
    context = _CONTEXTS.get(error.msg) or _missing_comma_context(text[: error.pos])
    byte = chr(character.encode(errors="replace")[0])
    return GoJsonError(f"invalid character {_quote(byte)} {context}")


def _missing_comma_context(text_before: str) -> str:
    """Return Go's description of a missing comma, which depends on the innermost bracket."""
    open_brackets = []
    for character in _STRING.sub("", text_before):
        if character in "{[":
            open_brackets.append(character)
        elif character in "}]":
            open_brackets.pop()
    return "after array element" if open_brackets[-1] == "[" else "after object key:value pair"


def _quote(character: str) -> str:
    if character == "'":
        return r"'\''"
    if character == '"':
        return "'\"'"
    return "'" + json.dumps(character, ensure_ascii=False)[1:-1] + "'"

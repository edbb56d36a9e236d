"""JSON as Go's encoding/json takes it: what fits a struct, and the words for what does not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, NoReturn, Self, TypeAlias

__all__ = ["GoJsonError", "StructFields", "decode", "decode_first", "decode_struct"]

StructFields: TypeAlias = Mapping[str, type]
"""The fields of a struct by their JSON names: ``str``, ``int``, ``list`` (of strings) or ``object``
(anything)."""

_UNEXPECTED_END: Final = "unexpected end of JSON input"
_INT64_LIMIT: Final = 2**63
_ZERO_VALUES: Final[Mapping[type, Any]] = {str: "", int: 0, list: None, object: None}
_GO_TYPES: Final = {str: "string", int: "int", list: "[]string"}
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
"""Where Go says that a character is invalid, by what Python says."""


class GoJsonError(ValueError):
    """Raised where a request cannot be read; the text is what Go says."""


class NumberLiteral(float):
    """A number that is no integer, with its literal."""

    literal: str

    def __new__(cls, literal: str) -> Self:
        """Keep how it was written."""
        number = super().__new__(cls, literal)
        number.literal = literal
        return number


def decode(raw: bytes) -> Any:  # noqa: ANN401 - JSON holds anything
    """The whole of a body.

    Raises:
        Unreadable: It is not JSON, or something follows it.
    """
    text = raw.decode(errors="replace")
    try:
        return _make_decoder().decode(text)
    except json.JSONDecodeError as error:
        _raise_syntax_error(error, raw, text)


def decode_first(raw: bytes) -> Any:  # noqa: ANN401 - JSON holds anything
    """The first value of a body, whatever follows it.

    Raises:
        Unreadable: There is none.
    """
    text = raw.decode(errors="replace")
    start = len(text) - len(text.lstrip(" \t\r\n"))
    try:
        return _make_decoder().raw_decode(text, start)[0]
    except json.JSONDecodeError as error:
        _raise_syntax_error(error, raw, text)


def decode_struct(value: object, fields: StructFields, struct_name: str) -> dict[str, Any]:
    """A struct from a decoded value: zero values for what is absent or null.

    Names match in any case, as Go has it.

    Raises:
        Unreadable: A value has another type than its field.
    """
    values = {name: _ZERO_VALUES[kind] for name, kind in fields.items()}
    if value is None:
        return values
    if not isinstance(value, dict):
        raise GoJsonError(
            f"json: cannot unmarshal {_go_type_of(value)} into Go value of type {struct_name}"
        )
    name_by_lowercase = {name.lower(): name for name in fields}
    for key, item in value.items():
        name = key if key in fields else name_by_lowercase.get(key.lower())
        if name is not None and item is not None:
            field_path = f"Go struct field {struct_name.rpartition('.')[2]}.{name}"
            values[name] = _convert(item, fields[name], field_path)
    return values


def _convert(value: Any, target_type: type, field_path: str) -> Any:  # noqa: ANN401 - JSON holds anything
    if target_type is object:
        return value
    if target_type is list and isinstance(value, list):
        return [_convert(item, str, field_path) if item is not None else "" for item in value]
    if isinstance(value, target_type) and not isinstance(value, bool) and _fits_int64(value):
        return value
    literal = ""
    if target_type is int and isinstance(value, int | float) and not isinstance(value, bool):
        literal = f" {value.literal if isinstance(value, NumberLiteral) else value}"
    problem = f"{_go_type_of(value)}{literal} into {field_path} of type {_GO_TYPES[target_type]}"
    raise GoJsonError(f"json: cannot unmarshal {problem}")


def _fits_int64(value: object) -> bool:
    return not isinstance(value, int) or -_INT64_LIMIT <= value < _INT64_LIMIT


def _go_type_of(value: object) -> str:
    names: Mapping[type, str] = {bool: "bool", str: "string", list: "array", dict: "object"}
    return names.get(type(value), "number")


def _make_decoder() -> json.JSONDecoder:
    return json.JSONDecoder(parse_float=NumberLiteral, parse_constant=_reject_constant)


def _reject_constant(constant: str) -> NoReturn:
    """Refuse what Python reads and JSON does not have."""
    if constant.startswith("-"):
        raise GoJsonError(f"invalid character {_quote(constant[1])} in numeric literal")
    raise GoJsonError(f"invalid character {_quote(constant[0])} looking for beginning of value")


def _raise_syntax_error(error: json.JSONDecodeError, raw: bytes, text: str) -> NoReturn:
    """Say it in Go's words, which name the first byte that does not belong there."""
    if raw.startswith(b"\xef\xbb\xbf"):
        raise GoJsonError("invalid character 'ï' looking for beginning of value") from error
    is_trailing_comma = error.msg.startswith(
        "Illegal trailing comma"
    )  # newer Pythons point at the comma
    remaining = text[error.pos + is_trailing_comma :].lstrip(" \t\r\n")
    is_control_character = error.msg == "Invalid control character at"
    if (not remaining and not is_control_character) or error.msg.startswith("Unterminated"):
        raise GoJsonError(_UNEXPECTED_END) from error
    character = text[error.pos] if is_control_character else remaining[0]
    context = _CONTEXTS.get(error.msg) or _context_before(text[: error.pos])
    byte = chr(character.encode(errors="replace")[0])
    raise GoJsonError(f"invalid character {_quote(byte)} {context}") from error


def _context_before(text_before: str) -> str:
    """Whether a missing comma is one of an object or of a list."""
    open_brackets = []
    for character in text_before:
        if character in "{[":
            open_brackets.append(character)
        elif character in "}]" and open_brackets:
            open_brackets.pop()
    return "after array element" if open_brackets[-1:] == ["["] else "after object key:value pair"


def _quote(character: str) -> str:
    if character == "'":
        return r"'\''"
    if character == '"':
        return "'\"'"
    return "'" + json.dumps(character, ensure_ascii=False)[1:-1] + "'"

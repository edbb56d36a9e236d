"""JSON as Go's encoding/json takes it: what fits a struct, and the words for what does not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, NoReturn, Self, TypeAlias

__all__ = ["Fields", "GoJsonError", "decode", "decode_first", "decode_struct"]

Fields: TypeAlias = Mapping[str, type]
"""The fields of a struct by their JSON names: ``str``, ``int``, ``list`` (of strings) or ``object``
(anything)."""

_UNEXPECTED_END: Final = "unexpected end of JSON input"
_LARGEST: Final = 2**63
_ZERO: Final[Mapping[type, Any]] = {str: "", int: 0, list: None, object: None}
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
        return _decoder().decode(text)
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
        return _decoder().raw_decode(text, start)[0]
    except json.JSONDecodeError as error:
        _raise_syntax_error(error, raw, text)


def decode_struct(value: object, fields: Fields, struct: str) -> dict[str, Any]:
    """A struct from a decoded value: zero values for what is absent or null.

    Names match in any case, as Go has it.

    Raises:
        Unreadable: A value has another type than its field.
    """
    filled = {name: _ZERO[kind] for name, kind in fields.items()}
    if value is None:
        return filled
    if not isinstance(value, dict):
        raise GoJsonError(
            f"json: cannot unmarshal {_go_type_of(value)} into Go value of type {struct}"
        )
    names = {name.lower(): name for name in fields}
    for key, given in value.items():
        name = key if key in fields else names.get(key.lower())
        if name is not None and given is not None:
            where = f"Go struct field {struct.rpartition('.')[2]}.{name}"
            filled[name] = _convert(given, fields[name], where)
    return filled


def _convert(value: Any, kind: type, where: str) -> Any:  # noqa: ANN401 - JSON holds anything
    if kind is object:
        return value
    if kind is list and isinstance(value, list):
        return [_convert(item, str, where) if item is not None else "" for item in value]
    if isinstance(value, kind) and not isinstance(value, bool) and _is_small(value):
        return value
    literal = ""
    if kind is int and isinstance(value, int | float) and not isinstance(value, bool):
        literal = f" {value.literal if isinstance(value, NumberLiteral) else value}"
    problem = f"{_go_type_of(value)}{literal} into {where} of type {_GO_TYPES[kind]}"
    raise GoJsonError(f"json: cannot unmarshal {problem}")


def _is_small(value: object) -> bool:
    return not isinstance(value, int) or -_LARGEST <= value < _LARGEST


def _go_type_of(value: object) -> str:
    names: Mapping[type, str] = {bool: "bool", str: "string", list: "array", dict: "object"}
    return names.get(type(value), "number")


def _decoder() -> json.JSONDecoder:
    return json.JSONDecoder(parse_float=NumberLiteral, parse_constant=_reject_constant)


def _reject_constant(constant: str) -> NoReturn:
    """Refuse what Python reads and JSON does not have."""
    if constant.startswith("-"):
        raise GoJsonError(f"invalid character {_quoted(constant[1])} in numeric literal")
    raise GoJsonError(f"invalid character {_quoted(constant[0])} looking for beginning of value")


def _raise_syntax_error(error: json.JSONDecodeError, raw: bytes, text: str) -> NoReturn:
    """Say it in Go's words, which name the first byte that does not belong there."""
    if raw.startswith(b"\xef\xbb\xbf"):
        raise GoJsonError("invalid character 'ï' looking for beginning of value") from error
    comma = error.msg.startswith("Illegal trailing comma")  # newer Pythons point at the comma
    rest = text[error.pos + comma :].lstrip(" \t\r\n")
    control = error.msg == "Invalid control character at"
    if (not rest and not control) or error.msg.startswith("Unterminated"):
        raise GoJsonError(_UNEXPECTED_END) from error
    character = text[error.pos] if control else rest[0]
    place = _CONTEXTS.get(error.msg) or _context_before(text[: error.pos])
    byte = chr(character.encode(errors="replace")[0])
    raise GoJsonError(f"invalid character {_quoted(byte)} {place}") from error


def _context_before(before: str) -> str:
    """Whether a missing comma is one of an object or of a list."""
    opened = []
    for character in before:
        if character in "{[":
            opened.append(character)
        elif character in "}]" and opened:
            opened.pop()
    return "after array element" if opened[-1:] == ["["] else "after object key:value pair"


def _quoted(character: str) -> str:
    if character == "'":
        return r"'\''"
    if character == '"':
        return "'\"'"
    return "'" + json.dumps(character, ensure_ascii=False)[1:-1] + "'"

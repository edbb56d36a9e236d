"""One row of input, parsed and checked: its prompt and its columns."""

from __future__ import annotations

import io
import math
import os
import re
from collections.abc import AsyncIterable, Iterable, Mapping
from datetime import date
from numbers import Integral, Number, Real
from typing import Final, get_args
from uuid import UUID

import attrs

from .._models import Bot
from .._protocol.payloads import check_choice
from ..errors import InvalidRequest
from ._steps import FIELD_PATTERN, check_fields

REPEAT_FLAG: Final = re.compile(r"(?:^|\s)--(?:repeat|r)\s+(\d+)(?!\S)", re.IGNORECASE)
SEED_FLAG: Final = re.compile(r"(?:^|\s)--seed\s+(\d+)(?!\S)", re.IGNORECASE)
SEED_LIMIT: Final = 2**32
_MAX_REPEATS: Final = 10_000
_PROMPT_PLACEHOLDER: Final = "{prompt}"
_PROMPT_FILE_NAME: Final = re.compile(
    r"\S+\.(txt|csv|tsv|jsonl?|ndjson|ya?ml|xlsx?)", re.IGNORECASE
)
_MISSING_TYPES: Final = frozenset({"NAType", "NaTType", "MaskedConstant"})
"""Types of missing values in pandas and NumPy, which need not be installed."""
_TEXT_TYPES: Final = (str, Number, date, UUID)
"""Types whose values are written in a prompt as they are written elsewhere."""
_SETTING_COLUMNS: Final = ("prompt", "repeat", "bot")


@attrs.frozen
class InputRow:
    """One row of input."""

    prompt: str
    repeat: int = 1
    variables: Mapping[str, str] = attrs.field(factory=dict)
    template_fields: frozenset[str] = frozenset()
    """The columns that the prompt contains."""
    missing_columns: frozenset[str] = frozenset()
    """The columns without a value in this row."""


def check_source(source: object) -> None:
    """Check that something contains prompts, and is not the name or the content of a file.

    Raises:
        InvalidRequest: It is neither a prompt nor a row nor an iterable of them.
    """
    problem = f"not {type(source).__name__}"
    if isinstance(source, str) and _PROMPT_FILE_NAME.fullmatch(source.strip()):
        problem = f"and {source.strip()!r} looks like the name of a file: use add_file"
    elif isinstance(source, io.IOBase | os.PathLike):
        problem += ": use add_file for files, which reads comments and columns"
    elif hasattr(source, "columns") and (hasattr(source, "to_dict") or hasattr(source, "to_dicts")):
        problem += ': add its rows, from .to_dict("records") of pandas or .to_dicts() of polars'
    elif isinstance(source, str | Mapping | Iterable | AsyncIterable) and not isinstance(
        source, bytes
    ):
        return
    message = f"add takes a prompt, a mapping of columns, or an iterable of them, {problem}."
    raise InvalidRequest(message)


def parse_row(value: object, template: str | None = None, repeat: int = 1) -> InputRow:
    """Parse a prompt, a mapping with a `prompt`, or a mapping of the values of a template.

    Raises:
        InvalidRequest: It is none of these, or braces contain the name of a missing column.
    """
    if isinstance(value, InputRow):
        return value
    if isinstance(value, str):
        return InputRow(_apply_template(check_not_blank(value), template), parse_repeat(repeat))
    if not isinstance(value, Mapping):
        message = f"A row is a prompt or a mapping of columns, not {type(value).__name__}."
        raise InvalidRequest(message)
    names = [column_name(name) for name in value if name]
    duplicate = next((name for name in names if names.count(name) > 1), None)
    if duplicate:
        raise InvalidRequest(f"A row has several columns called {duplicate!r}.")
    columns = {column_name(name): value for name, value in value.items() if name}
    columns.pop("", None)
    missing = frozenset(name for name, value in columns.items() if _is_missing(value))
    texts = {
        name: "" if name in missing else _cell_text(name, value) for name, value in columns.items()
    }
    prompt = template or texts.pop("prompt", "")
    repeat_count = parse_repeat(texts.pop("repeat", "") or repeat)
    if texts.get("bot"):
        texts["bot"] = texts["bot"].strip().lower()
        check_choice("bot", texts["bot"], get_args(Bot))
    if not prompt.strip():
        message = "The prompt of a row is blank."
        if "prompt" not in columns:
            available = ", ".join(map(repr, columns)) or "none"
            message = (
                f"A row has no prompt among its columns, {available}: it needs one called prompt, "
                "or a template."
            )
        raise InvalidRequest(message)
    used_columns = template_fields(prompt) & texts.keys()
    if template or texts:
        check_fields(prompt, texts)
        check_present(used_columns, missing)
    filled = check_not_blank(FIELD_PATTERN.sub(lambda field: _field_text(field, texts), prompt))
    return InputRow(filled, repeat_count, texts, used_columns, missing)


def template_fields(text: str) -> frozenset[str]:
    """Return the names of the columns that a template contains."""
    return frozenset(name.strip() for name in FIELD_PATTERN.findall(text))


def check_present(used_columns: Iterable[str], missing_columns: Iterable[str]) -> None:
    """Raise InvalidRequest if a used column has no value."""
    for name in sorted(set(used_columns) & set(missing_columns)):
        message = (
            f"This row has no value in the column {name!r}, which the prompt needs. "
            "Write one, or blank text if none is meant."
        )
        raise InvalidRequest(message)


def _is_missing(value: object) -> bool:
    """Return whether a value is None, NaN, or the missing value of pandas or a database."""
    if value is None or type(value).__name__ in _MISSING_TYPES:
        return True
    return isinstance(value, Number | date) and value != value  # noqa: PLR0124 - as NaN is defined


def _cell_text(name: str, value: object) -> str:
    """Return the text of a cell; raise InvalidRequest for a list, which would show its brackets."""
    is_infinite = False
    if isinstance(value, Real) and not isinstance(value, Integral):
        is_infinite = math.isinf(value)
        if float(value).is_integer():
            value = int(float(value))  # pandas converts a column with gaps to floats
    is_flag = isinstance(value, bool) and name in _SETTING_COLUMNS
    if is_infinite or is_flag or not isinstance(value, _TEXT_TYPES):
        message = (
            f"The column {name!r} contains {repr(value)[:80]}, which is neither text nor a number."
        )
        raise InvalidRequest(message)
    return _to_text(value)


def _apply_template(prompt: str, template: str | None) -> str:
    """Insert a prompt into a template; its own braces still stand for alternatives."""
    if not template:
        return prompt
    if _PROMPT_PLACEHOLDER not in template:
        message = f"The template {template!r} has no place for a prompt: {_PROMPT_PLACEHOLDER}."
        raise InvalidRequest(message)
    check_fields(template, ["prompt"])
    return template.replace(_PROMPT_PLACEHOLDER, prompt)


def column_name(name: object) -> str:
    """Return the name of a column; "Prompt" in any case is the prompt."""
    text = _to_text(name).strip()
    return "prompt" if text.casefold() == "prompt" else text


def _field_text(field: re.Match[str], columns: Mapping[str, str]) -> str:
    """Return the escaped value of a field: values are never expanded."""
    value = columns.get(field[1].strip())
    return field[0] if value is None else re.sub(r"([{},\\])", r"\\\1", value)


def _to_text(value: object) -> str:
    """Convert a value to text that every file and database accepts."""
    text = str.__str__(value) if isinstance(value, str) else str(value)
    return text.encode("utf-8", "replace").decode().replace("\0", "")


def parse_repeat(value: object) -> int:
    """Parse how often a row is drawn."""
    try:
        number = float(str(value).strip() or "nan")
    except ValueError:
        number = 0.0
    if not (1 <= number <= _MAX_REPEATS and number.is_integer()):
        raise InvalidRequest(f"repeat must be a number from 1 to {_MAX_REPEATS}, not {value!r}.")
    return int(number)


def check_not_blank(prompt: str) -> str:
    """Return a prompt; raise InvalidRequest if it is blank."""
    if not prompt.strip():
        raise InvalidRequest("A row has no prompt.")
    return prompt

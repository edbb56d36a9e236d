"""One row of input: its prompt, its columns, and what is refused."""

from __future__ import annotations

import io
import math
import os
import re
from collections.abc import AsyncIterable, Iterable, Mapping, Sequence
from datetime import date
from numbers import Integral, Number, Real
from typing import Final, get_args
from uuid import UUID

import attrs

from .._models import Bot
from .._protocol.payloads import check_choice
from ..errors import InvalidRequest
from ._steps import FIELD_PATTERN, check_fields

__all__ = [
    "REPEAT_FLAG",
    "SEED_FLAG",
    "SEED_LIMIT",
    "InputRow",
    "check_not_blank",
    "check_present",
    "check_source",
    "column_name",
    "parse_repeat",
    "parse_row",
    "template_fields",
]


REPEAT_FLAG: Final = re.compile(r"(?:^|\s)--(?:repeat|r)\s+(\d+)(?!\S)", re.IGNORECASE)


SEED_FLAG: Final = re.compile(r"(?:^|\s)--seed\s+(\d+)(?!\S)", re.IGNORECASE)


SEED_LIMIT: Final = 2**32


_MAX_REPEATS: Final = 10_000


_PROMPT_PLACEHOLDER: Final = "{prompt}"


_PROMPT_FILE_NAME: Final = re.compile(
    r"\S+\.(txt|csv|tsv|jsonl?|ndjson|ya?ml|xlsx?)", re.IGNORECASE
)


_MISSING_TYPES: Final = frozenset({"NAType", "NaTType", "MaskedConstant"})
"""Types whose values stand for none in pandas and NumPy, which need not be there."""


_TEXT_TYPES: Final = (str, Number, date, UUID)
"""Types whose values read the same in a prompt as where they were typed."""


@attrs.frozen
class InputRow:
    """One line of input."""

    prompt: str
    repeat: int = 1
    variables: Mapping[str, str] = attrs.field(factory=dict)
    template_fields: frozenset[str] = frozenset()
    """The columns that stand in the prompt."""
    missing_columns: frozenset[str] = frozenset()
    """The columns in which this row has no value."""


def check_source(source: object) -> None:
    """See that something holds prompts, rather than the name or the lines of a file of them.

    Raises:
        InvalidRequest: It is no prompt and no row, and holds none.
    """
    problem = f"not {type(source).__name__}"
    if isinstance(source, str) and _PROMPT_FILE_NAME.fullmatch(source.strip()):
        problem = f"and {source.strip()!r} looks like the name of a file: use add_file"
    elif isinstance(source, io.IOBase | os.PathLike):
        problem += ": add_file takes a file, and knows its comments and columns"
    elif hasattr(source, "columns") and (hasattr(source, "to_dict") or hasattr(source, "to_dicts")):
        problem += ': take its rows, with .to_dict("records") of pandas or .to_dicts() of polars'
    elif isinstance(source, str | Mapping | Iterable | AsyncIterable) and not isinstance(
        source, bytes
    ):
        return
    message = f"add takes a prompt, a mapping of columns, or an iterable of them, {problem}."
    raise InvalidRequest(message)


def parse_row(value: object, template: str | None = None, repeat: int = 1) -> InputRow:
    """A prompt, or a mapping with a `prompt`, or one whose values go into a template.

    A prompt goes into a template as `{prompt}`.

    Raises:
        InvalidRequest: It is none of these, or braces name a column that is not there.
    """
    if isinstance(value, InputRow):
        return value
    if isinstance(value, str):
        return InputRow(
            _apply_template(check_not_blank(value), template or _PROMPT_PLACEHOLDER),
            parse_repeat(repeat),
        )
    if not isinstance(value, Mapping):
        message = f"A row is a prompt or a mapping of columns, not {type(value).__name__}."
        raise InvalidRequest(message)
    names = [column_name(name) for name in value if name]
    duplicate = next((name for name in names if names.count(name) > 1), None)
    if duplicate:
        message = f"A row has several columns called {duplicate!r}."
        raise InvalidRequest(message)
    columns = {column_name(name): value for name, value in value.items() if name}
    columns.pop("", None)
    missing = frozenset(name for name, value in columns.items() if _is_missing(value))
    texts = {name: _cell_text(name, value, missing) for name, value in columns.items()}
    prompt = template or texts.pop("prompt", "")
    repeat_count = parse_repeat(texts.pop("repeat", "") or repeat)
    if texts.get("bot"):
        texts["bot"] = texts["bot"].strip().lower()
        check_choice("bot", texts["bot"], get_args(Bot))
    if not prompt.strip():
        raise InvalidRequest(_missing_prompt_message(tuple(columns)))
    used_columns = template_fields(prompt) & texts.keys()
    if template or texts:
        check_fields(prompt, texts)
        check_present(used_columns, missing)
    return InputRow(
        check_not_blank(_fill(prompt, texts)), repeat_count, texts, used_columns, missing
    )


def template_fields(text: str) -> frozenset[str]:
    """The columns whose values go into a text."""
    return frozenset(name.strip() for name in FIELD_PATTERN.findall(text))


def check_present(used_columns: Iterable[str], missing_columns: Iterable[str]) -> None:
    for name in sorted(set(used_columns) & set(missing_columns)):
        message = (
            f"This row has no value in the column {name!r}, which goes into the prompt. "
            "Write one, or blank text if none is meant."
        )
        raise InvalidRequest(message)


def _is_missing(value: object) -> bool:
    """Whether a value stands for none: None, NaN, and what pandas and databases have for them."""
    if value is None or type(value).__name__ in _MISSING_TYPES:
        return True
    return isinstance(value, Number | date) and value != value  # noqa: PLR0124 - as NaN is defined


def _cell_text(name: str, value: object, missing: frozenset[str]) -> str:
    """What a cell holds, as text.

    Raises:
        InvalidRequest: It is neither text nor a number: a list would be drawn as its brackets.
    """
    if name in missing:
        return ""
    is_infinite = False
    if isinstance(value, Real) and not isinstance(value, Integral):
        is_infinite = math.isinf(value)
        if float(value).is_integer():
            value = int(float(value))  # a column with gaps is one of floats in pandas
    is_flag = isinstance(value, bool) and name in _SETTING_COLUMNS
    if is_infinite or is_flag or not isinstance(value, _TEXT_TYPES):
        message = (
            f"The column {name!r} holds {repr(value)[:80]}, which is neither text nor a number."
        )
        raise InvalidRequest(message)
    return _to_text(value)


def _apply_template(prompt: str, template: str) -> str:
    """A prompt in its place; its own braces still stand for several."""
    if _PROMPT_PLACEHOLDER not in template:
        message = f"The template {template!r} has no place for a prompt: {_PROMPT_PLACEHOLDER}."
        raise InvalidRequest(message)
    if template != _PROMPT_PLACEHOLDER:
        check_fields(template, ["prompt"])
    return template.replace(_PROMPT_PLACEHOLDER, prompt)


def column_name(name: object) -> str:
    """What a column is called here: what tables call "Prompt" is the prompt."""
    text = _to_text(name).strip()
    return "prompt" if text.casefold() == "prompt" else text


def _missing_prompt_message(columns: Sequence[str]) -> str:
    if "prompt" in columns:
        return "The prompt of a row is blank."
    names = ", ".join(map(repr, columns)) or "none"
    return (
        f"A row has no prompt among its columns, {names}: it needs one called prompt, "
        "or a template."
    )


def _fill(template: str, columns: Mapping[str, str]) -> str:
    """Put the columns in; what they hold is text, and never expanded."""

    def value(match: re.Match[str]) -> str:
        found = columns.get(match[1].strip())
        return match[0] if found is None else re.sub(r"([{},\\])", r"\\\1", found)

    return FIELD_PATTERN.sub(value, template)


def _to_text(value: object) -> str:
    """A value as text that every file and database takes."""
    text = str.__str__(value) if isinstance(value, str) else str(value)
    return text.encode("utf-8", "replace").decode().replace("\0", "")


def parse_repeat(value: object) -> int:
    try:
        number = float(str(value).strip() or "nan")
    except ValueError:
        number = 0.0
    if not (1 <= number <= _MAX_REPEATS and number.is_integer()):
        message = f"repeat must be a number from 1 to {_MAX_REPEATS}, not {value!r}."
        raise InvalidRequest(message)
    return int(number)


def check_not_blank(prompt: str) -> str:
    if not prompt.strip():
        message = "A row has no prompt."
        raise InvalidRequest(message)
    return prompt


_SETTING_COLUMNS: Final = ("prompt", "repeat", "bot")
"""Columns that mean something by themselves."""

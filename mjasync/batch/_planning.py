"""From prompts and rows to jobs: what is asked, and a key for each. Pure."""

from __future__ import annotations

import hashlib
import io
import math
import os
import re
from collections.abc import (
    AsyncIterable,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from datetime import date
from numbers import Integral, Number, Real
from typing import Final
from uuid import UUID

import attrs

from .._models import Bot
from .._options import one_of
from .._task import Task
from ..errors import ConfigurationError, InvalidRequest
from ..prompt import expand, normalise, with_flag, without_flags
from ._jobs import CALL, Job
from ._steps import FIELD, before, check_fields, filled, last, parsed

__all__ = [
    "Call",
    "Row",
    "Step",
    "as_row",
    "check_source",
    "column_name",
    "jobs_of",
    "placed_by",
    "steps_of",
]

Call = Callable[[Task], Awaitable[Task | None]]
"""A step of your own: takes the finished Task, may return another one to be saved."""
Step = str | Call

_REPEAT: Final = re.compile(r"(?:^|\s)--(?:repeat|r)\s+(\d+)(?!\S)", re.IGNORECASE)
_SEED: Final = re.compile(r"(?:^|\s)--seed\s+(\d+)(?!\S)", re.IGNORECASE)
_SEEDS: Final = 2**32
_MOST_REPEATS: Final = 10_000
_PROMPT: Final = "{prompt}"
_FILE_NAME: Final = re.compile(r"\S+\.(txt|csv|tsv|jsonl?|ndjson|ya?ml|xlsx?)", re.IGNORECASE)
_MISSING: Final = frozenset({"NAType", "NaTType", "MaskedConstant"})
"""Types whose values stand for none in pandas and NumPy, which need not be there."""
_WRITTEN_OUT: Final = (str, Number, date, UUID)
"""Types whose values read the same in a prompt as where they were typed."""
_OBEYED: Final = ("prompt", "repeat", "bot")
"""Columns that mean something by themselves."""
_ON_NO_GRID: Final = re.compile(r"[UV](?![1-4]$)\d+", re.IGNORECASE)
"""Labels as they are on grids, of a picture that none has."""


@attrs.frozen
class Row:
    """One line of input."""

    prompt: str
    repeat: int = 1
    variables: Mapping[str, str] = attrs.field(factory=dict)
    placed: frozenset[str] = frozenset()
    """The columns that stand in the prompt."""
    missing: frozenset[str] = frozenset()
    """The columns in which this row has no value."""


def check_source(given: object) -> None:
    """See that something holds prompts, rather than the name or the lines of a file of them.

    Raises:
        InvalidRequest: It is no prompt and no row, and holds none.
    """
    what = f"not {type(given).__name__}"
    if isinstance(given, str) and _FILE_NAME.fullmatch(given.strip()):
        what = f"and {given.strip()!r} looks like the name of a file: use add_file"
    elif isinstance(given, io.IOBase | os.PathLike):
        what += ": add_file takes a file, and knows its comments and columns"
    elif hasattr(given, "columns") and (hasattr(given, "to_dict") or hasattr(given, "to_dicts")):
        what += ': take its rows, with .to_dict("records") of pandas or .to_dicts() of polars'
    elif isinstance(given, str | Mapping | Iterable | AsyncIterable) and not isinstance(
        given, bytes
    ):
        return
    message = f"add takes a prompt, a mapping of columns, or an iterable of them, {what}."
    raise InvalidRequest(message)


def as_row(given: object, template: str | None = None, repeat: int = 1) -> Row:
    """A prompt, or a mapping with a `prompt`, or one whose values go into a template.

    A prompt goes into a template as `{prompt}`.

    Raises:
        InvalidRequest: It is none of these, or braces name a column that is not there.
    """
    if isinstance(given, Row):
        return given
    if isinstance(given, str):
        return Row(_in_template(_not_blank(given), template or _PROMPT), _count(repeat))
    if not isinstance(given, Mapping):
        message = f"A row is a prompt or a mapping of columns, not {type(given).__name__}."
        raise InvalidRequest(message)
    names = [column_name(name) for name in given if name]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        message = f"A row has several columns called {twice!r}."
        raise InvalidRequest(message)
    columns = {column_name(name): value for name, value in given.items() if name}
    columns.pop("", None)
    missing = frozenset(name for name, value in columns.items() if _is_missing(value))
    texts = {name: _cell(name, value, missing) for name, value in columns.items()}
    prompt = template or texts.pop("prompt", "")
    times = _count(texts.pop("repeat", "") or repeat)
    if texts.get("bot"):
        texts["bot"] = texts["bot"].strip().lower()
        one_of("bot", texts["bot"], Bot)
    if not prompt.strip():
        raise InvalidRequest(_without_prompt(tuple(columns)))
    placed = placed_by(prompt) & texts.keys()
    if template or texts:
        check_fields(prompt, texts)
        _check_present(placed, missing)
    return Row(_not_blank(_filled(prompt, texts)), times, texts, placed, missing)


def placed_by(text: str) -> frozenset[str]:
    """The columns whose values go into a text."""
    return frozenset(name.strip() for name in FIELD.findall(text))


def _check_present(placed: Iterable[str], missing: Iterable[str]) -> None:
    for name in sorted(set(placed) & set(missing)):
        message = (
            f"This row has no value in the column {name!r}, which goes into the prompt. "
            "Write one, or blank text if none is meant."
        )
        raise InvalidRequest(message)


def _is_missing(value: object) -> bool:
    """Whether a value stands for none: None, NaN, and what pandas and databases have for them."""
    if value is None or type(value).__name__ in _MISSING:
        return True
    return isinstance(value, Number | date) and value != value  # noqa: PLR0124 - as NaN is defined


def _cell(name: str, value: object, missing: frozenset[str]) -> str:
    """What a cell holds, as text.

    Raises:
        InvalidRequest: It is neither text nor a number: a list would be drawn as its brackets.
    """
    if name in missing:
        return ""
    is_endless = False
    if isinstance(value, Real) and not isinstance(value, Integral):
        is_endless = math.isinf(value)
        if float(value).is_integer():
            value = int(float(value))  # a column with gaps is one of floats in pandas
    is_flag = isinstance(value, bool) and name in _OBEYED
    if is_endless or is_flag or not isinstance(value, _WRITTEN_OUT):
        message = (
            f"The column {name!r} holds {repr(value)[:80]}, which is neither text nor a number."
        )
        raise InvalidRequest(message)
    return _text(value)


def _in_template(prompt: str, template: str) -> str:
    """A prompt in its place; its own braces still stand for several."""
    if _PROMPT not in template:
        message = f"The template {template!r} has no place for a prompt: {_PROMPT}."
        raise InvalidRequest(message)
    if template != _PROMPT:
        check_fields(template, ["prompt"])
    return template.replace(_PROMPT, prompt)


def column_name(name: object) -> str:
    """What a column is called here: what tables call "Prompt" is the prompt."""
    text = _text(name).strip()
    return "prompt" if text.casefold() == "prompt" else text


def _without_prompt(columns: Sequence[str]) -> str:
    if "prompt" in columns:
        return "The prompt of a row is blank."
    names = ", ".join(map(repr, columns)) or "none"
    return (
        f"A row has no prompt among its columns, {names}: it needs one called prompt, "
        "or a template."
    )


def _filled(template: str, columns: Mapping[str, str]) -> str:
    """Put the columns in; what they hold is text, and never expanded."""

    def value(match: re.Match[str]) -> str:
        found = columns.get(match[1].strip())
        return match[0] if found is None else re.sub(r"([{},\\])", r"\\\1", found)

    return FIELD.sub(value, template)


def _text(value: object) -> str:
    """A value as text that every file and database takes."""
    text = str.__str__(value) if isinstance(value, str) else str(value)
    return text.encode("utf-8", "replace").decode().replace("\0", "")


def _count(value: object) -> int:
    try:
        number = float(str(value).strip() or "nan")
    except ValueError:
        number = 0.0
    if not (1 <= number <= _MOST_REPEATS and number.is_integer()):
        message = f"repeat must be a number from 1 to {_MOST_REPEATS}, not {value!r}."
        raise InvalidRequest(message)
    return int(number)


def _not_blank(prompt: str) -> str:
    if not prompt.strip():
        message = "A row has no prompt."
        raise InvalidRequest(message)
    return prompt


# --- jobs --------------------------------------------------------------------------------------


def jobs_of(row: Row, steps: Sequence[str]) -> Iterator[Job]:
    """The jobs of a row, each grid followed by its steps; numbered by whoever adds them.

    Raises:
        InvalidRequest: Its braces do not match, it is blank, or an answer names no column of it.
    """
    for answer in filter(None, (last(step)[1] for step in steps)):
        check_fields(answer, dict.fromkeys(["prompt", *row.variables]))
        _check_present(placed_by(answer), row.missing)
    for expanded in expand(row.prompt):
        tidy = normalise(expanded)
        found = _REPEAT.search(tidy)
        prompt = _not_blank(_REPEAT.sub("", tidy).strip())
        for variant in range(_count(found[1]) if found else row.repeat):
            grid = _grid(prompt, variant, row.variables)
            yield grid
            yield from _steps(grid, steps)


def _grid(prompt: str, variant: int, variables: Mapping[str, str]) -> Job:
    """A prompt again, with a seed of its own; the first time as it is."""
    given = _SEED.search(prompt)
    seed = int(given[1]) if given else None
    if variant:
        start = int(given[1]) if given else int(_key(without_flags(prompt, "seed")), 16)
        seed = (start + variant) % _SEEDS
        prompt = with_flag(prompt, "seed", seed)
    bot = variables.get("bot")
    key = _key("imagine", prompt, bot) if bot else _key("imagine", prompt)
    return Job(key=key, root=key, n=0, prompt=prompt, seed=seed, variables=dict(variables))


def _steps(grid: Job, steps: Sequence[str]) -> Iterator[Job]:
    keys = {"": grid.key}
    columns = {name: text for name, text in grid.variables.items() if name != "prompt"}
    for step in steps:
        keys[step] = _key("step", grid.key, filled(step, columns))
        yield attrs.evolve(grid, key=keys[step], parent=keys[before(step)], step=step)


def _key(*asked: str) -> str:
    return hashlib.sha256("\0".join(asked).encode()).hexdigest()[:32]


def steps_of(then: Step | Iterable[Step]) -> tuple[tuple[str, ...], dict[str, Call]]:
    """Every step of some paths, each after the one it follows; and the functions among them.

    Raises:
        ConfigurationError: A path has a gap or names a button that no grid has, or two functions
            share a name.
    """
    paths: dict[str, None] = {}
    calls: dict[str, Call] = {}
    for step in [then] if isinstance(then, str) or callable(then) else then:
        if not isinstance(step, str):
            name = CALL + getattr(step, "__qualname__", type(step).__qualname__).replace(">", "")
            if calls.setdefault(name, step) is not step:
                message = f"Two functions of then= are called {name.removeprefix(CALL)!r}."
                raise ConfigurationError(message)
            paths[name] = None
            continue
        names = parsed(step)
        _check_labels(step, names)
        if any(name.startswith(CALL) for name in names):
            message = f"{step!r} is no path of buttons: {CALL!r} is what functions are called."
            raise ConfigurationError(message)
        paths.update(dict.fromkeys(">".join(names[: n + 1]) for n in range(len(names))))
    return tuple(paths), calls


def _check_labels(step: str, names: Iterable[str]) -> None:
    for label in (last(name)[0] for name in names):
        if _ON_NO_GRID.fullmatch(label):
            message = f"{step!r}: no grid has a button {label!r}; U1 to U4 and V1 to V4 exist."
            raise ConfigurationError(message)

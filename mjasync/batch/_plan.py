"""From prompts, files and tables to jobs: what is asked, and a key for each. Pure but for files."""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
import json
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO, Final

import attrs

from .._models import Bot
from .._options import one_of
from .._task import Task
from ..errors import ConfigurationError, InvalidRequest
from ..prompt import expand, normalise, with_flag, without_flags
from ._jobs import CALL, Job
from ._path import FIELD, before, check_fields, filled, last, parsed

__all__ = ["Call", "Row", "Step", "as_row", "jobs_of", "read_rows", "steps_of"]

Call = Callable[[Task], Awaitable[Task | None]]
"""A step of your own: takes the finished Task, may return another one to be saved."""
Step = str | Call

_REPEAT: Final = re.compile(r"(?:^|\s)--(?:repeat|r)\s+(\d+)(?!\S)", re.IGNORECASE)
_SEED: Final = re.compile(r"(?:^|\s)--seed\s+(\d+)(?!\S)", re.IGNORECASE)
_SEEDS: Final = 2**32
_MOST_REPEATS: Final = 10_000
_PROMPT: Final = "{prompt}"
_SEPARATORS: Final = ";\t|"
"""What tables are written with, besides commas."""


@attrs.frozen
class Row:
    """One line of input."""

    prompt: str
    repeat: int = 1
    variables: Mapping[str, str] = attrs.field(factory=dict)


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
    columns = {_column(name): _text(value) for name, value in given.items() if name}
    seen = tuple(columns)
    prompt = template or columns.pop("prompt", "")
    times = _count(columns.pop("repeat", "") or repeat)
    if columns.get("bot"):
        columns["bot"] = columns["bot"].strip().lower()
        one_of("bot", columns["bot"], Bot)
    if not prompt.strip():
        raise InvalidRequest(_without_prompt(seen))
    if template or columns:
        check_fields(prompt, columns)
    return Row(_not_blank(_filled(prompt, columns)), times, columns)


def _in_template(prompt: str, template: str) -> str:
    """A prompt in its place; its own braces still stand for several."""
    if _PROMPT not in template:
        message = f"The template {template!r} has no place for a prompt: {_PROMPT}."
        raise InvalidRequest(message)
    if template != _PROMPT:
        check_fields(template, ["prompt"])
    return template.replace(_PROMPT, prompt)


def _column(name: object) -> str:
    """The name of a column; what tables call "Prompt" is the prompt."""
    text = _text(name).strip()
    return "prompt" if text.casefold() == "prompt" else text


def _without_prompt(columns: Sequence[str]) -> str:
    if "prompt" in columns:
        return "The prompt of a row is blank."
    names = ", ".join(map(repr, columns)) or "none"
    separators = [one for one in _SEPARATORS if len(columns) == 1 and one in columns[0]]
    todo = "it needs one called prompt, or a template"
    if separators:
        todo = f"it is written with {separators[0]!r}, and read with commas"
    return f"A row has no prompt among its columns, {names}: {todo}."


def _filled(template: str, columns: Mapping[str, str]) -> str:
    """Put the columns in; what they hold is text, and never expanded."""

    def value(match: re.Match[str]) -> str:
        found = columns.get(match[1].strip())
        return match[0] if found is None else re.sub(r"([{},\\])", r"\\\1", found)

    return FIELD.sub(value, template)


def _text(value: object) -> str:
    """A value as text that every file and database takes."""
    text = "" if value is None else str(value)
    return text.encode("utf-8", "replace").decode().replace("\0", "")


def _count(value: object) -> int:
    try:
        number = int(str(value))
    except ValueError:
        number = 0
    if not 1 <= number <= _MOST_REPEATS:
        message = f"repeat must be a number from 1 to {_MOST_REPEATS}, not {value!r}."
        raise InvalidRequest(message)
    return number


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
        ConfigurationError: A path has a gap, or two functions share a name.
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
        if any(name.startswith(CALL) for name in names):
            message = f"{step!r} is no path of buttons: {CALL!r} is what functions are called."
            raise ConfigurationError(message)
        paths.update(dict.fromkeys(">".join(names[: n + 1]) for n in range(len(names))))
    return tuple(paths), calls


# --- files -------------------------------------------------------------------------------------


def read_rows(source: Path | BinaryIO, template: str | None = None, repeat: int = 1) -> list[Row]:
    """The rows of a file, by its ending: .csv, .tsv, .jsonl, .yaml; anything else is text.

    Raises:
        ConfigurationError: It cannot be read; the message says where.
    """
    path = source if isinstance(source, Path) else Path("stdin")
    read = _READERS.get(path.suffix.lower(), _read_text)
    try:
        data = source.read_bytes() if isinstance(source, Path) else source.read()
        is_wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        text = data.decode("utf-16" if is_wide else "utf-8-sig")
    except FileNotFoundError:
        raise ConfigurationError(f"There is no file {str(path)!r}.") from None
    except OSError as error:
        message = f"The file {str(path)!r} cannot be read: {error.strerror or error}."
        raise ConfigurationError(message) from error
    except UnicodeDecodeError as error:
        message = (
            f"The file {str(path)!r} cannot be read as UTF-8 text ({error}). "
            "Save it as UTF-8 (in Excel: CSV UTF-8)."
        )
        raise ConfigurationError(message) from error
    if template and read is _read_text and _PROMPT not in template:
        message = f"{path} has no columns: its lines can go into a template only as {_PROMPT}."
        raise ConfigurationError(message)
    rows = []
    for where, given in read(text, str(path)):
        try:
            rows.append(as_row(given, template, repeat))
            next(jobs_of(rows[-1], ()))
        except InvalidRequest as error:
            message = f"{path}, {where}: {error.message}"
            raise ConfigurationError(message) from error
    return rows


Given = Iterator[tuple[str, object]]


def _read_text(text: str, _: str) -> Given:
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield f"line {number}", line.strip()


def _read_csv(text: str, name: str) -> Given:
    yield from _table(text, name, ",")


def _read_tsv(text: str, name: str) -> Given:
    yield from _table(text, name, "\t")


def _table(text: str, name: str, delimiter: str) -> Given:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        lines = (line for line in reader if any(cell.strip() for cell in line))
        header = [_column(cell) for cell in next(lines, [])]
        _check_header(header, name, reader.line_num)
        for line in lines:
            where = f"line {reader.line_num}"
            if len(line) != len(header):
                message = (
                    f"{name}, {where}: this row has {len(line)} cells, and the header "
                    f"{len(header)}. A cell with {delimiter!r} in it needs quotes around it."
                )
                raise ConfigurationError(message)
            yield where, dict(zip(header, line, strict=True))
    except csv.Error as error:
        message = f"{name}, after line {reader.line_num}: this is no table ({error})."
        raise ConfigurationError(message) from error


def _check_header(header: Sequence[str], name: str, line: int) -> None:
    twice = [cell for cell in header if cell and header.count(cell) > 1]
    if twice:
        message = f"{name}, line {line}: there are several columns called {twice[0]!r}."
        raise ConfigurationError(message)


def _read_jsonl(text: str, name: str) -> Given:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                yield f"line {number}", json.loads(line)
            except ValueError as error:
                message = f"{name}, line {number}: this is no JSON ({error})."
                raise ConfigurationError(message) from error


def _read_yaml(text: str, name: str) -> Given:
    try:
        yaml = import_module("yaml")
    except ImportError:
        message = f"{name} is YAML, which needs PyYAML: python -m pip install PyYAML."
        raise ConfigurationError(message) from None
    try:
        rows: Any = yaml.safe_load(text)
    except yaml.YAMLError as error:
        message = f"{name} is no YAML: {error}."
        raise ConfigurationError(message) from error
    if not isinstance(rows, list):
        message = f"{name} must hold a list of prompts, or of mappings."
        raise ConfigurationError(message)
    for number, row in enumerate(rows, 1):
        yield f"row {number}", row


_READERS: Final[Mapping[str, Callable[[str, str], Given]]] = {
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".jsonl": _read_jsonl,
    ".yaml": _read_yaml,
    ".yml": _read_yaml,
}

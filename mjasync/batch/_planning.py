"""Planning: the jobs of rows and steps, each with a key. No I/O."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

import attrs

from .._task import Task
from ..errors import ConfigurationError
from ..prompt import expand, normalise, with_flag, without_flags
from ._jobs import FUNCTION_STEP, Job
from ._rows import (
    REPEAT_FLAG,
    SEED_FLAG,
    SEED_LIMIT,
    InputRow,
    check_not_blank,
    check_present,
    parse_repeat,
    template_fields,
)
from ._steps import check_fields, fill_answer, last_step, parent_path, parse_path

StepFunction = Callable[[Task], Awaitable[Task | None]]
"""A step of the caller: it takes the finished Task, and may return another one to be saved."""
StepInput = str | StepFunction
_INVALID_GRID_LABEL: Final = re.compile(r"[UV](?![1-4]$)\d+", re.IGNORECASE)
"""Labels like those of grids, with the number of a picture that no grid has."""


def plan_jobs(row: InputRow, steps: Sequence[str] = ()) -> Iterator[Job]:
    """Yield the jobs of a row, each grid followed by its steps; their number is still 0.

    Args:
        row: The row.
        steps: Paths of buttons from the grid, each after the path that it continues.

    Raises:
        InvalidRequest: Its braces do not match, it is blank, or an answer names a missing column.
    """
    for answer in filter(None, (last_step(step)[1] for step in steps)):
        check_fields(answer, dict.fromkeys(["prompt", *row.variables]))
        check_present(template_fields(answer), row.missing_columns)
    columns = {name: text for name, text in row.variables.items() if name != "prompt"}
    for expanded in expand(row.prompt):
        normalised = normalise(expanded)
        match = REPEAT_FLAG.search(normalised)
        prompt = check_not_blank(REPEAT_FLAG.sub("", normalised).strip())
        for variant in range(parse_repeat(match[1]) if match else row.repeat):
            grid = _grid_job(prompt, variant, row.variables)
            yield grid
            keys = {"": grid.key}
            for step in steps:
                keys[step] = _key("step", grid.key, fill_answer(step, columns))
                yield attrs.evolve(grid, key=keys[step], parent=keys[parent_path(step)], step=step)


def _grid_job(prompt: str, variant: int, variables: Mapping[str, str]) -> Job:
    """Create a job for a prompt; each repetition has a seed of its own."""
    match = SEED_FLAG.search(prompt)
    seed = int(match[1]) if match else None
    if variant:
        start = int(_key(without_flags(prompt, "seed")), 16) if seed is None else seed
        seed = (start + variant) % SEED_LIMIT
        prompt = with_flag(prompt, "seed", seed)
    bot = variables.get("bot")
    key = _key("imagine", prompt, bot) if bot else _key("imagine", prompt)
    return Job(key=key, root=key, number=0, prompt=prompt, seed=seed, variables=dict(variables))


def _key(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def expand_steps(
    steps: Iterable[StepInput],
) -> tuple[tuple[str, ...], dict[str, StepFunction]]:
    """Return every step of some paths, each after its parent; and the functions by step.

    Raises:
        ConfigurationError: A path has a gap or names a button that no grid has, or two functions
            have the same name.
    """
    paths: dict[str, None] = {}
    functions: dict[str, StepFunction] = {}
    for step in steps:
        if not isinstance(step, str):
            name = getattr(step, "__qualname__", type(step).__qualname__).replace(">", "")
            if functions.setdefault(FUNCTION_STEP + name, step) is not step:
                raise ConfigurationError(f"Two functions of steps= are called {name!r}.")
            paths[FUNCTION_STEP + name] = None
            continue
        buttons = parse_path(step)
        for label in (last_step(button)[0] for button in buttons):
            if _INVALID_GRID_LABEL.fullmatch(label):
                message = f"{step!r}: no grid has a button {label!r}; U1 to U4 and V1 to V4 exist."
                raise ConfigurationError(message)
            if label.startswith(FUNCTION_STEP):
                message = (
                    f"{step!r} is not a path of buttons: {FUNCTION_STEP!r} is the prefix of "
                    "functions."
                )
                raise ConfigurationError(message)
        paths.update(dict.fromkeys(">".join(buttons[: n + 1]) for n in range(len(buttons))))
    return tuple(paths), functions

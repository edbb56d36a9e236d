"""From prompts and rows to jobs: what is asked, and a key for each. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import (
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
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

__all__ = ["StepFunction", "StepInput", "expand_steps", "plan_jobs"]

StepFunction = Callable[[Task], Awaitable[Task | None]]
"""A step of your own: takes the finished Task, may return another one to be saved."""
StepInput = str | StepFunction

_INVALID_GRID_LABEL: Final = re.compile(r"[UV](?![1-4]$)\d+", re.IGNORECASE)
"""Labels as they are on grids, of a picture that none has."""


# --- jobs --------------------------------------------------------------------------------------


def plan_jobs(row: InputRow, steps: Sequence[str] = ()) -> Iterator[Job]:
    """Yield the jobs of a row, each grid followed by its steps; their number is still 0.

    Args:
        row: The row.
        steps: Paths of buttons from the grid, each after the path that it continues.

    Raises:
        InvalidRequest: Its braces do not match, it is blank, or an answer names no column of it.
    """
    for answer in filter(None, (last_step(step)[1] for step in steps)):
        check_fields(answer, dict.fromkeys(["prompt", *row.variables]))
        check_present(template_fields(answer), row.missing_columns)
    for expanded in expand(row.prompt):
        normalised = normalise(expanded)
        match = REPEAT_FLAG.search(normalised)
        prompt = check_not_blank(REPEAT_FLAG.sub("", normalised).strip())
        for variant in range(parse_repeat(match[1]) if match else row.repeat):
            grid = _grid_job(prompt, variant, row.variables)
            yield grid
            yield from _step_jobs(grid, steps)


def _grid_job(prompt: str, variant: int, variables: Mapping[str, str]) -> Job:
    """A prompt again, with a seed of its own; the first time as it is."""
    match = SEED_FLAG.search(prompt)
    seed = int(match[1]) if match else None
    if variant:
        start = int(match[1]) if match else int(_key(without_flags(prompt, "seed")), 16)
        seed = (start + variant) % SEED_LIMIT
        prompt = with_flag(prompt, "seed", seed)
    bot = variables.get("bot")
    key = _key("imagine", prompt, bot) if bot else _key("imagine", prompt)
    return Job(key=key, root=key, number=0, prompt=prompt, seed=seed, variables=dict(variables))


def _step_jobs(grid: Job, steps: Sequence[str]) -> Iterator[Job]:
    keys = {"": grid.key}
    columns = {name: text for name, text in grid.variables.items() if name != "prompt"}
    for step in steps:
        keys[step] = _key("step", grid.key, fill_answer(step, columns))
        yield attrs.evolve(grid, key=keys[step], parent=keys[parent_path(step)], step=step)


def _key(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def expand_steps(
    steps: StepInput | Iterable[StepInput],
) -> tuple[tuple[str, ...], dict[str, StepFunction]]:
    """Every step of some paths, each after the one it follows; and the functions among them.

    Raises:
        ConfigurationError: A path has a gap or names a button that no grid has, or two functions
            share a name.
    """
    paths: dict[str, None] = {}
    functions: dict[str, StepFunction] = {}
    for step in [steps] if isinstance(steps, str) or callable(steps) else steps:
        if not isinstance(step, str):
            name = FUNCTION_STEP + getattr(step, "__qualname__", type(step).__qualname__).replace(
                ">", ""
            )
            if functions.setdefault(name, step) is not step:
                message = (
                    f"Two functions of steps= are called {name.removeprefix(FUNCTION_STEP)!r}."
                )
                raise ConfigurationError(message)
            paths[name] = None
            continue
        names = parse_path(step)
        _check_labels(step, names)
        if any(name.startswith(FUNCTION_STEP) for name in names):
            message = (
                f"{step!r} is no path of buttons: {FUNCTION_STEP!r} is what functions are called."
            )
            raise ConfigurationError(message)
        paths.update(dict.fromkeys(">".join(names[: n + 1]) for n in range(len(names))))
    return tuple(paths), functions


def _check_labels(step: str, names: Iterable[str]) -> None:
    for label in (last_step(name)[0] for name in names):
        if _INVALID_GRID_LABEL.fullmatch(label):
            message = f"{step!r}: no grid has a button {label!r}; U1 to U4 and V1 to V4 exist."
            raise ConfigurationError(message)

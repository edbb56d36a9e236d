"""The options of a batch, and the command line that repeats options."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final, Literal

import attrs
from cyclopts import Group, Parameter
from cyclopts.validators import Number

_URLS: Final = frozenset({"ledger", "proxy"})
"""Options that may contain a password."""
_NOT_REPEATED: Final = frozenset({"token", "retry_failed", "resubmit_uncertain", "drop_missing"})
"""Options that are secret, or apply to one run only."""
Positive = Annotated[int, Parameter(validator=Number(gte=1))]


@Parameter(name="*", group=Group("Batch", sort_key=5))
@attrs.frozen(kw_only=True)
class BatchOptions:
    """What to draw, how often, and what to do with failures.

    Args:
        out: The folder for the pictures and their ledger. Required.
        limit: The number of tasks that may be unfinished at once; 8 by default.
        then: Buttons to press, as a path from the grid: U1>Zoom Out 2x. May be repeated.
        images: Save each grid, its four pictures, or it and U1 to U4.
        repeat: How often each prompt is drawn.
        template: The prompt of a table: "a {animal} in {snow, rain}".
        name: Template of file names, such as {n:04}-{slug}-{task_id}{step}.{ext}
        retry_failed: Retry failed jobs: all, or the error classes that follow. FILE comes first.
        resubmit_uncertain: Send again what the server may have accepted: it may be paid twice.
        max_submits: Send no more than this number of submissions in this run.
        max_failures: Start no more jobs after this number of failures.
        max_uncertain: Start no more jobs once this number is uncertain and cannot be looked up.
        drop_missing: Remove what an earlier run planned and is no longer in FILE.
        dry_run: Print the number of submissions that it takes; send nothing.
        ledger: The database URL of the ledger; by default ledger.db in the folder.
        no_gallery: Write no index.html.
    """

    out: Path | None = None
    limit: Positive = 8
    then: tuple[str, ...] = ()
    images: Literal["grid", "split", "upscale-all"] = "grid"
    repeat: Positive = 1
    template: str | None = None
    name: str | None = None
    retry_failed: Annotated[tuple[str, ...] | None, Parameter(consume_multiple=True)] = None
    resubmit_uncertain: bool = False
    max_submits: Positive | None = None
    max_failures: Positive | None = None
    max_uncertain: Positive | None = None
    drop_missing: bool = False
    dry_run: bool = False
    ledger: str | None = None
    no_gallery: bool = False


def flags_of(options: attrs.AttrsInstance) -> list[str]:
    """Return the arguments that repeat options, without the token and passwords."""
    return [text for field in attrs.fields(type(options)) for text in _arguments(options, field)]


def without_password(url: str) -> str:
    """Return a URL without its password; if in doubt, without its host, too."""
    shown = re.sub(r"(password=)[^&]*", r"\1***", url, flags=re.IGNORECASE)
    return re.sub(r"^([^/]*//[^:/]*):.*@", r"\1:***@", shown, flags=re.DOTALL)


def _arguments(options: attrs.AttrsInstance, field: attrs.Attribute[object]) -> Iterator[str]:
    value = getattr(options, field.name)
    if value == field.default or field.name in _NOT_REPEATED:
        return
    flag = f"--{field.name.replace('_', '-')}"
    if value is True:
        yield flag
        return
    for item in value if isinstance(value, tuple) else (value,):
        yield from (flag, without_password(str(item)) if field.name in _URLS else str(item))

"""What a batch is to do: its options on the command line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final, Literal

import attrs
from cyclopts import Group, Parameter
from cyclopts.validators import Number

__all__ = ["BatchOptions", "flags_of", "without_password"]

_URLS: Final = frozenset({"ledger", "proxy"})
"""What may hold a password."""
_GROUP: Final = Group("Batch", sort_key=5)
_AT_LEAST_ONE: Final = Number(gte=1)
_NOT_REPEATED: Final = frozenset({"token", "retry_failed", "resubmit_uncertain", "drop_missing"})
"""What is secret, or is asked for once."""


@attrs.frozen(kw_only=True)
class BatchOptions:
    """The options that say what to draw, how often, and what to do about what went wrong."""

    out: Annotated[
        Path | None,
        Parameter(group=_GROUP, help="The folder for the pictures and their ledger. Required."),
    ] = None
    limit: Annotated[
        int,
        Parameter(
            group=_GROUP,
            validator=_AT_LEAST_ONE,
            help="How many tasks may be unfinished at once; 8 by default.",
        ),
    ] = 8
    then: Annotated[
        tuple[str, ...],
        Parameter(
            group=_GROUP,
            help=(
                "Buttons to press, as a path from the grid: U1>Zoom Out 2x. For several, say it "
                "again: --then U1 --then U3."
            ),
        ),
    ] = ()
    images: Annotated[
        Literal["grid", "split", "upscale-all"],
        Parameter(group=_GROUP, help="Save each grid, its four pictures, or it and U1 to U4."),
    ] = "grid"
    repeat: Annotated[
        int,
        Parameter(group=_GROUP, validator=_AT_LEAST_ONE, help="How often each prompt is drawn."),
    ] = 1
    template: Annotated[
        str | None,
        Parameter(group=_GROUP, help='The prompt of a table: "a {animal} in {snow, rain}".'),
    ] = None
    name: Annotated[
        str | None,
        Parameter(
            group=_GROUP, help="Template of file names, such as {n:04}-{slug}-{task_id}{step}.{ext}"
        ),
    ] = None
    retry_failed: Annotated[
        tuple[str, ...] | None,
        Parameter(
            group=_GROUP,
            consume_multiple=True,
            help=(
                "Begin what failed anew: all of it, or the error classes that follow. FILE comes "
                "before it."
            ),
        ),
    ] = None
    resubmit_uncertain: Annotated[
        bool,
        Parameter(
            group=_GROUP, help="Send again what the server may have taken: it may be paid twice."
        ),
    ] = False
    max_submits: Annotated[
        int | None,
        Parameter(group=_GROUP, validator=_AT_LEAST_ONE, help="Send no more than this, this time."),
    ] = None
    max_failures: Annotated[
        int | None,
        Parameter(
            group=_GROUP, validator=_AT_LEAST_ONE, help="Begin nothing more after so many failures."
        ),
    ] = None
    max_uncertain: Annotated[
        int | None,
        Parameter(
            group=_GROUP,
            validator=_AT_LEAST_ONE,
            help="Begin nothing more once so many may have been taken and cannot be looked up.",
        ),
    ] = None
    drop_missing: Annotated[
        bool,
        Parameter(
            group=_GROUP, help="Forget what an earlier run planned and is no longer in FILE."
        ),
    ] = False
    dry_run: Annotated[
        bool, Parameter(group=_GROUP, help="Say how many submissions it takes; send nothing.")
    ] = False
    ledger: Annotated[
        str | None,
        Parameter(
            group=_GROUP,
            help="The URL of a database to keep it in; by default ledger.db in the folder.",
        ),
    ] = None
    no_gallery: Annotated[bool, Parameter(group=_GROUP, help="Make no index.html.")] = False


def flags_of(options: attrs.AttrsInstance) -> list[str]:
    """The words of a command line that goes on with it; no token, and no password."""
    return [word for field in attrs.fields(type(options)) for word in _option_words(options, field)]


def without_password(url: str) -> str:
    """A URL as it may be shown: rather without its host than with a password."""
    told = re.sub(r"(password=)[^&]*", r"\1***", url, flags=re.IGNORECASE)
    return re.sub(r"^([^/]*//[^:/]*):.*@", r"\1:***@", told, flags=re.DOTALL)


def _option_words(options: attrs.AttrsInstance, field: attrs.Attribute[object]) -> Iterator[str]:
    value = getattr(options, field.name)
    if value == field.default or field.name in _NOT_REPEATED:
        return
    flag = f"--{field.name.replace('_', '-')}"
    if value is True:
        yield flag
    else:
        for one in value if isinstance(value, tuple) else (value,):
            yield from (flag, without_password(str(one)) if field.name in _URLS else str(one))

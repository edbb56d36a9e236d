"""The page docs/conformance.md, made from the stories."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from support.stories import DIALECTS, STORIES, YES, Story

PAGE: Final = Path(__file__).parents[2] / "docs" / "conformance.md"
_HEAD: Final = """\
# Conformance

This page lists the result of each scenario on each server of the family. The tests run every
scenario on the simulator of each server, and fail if a result differs from this page.
`nox -s conformance` regenerates it.

- *yes* means the same visible result on every server.
- Anything else is the error that is raised. Nothing is paid for twice.

The gateways run in front of a Plus. `path-gateway` forwards everything unchanged. The others keep
their own task rows and poll their upstream every 10 or 15 seconds.

"""


def page(outcomes: Mapping[tuple[str, str], str]) -> str:
    """Return the page for outcomes by story and dialect."""
    rows = [["", *DIALECTS], ["---"] * (len(DIALECTS) + 1)]
    notes: list[str] = []
    for one in STORIES:
        if one.note and one.note not in notes:
            notes.append(one.note)
        cells = [outcomes[one.name, dialect] for dialect in DIALECTS]
        mark = f" ({notes.index(one.note) + 1})" if one.note else ""
        rows.append([one.name, *(_cell(one, cell, mark) for cell in cells)])
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    listed = "\n".join(f"{n}. {_sentence(note)}" for n, note in enumerate(notes, 1))
    return f"{_HEAD}{table}\n\n{listed}\n"


def _cell(told: Story, outcome: str, mark: str) -> str:
    if outcome == YES:
        return YES
    return f"`{outcome}`{mark if outcome != told.expected else ''}"


def _sentence(note: str) -> str:
    return f"{note[0].upper()}{note[1:]}."


async def play_all() -> dict[tuple[str, str], str]:
    """Play every story on every dialect."""
    return {
        (one.name, dialect): await one.played(dialect) for one in STORIES for dialect in DIALECTS
    }

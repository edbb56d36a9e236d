"""One line of the table: what was measured, against what, and whether that is good enough."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Final

import attrs

__all__ = ["Row", "row_of"]

_PERCENT: Final = 3
_PART: Final = 5

Series = Mapping[str, Sequence[tuple[float, float]]]


@attrs.frozen(kw_only=True)
class Row:
    """One comparison; `ratio` is what the bar is about."""

    name: str
    """What is compared, in a few words."""
    ratio: float
    """The median."""
    bar: float | None = None
    """The most it may be (the least, where `at_least`); None: told, not judged."""
    low: float | None = None
    high: float | None = None
    """The spread: the least and the most of all rounds; None where there was but one."""
    null: float | None = None
    """The baseline against itself in the same rounds: 1 but for noise, or 0 of a difference."""
    unit: str = "×"
    """"×", or what the figure counts (ms, MB)."""
    at_least: bool = False
    note: str = ""
    """What helps to read it: absolute figures of both sides, say."""
    series: Series = attrs.field(factory=dict)
    """Points for a plot: x and y by the name of a line."""

    @property
    def noisy(self) -> bool:
        """Whether the null, as it is shown, is too far off for the row to say much.

        More than 3 % from 1; of a difference, more than a fifth of its bar from 0.
        """
        if self.null is None:
            return False
        if self.unit == "×":
            return abs(round(100 * self.null) - 100) > _PERCENT
        return self.bar is not None and abs(self.null) > self.bar / _PART

    @property
    def met(self) -> bool | None:
        """Whether the bar is met; None where there is none."""
        if self.bar is None:
            return None
        return self.ratio >= self.bar if self.at_least else self.ratio <= self.bar


def row_of(
    name: str,
    ratios: Sequence[float],
    *,
    bar: float | None = None,
    nulls: Sequence[float] = (),
    unit: str = "×",
    at_least: bool = False,
    note: str = "",
) -> Row:
    """A row from the ratios of all rounds."""
    return Row(
        name=name,
        ratio=statistics.median(ratios),
        low=min(ratios) if len(ratios) > 1 else None,
        high=max(ratios) if len(ratios) > 1 else None,
        null=statistics.median(nulls) if nulls else None,
        bar=bar,
        unit=unit,
        at_least=at_least,
        note=note,
    )

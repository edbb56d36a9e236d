"""One row of the table: a measurement, its baseline and its bar."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

import attrs

__all__ = ["Row", "Series", "row_of"]

Series = Mapping[str, Sequence[tuple[float, float]]]


@attrs.frozen(kw_only=True)
class Row:
    """One comparison."""

    name: str
    ratio: float
    """Median of all rounds."""
    bar: float | None = None
    """Maximum of the ratio (minimum, with `at_least`); None: no verdict."""
    low: float | None = None
    high: float | None = None
    """Minimum and maximum of all rounds; None if there is only one."""
    null: float | None = None
    """The baseline compared with itself: about 1, or about 0 for a difference."""
    unit: str = "×"
    """"×", or the unit of a difference (ms, MB)."""
    at_least: bool = False
    note: str = ""
    """Absolute figures of both sides, for instance."""
    series: Series = attrs.field(factory=dict)
    """Points of a plot by the name of their line."""

    @property
    def is_noisy(self) -> bool:
        """Whether the null is off: by more than 3 %, or by more than a fifth of the bar."""
        if self.null is None:
            return False
        if self.unit == "×":
            return abs(round(100 * self.null) - 100) > 3
        return self.bar is not None and abs(self.null) > self.bar / 5

    @property
    def verdict(self) -> str:
        """The verdict: met, MISSED, or unsure; empty without a bar."""
        if self.bar is None:
            return ""
        is_met = self.ratio >= self.bar if self.at_least else self.ratio <= self.bar
        return ("unsure" if self.is_noisy else "met") if is_met else "MISSED"


def row_of(
    name: str,
    ratios: Sequence[float],
    *,
    bar: float,
    nulls: Sequence[float] = (),
    unit: str = "×",
    at_least: bool = False,
    note: str = "",
) -> Row:
    """Return the row of the ratios of all rounds."""
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

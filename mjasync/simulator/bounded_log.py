"""What a simulator writes down, within a bound."""

from __future__ import annotations

import logging
from typing import Final, TypeVar

__all__ = ["BoundedLog"]

_T = TypeVar("_T")
_LOG: Final = logging.getLogger(__name__)


class BoundedLog(list[_T]):
    """A list that forgets its oldest entries once it is too long.

    Args:
        what: What it holds, for the log.
        limit: The most entries it keeps; None: any number.
    """

    def __init__(self, entry_name: str, limit: int | None) -> None:
        super().__init__()
        self.limit = limit
        """The most entries it keeps; None: any number."""
        self.dropped: int = 0
        """How many entries it has forgotten."""
        self._entry_name = entry_name

    def append(self, entry: _T) -> None:
        """Add an entry; a tenth of the oldest go when there are too many."""
        super().append(entry)
        if self.limit is None or len(self) <= self.limit:
            return
        if not self.dropped:
            _LOG.warning(
                "more than %d %s: the oldest are dropped from the record (record_limit=)",
                self.limit,
                self._entry_name,
            )
        count = max(1, self.limit // 10)
        self.dropped += count
        del self[:count]

"""A list with a maximum length, for the records of a simulator."""

from __future__ import annotations

import logging
from typing import Final, TypeVar

_T = TypeVar("_T")
_LOG: Final = logging.getLogger(__name__)


class BoundedLog(list[_T]):
    """A list that drops its oldest entries above a maximum length.

    Args:
        entry_name: A name for its entries, for the log.
        limit: The maximum number of entries; None: no maximum.
    """

    def __init__(self, entry_name: str, limit: int | None) -> None:
        super().__init__()
        self.limit = limit
        """The maximum number of entries; None: no maximum."""
        self.dropped: int = 0
        """The number of entries dropped so far."""
        self._entry_name = entry_name

    def append(self, entry: _T) -> None:
        """Add an entry; drop the oldest tenth if there are too many."""
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

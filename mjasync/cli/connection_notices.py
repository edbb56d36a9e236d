"""Notices that a server does not respond or accept, and that it does again."""

from __future__ import annotations

from typing import Final

from ..errors import ConnectionFailed, MJError, SubmitUncertain
from .task_text import one_line

_FIRST_NOTICE_SECONDS: Final = 2.0
"""Seconds until the first notice about a server that went away or cannot be read."""
_RECONNECTED: Final = "The server answers again."
_CONTINUES: Final = "It goes on."
_REPEAT_SECONDS: Final = 60.0
"""Seconds between two notices, and until the first one about a busy server."""


class ConnectionNotices:
    """Decides when to print which notice."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._last_notice = float("-inf")
        self._is_open = False
        """Whether a problem was printed, and its end was not."""
        self._was_well = False
        self._goes_on = _CONTINUES

    def update(
        self,
        blocked_by: tuple[MJError, float] | None,
        now: float,
        *,
        is_well: bool = True,
        is_busy: bool = False,
    ) -> str:
        """Return the notice to print now; "" for none.

        Args:
            blocked_by: The current error, and the seconds for which it is still retried.
            now: The time of a monotonic clock, in seconds.
            is_well: Whether the server is known to respond if there is no error.
            is_busy: Whether refusals of a busy server, such as a full queue, are expected.
        """
        if blocked_by is None:
            return self._recovered(is_well=is_well)
        error, seconds = blocked_by
        self._since = now if self._since is None else self._since
        if (
            now - self._since < self._notice_after(error, is_busy=is_busy)
            or now - self._last_notice < _REPEAT_SECONDS
        ):
            return ""
        self._last_notice, self._is_open = now, True
        reason = one_line(error.message)
        if error.description:
            reason += f" The server said: {one_line(error.description, 120)!r}."
        if isinstance(error, SubmitUncertain):
            reason += " Until one is accepted, one submission at a time is tried."
        self._goes_on = _RECONNECTED if isinstance(error, ConnectionFailed) else _CONTINUES
        if seconds < float("inf"):
            limit = f"{round(seconds)} s" if seconds < 120 else f"{round(seconds / 60)} min"
            return f"{reason} Trying again for up to {limit}."
        return f"{reason} Trying again."

    def _notice_after(self, error: MJError, *, is_busy: bool) -> float:
        """Return the seconds until the first notice: 0 if the server has never responded."""
        if not isinstance(error, ConnectionFailed | SubmitUncertain) and is_busy:
            return _REPEAT_SECONDS
        return _FIRST_NOTICE_SECONDS if self._was_well else 0.0

    def _recovered(self, *, is_well: bool) -> str:
        self._since = None
        if not is_well:
            return ""
        was_open, self._is_open, self._was_well = self._is_open, False, True
        if not was_open:
            return ""
        self._last_notice = float("-inf")
        return self._goes_on

"""When to speak of a server that takes or tells nothing, and of its coming back. Pure."""

from __future__ import annotations

from typing import Final

from ..errors import ConnectionFailed, MJError, SubmitUncertain
from .task_text import duration, one_line

__all__ = ["ConnectionNotices"]

_FIRST_NOTICE_SECONDS: Final = 2.0
"""Seconds after which a server that went away, or cannot be read, is worth a word."""
_RECONNECTED: Final = "The server answers again."
_CONTINUES: Final = "It goes on."
_REPEAT_SECONDS: Final = 60.0
"""Seconds between two words, and before the first one about a server that is merely busy."""


class ConnectionNotices:
    """What has been said of a server's trouble so far."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._last_notice = float("-inf")
        self._is_open = False
        """Whether something was said, and not yet that it is over."""
        self._was_well = False
        self._goes_on = _CONTINUES

    def update(
        self,
        held: tuple[MJError, float] | None,
        now: float,
        *,
        is_well: bool = True,
        is_busy: bool = False,
    ) -> str:
        """Take in how things stand; return what to say, or "".

        Args:
            held: What the server is held up by, and for how many seconds more it is tried.
            now: Seconds on any clock that only goes forward.
            is_well: Whether, without trouble, the server is known to answer.
            is_busy: Whether it may be no trouble but the usual, as a full queue is.
        """
        if held is None:
            return self._recovered(is_well=is_well)
        error, seconds = held
        self._since = now if self._since is None else self._since
        if (
            now - self._since < self._notice_after(error, is_busy=is_busy)
            or now - self._last_notice < _REPEAT_SECONDS
        ):
            return ""
        self._last_notice, self._is_open = now, True
        reason = f"{one_line(error.message)}{_describe(error)}"
        if isinstance(error, SubmitUncertain):
            reason += " Until one is accepted, one submission at a time is tried."
        self._goes_on = _RECONNECTED if isinstance(error, ConnectionFailed) else _CONTINUES
        limit = f" for up to {duration(seconds)}" if seconds < float("inf") else ""
        return f"{reason} Trying again{limit}."

    def _notice_after(self, error: MJError, *, is_busy: bool) -> float:
        """Seconds before the first word: none where nobody has answered yet."""
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


def _describe(error: MJError) -> str:
    return f" The server said: {one_line(error.description, 120)!r}." if error.description else ""

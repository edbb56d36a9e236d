"""Signals that ask to stop: the first one ends the work in good order, the last one at once."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Final, Self

from .. import cancel_in_flight_submissions

__all__ = ["GracefulShutdown"]

_SIGNALS: Final = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT")
    if hasattr(signal, name)  # Windows has neither of the last two
)
_REPEAT_SECONDS: Final = 1.0
"""Seconds within which another signal than Ctrl-C repeats the one before it: `timeout` signals the
process, and then the group that it is in; systemd sends SIGHUP after SIGTERM; a terminal that goes
away is told of by the kernel and by the shell."""


class GracefulShutdown:
    """`with Stop(…) as stop:` cancels its body on a signal and swallows the cancellation.

    Args:
        first: Called when the signal comes that cancels the body, before it does.
        again: Called when another one comes; the process ends after it.
        drain: Called at the first Ctrl-C, instead: True where the body will end by itself soon,
            and only the next signal is to cancel it. The other signals, SIGHUP of a connection
            that was dropped among them, are for those who cannot wait.
    """

    def __init__(
        self,
        on_cancel: Callable[[], None],
        on_abort: Callable[[], None],
        on_drain: Callable[[], bool] = lambda: False,
    ) -> None:
        self._on_cancel = on_cancel
        self._on_abort = on_abort
        self._on_drain = on_drain
        self._handlers: dict[signal.Signals, Any] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None
        self._is_cancelled = False
        self._last_notice = float("-inf")
        self.exit_code: int | None = None
        """128 and the number of the first signal; None while there was none."""

    def __enter__(self) -> Self:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                handler = signal.getsignal(number)
                if handler is not signal.SIG_IGN:  # as nohup and shells in the background set it
                    self._handlers[number] = handler
                    signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        for number, handler in self._handlers.items():
            signal.signal(number, handler or signal.SIG_DFL)
        if not self._is_cancelled or self._task is None:
            return False
        self._task.uncancel()
        return exc_type is asyncio.CancelledError

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if number != signal.SIGINT:
            before, self._last_notice = self._last_notice, time.monotonic()
            if self._last_notice - before < _REPEAT_SECONDS:
                return
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stop, number)

    def _stop(self, number: int) -> None:
        is_new = self.exit_code is None
        self.exit_code = self.exit_code or 128 + number
        if self._is_cancelled:
            self._on_abort()
            cancel_in_flight_submissions()
            raise SystemExit(self.exit_code)
        if is_new and number == signal.SIGINT and self._on_drain():
            return
        self._is_cancelled = True
        self._on_cancel()
        if self._task is not None:
            self._task.cancel()

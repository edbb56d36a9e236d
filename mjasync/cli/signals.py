"""Signals that stop a command: the first ones gracefully, the last one at once."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Final, Self

from .. import cancel_in_flight_submissions

_SIGNALS: Final = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT")
    if hasattr(signal, name)  # Windows has neither of the last two
)
_REPEAT_SECONDS: Final = 1.0
"""Seconds within which two signals other than Ctrl-C count as one.

`timeout` signals a process and then its group. systemd sends SIGHUP after SIGTERM. When a terminal
is closed, the kernel and the shell both send one."""


class GracefulShutdown:
    """Cancels the body of `with GracefulShutdown(…)` on a signal, and catches the cancellation.

    Args:
        on_cancel: Called before a signal cancels the body.
        on_abort: Called at the next signal, before the process ends.
        on_drain: Called at the first Ctrl-C instead of `on_cancel`. If it returns True, the body
            will end by itself, and only the next signal cancels it. Other signals never drain.
    """

    def __init__(
        self,
        on_cancel: Callable[[], None] = lambda: None,
        on_abort: Callable[[], None] = lambda: None,
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
        """128 plus the number of the first signal; None if there was none."""

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

"""Ctrl-C and SIGTERM: the first one ends the work in good order, the second one at once."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Final, Self

__all__ = ["Stop"]

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """`with Stop(…) as stop:` cancels its body on a signal and swallows the cancellation.

    Args:
        first: Called when the first signal comes, before the body is cancelled.
        again: Called when another one comes; the process ends after it.
    """

    def __init__(self, first: Callable[[], None], again: Callable[[], None]) -> None:
        self._first = first
        self._again = again
        self._handlers: dict[signal.Signals, Any] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None
        self.exit_code: int | None = None
        """128 and the number of the signal; None while there was none."""

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
        if self.exit_code is None or self._task is None:
            return False
        self._task.uncancel()
        return exc_type is asyncio.CancelledError

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stop, number)

    def _stop(self, number: int) -> None:
        if self.exit_code is not None:
            self._again()
            raise SystemExit(self.exit_code)
        self.exit_code = 128 + number
        self._first()
        if self._task is not None:
            self._task.cancel()

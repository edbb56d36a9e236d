"""The source of time, which tests replace so that they never wait."""

from __future__ import annotations

import asyncio
import time
import uuid
from functools import cache
from pathlib import Path
from typing import Final

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class Clock:
    """Monotonic time for durations, wall time for dates, and a sleep."""

    def now(self) -> float:
        """Return the seconds of a monotonic clock."""
        return time.monotonic()

    def wall(self) -> float:
        """Return the seconds since the epoch by the system clock, which may be set at any time."""
        return time.time()

    def uptime(self) -> float:
        """Return monotonic seconds that include suspended time, if the system supports it.

        Two processes may compare these values if their `boot_id` is the same. A subclass that
        overrides `now` gets its `now` here.
        """
        if type(self).now is not Clock.now or not hasattr(time, "CLOCK_BOOTTIME"):
            return self.now()
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def boot_id(self) -> str:
        """Return an identifier of this boot of the machine, or of this process if there is none."""
        return _boot_id()

    async def sleep(self, seconds: float) -> None:
        """Sleep for a number of seconds."""
        await asyncio.sleep(max(0.0, seconds))


@cache
def _boot_id() -> str:
    try:
        return _BOOT_ID.read_text("ascii").strip() or uuid.uuid4().hex
    except (OSError, ValueError):
        return uuid.uuid4().hex

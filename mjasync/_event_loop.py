"""The event loop that a client belongs to."""

from __future__ import annotations

import asyncio
from typing import Final

import attrs

from .errors import ConfigurationError

_ADVICE: Final = (
    "Nothing was sent. Make one Client in each asyncio.run(), or keep one loop for all calls with "
    "asyncio.Runner."
)


@attrs.define
class EventLoopBinding:
    """Ties a client to the event loop of its first call.

    Its connections, locks and waiting tasks live there: used in another loop, a submission would
    reach the server and its answer would be lost.
    """

    _loop: asyncio.AbstractEventLoop | None = None

    @property
    def is_bound(self) -> bool:
        """Whether the client was used yet."""
        return self._loop is not None

    def check(self) -> asyncio.AbstractEventLoop:
        """Return the running event loop; the first one becomes the client's.

        Raises:
            ConfigurationError: No asyncio loop is running, or another one than the client's.
        """
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            message = (
                "No asyncio event loop is running here, and mjasync runs on asyncio alone. Nothing "
                "was sent. Under trio, run it in a thread with asyncio.run(); with anyio, choose "
                'backend="asyncio".'
            )
            raise ConfigurationError(message) from None
        if self._loop is None:
            self._loop = running
        if self._loop is running:
            return running
        if self._loop.is_closed():
            message = f"This Client belongs to an event loop that is closed. {_ADVICE}"
        else:
            message = (
                "This Client belongs to another event loop: the one it was first used in, or that "
                f"of the session it was given. {_ADVICE}"
            )
        raise ConfigurationError(message)

"""`mjasync simulate`: the simulator as a server in its own process."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from ..errors import ConfigurationError
from ..simulator import Simulator
from .console import print_note, print_result
from .server_options import check_extra
from .signals import GracefulShutdown


def serve(**options: Any) -> int:  # noqa: ANN401 - those of the Simulator
    """Run a simulator until a signal arrives; return the exit code.

    Raises:
        ConfigurationError: An option is not valid.
    """
    check_extra("sim")
    try:
        simulator = Simulator(**options)
    except ValueError as error:
        message = f"The simulator cannot be set up: {error}."
        raise ConfigurationError(message) from error
    return asyncio.run(_serve(simulator, f"{options['host']}:{options['port']}"))


async def _serve(simulator: Simulator, address: str) -> int:
    with GracefulShutdown():
        try:
            await simulator.start()
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else error.strerror or error
            print_note(
                f"mjasync: The simulator cannot listen on {address}: {reason}. "
                "Choose another --port; 0 picks a free one."
            )
            return 1
        try:
            _print_greeting(simulator)
            await asyncio.get_running_loop().create_future()
        finally:
            await simulator.stop()
    print_note(f"Stopped. Submissions accepted: {len(simulator.submissions)}")
    return 0


def _print_greeting(simulator: Simulator) -> None:
    """Print the address on stdout, for scripts, and how to use it on stderr."""
    print_result(simulator.url)
    token = " and its token in MJASYNC_TOKEN" if simulator.token else ""
    print_note(
        f"A simulated {simulator.dialect.name} server listens there; Ctrl-C stops it.\n"
        f"In another terminal, with MJASYNC_BASE_URL={simulator.url}{token}:\n"
        '  mjasync imagine "a lighthouse in a storm"'
    )

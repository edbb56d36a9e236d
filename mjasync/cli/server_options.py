"""Which server the commands talk to: the shared options, and the client they make."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any, Final, Literal

import attrs
from cyclopts import Group, Parameter
from cyclopts.validators import Number

from .. import Client, ConfigurationError, Schedule
from .batch_options import without_password

__all__ = ["ServerOptions", "check_drawing_support", "check_ledger_support"]

_GROUP: Final = Group("Server", sort_key=10)
_TIME_SCALE: Final = 0.01
"""Of the simulator inside the process: a grid takes 0.4 s."""
_MIN_CONCURRENCY: Final = 3
"""Jobs that simulator runs at once, as a real account does."""


@attrs.frozen(kw_only=True)
class ServerOptions:
    """The options that say where the server is, or that a simulated one will do."""

    base_url: Annotated[
        str | None,
        Parameter(
            group=_GROUP, help="The server, in any form people paste it. [env: MJASYNC_BASE_URL]"
        ),
    ] = None
    token: Annotated[
        str | None,
        Parameter(
            group=_GROUP,
            help=(
                "Its token. Prefer the environment: everybody on this machine can read a "
                "command line. [env: MJASYNC_TOKEN]"
            ),
        ),
    ] = attrs.field(default=None, repr=False)
    speed: Annotated[
        str | None, Parameter(group=_GROUP, help="relax, fast or turbo. [env: MJASYNC_SPEED]")
    ] = None
    speed_via: Annotated[
        Literal["path", "prompt", "both"],
        Parameter(group=_GROUP, help="How the speed is asked for: path (the usual), prompt, both."),
    ] = "path"
    image_host: Annotated[
        str | None,
        Parameter(group=_GROUP, help="relay, origin or proxy. [env: MJASYNC_IMAGE_HOST]"),
    ] = None
    auth: Annotated[
        str | None,
        Parameter(
            group=_GROUP, help="How the token is sent: secret or bearer. [env: MJASYNC_AUTH]"
        ),
    ] = None
    proxy: Annotated[
        str | None,
        Parameter(
            group=_GROUP,
            help=(
                "An HTTP proxy for all requests; by default that of the environment. "
                "[env: HTTPS_PROXY, NO_PROXY…]"
            ),
        ),
    ] = attrs.field(default=None, repr=False)
    timeout: Annotated[
        float | None,
        Parameter(
            group=_GROUP,
            validator=Number(gt=0),
            help=(
                "Seconds for the whole command; in a batch, to wait for each task. An hour by "
                "default."
            ),
        ),
    ] = None
    simulate: Annotated[
        bool,
        Parameter(
            group=_GROUP, help="Use a simulated server inside this process: nothing is paid."
        ),
    ] = False

    def check(self) -> None:
        """Raise when there is nothing to talk to, or two things.

        Raises:
            ConfigurationError: Neither a server nor the simulator was asked for, or both were.
        """
        if self.simulate and self.base_url:
            message = "Choose one: --base-url, or --simulate."
            raise ConfigurationError(message)
        if self.simulate:
            check_drawing_support()
        elif not (self.base_url or os.environ.get("MJASYNC_BASE_URL")):
            message = (
                "No server. Either name one with --base-url URL (or MJASYNC_BASE_URL), "
                "or try it without one: --simulate."
            )
            raise ConfigurationError(message)

    @asynccontextmanager
    async def open(self, concurrency: int) -> AsyncIterator[Client]:
        """Open a client to the server, or to a simulator that runs `concurrency` jobs.

        Raises:
            ConfigurationError: The options make no sense.
        """
        options = self.options()
        if not self.simulate:
            ways: dict[str, Any] = {"proxy": self.proxy, "trust_env": self.proxy is None}
            async with Client(self.base_url, self.token, **ways, **options) as mj:
                mj.proxy_url()  # an environment that cannot be used is reported at once
                yield mj
            return
        async with _simulated(concurrency, options) as mj:
            yield mj

    def options(self) -> dict[str, Any]:
        """What a client is made with, but for the server."""
        options: dict[str, Any] = {
            "speed": self.speed,
            "speed_via": self.speed_via,
            "image_host": self.image_host,
            "auth": self.auth,
            "reconcile": True,
        }
        if self.timeout is not None:
            options["timeout"] = self.timeout
        return options

    def flags(self) -> list[str]:
        """The options a follow-up command needs to reach the same server; never the token."""
        given = {
            "--base-url": self.base_url,
            "--auth": self.auth,
            "--image-host": self.image_host,
            "--proxy": self.proxy and without_password(self.proxy),
        }
        return [word for flag, value in given.items() if value for word in (flag, value)]


@asynccontextmanager
async def _simulated(concurrency: int, options: dict[str, Any]) -> AsyncIterator[Client]:
    from ..simulator import Simulator

    schedule = Schedule(min_interval=0.02, max_interval=0.1, coalesce=0.02)
    running = max(concurrency, _MIN_CONCURRENCY)
    async with (
        Simulator(token=None, time_scale=_TIME_SCALE, concurrency=running) as sim,
        Client(sim.url, "simulated", schedule=schedule, **options) as mj,
    ):
        yield mj


def check_drawing_support() -> None:
    """Raise when the simulator cannot draw.

    Raises:
        ConfigurationError: Pillow is not installed.
    """
    _require({"PIL": "Pillow"}, "The simulator draws with", "sim")


def check_ledger_support() -> None:
    """Raise when there can be no ledger.

    Raises:
        ConfigurationError: What it needs is not installed.
    """
    needed = {"sqlalchemy": "SQLAlchemy", "aiosqlite": "aiosqlite", "PIL": "Pillow"}
    _require(needed, "Batches are kept and shown with", "batch")


def _require(modules: Mapping[str, str], purpose: str, extra: str) -> None:
    missing = [name for module, name in modules.items() if not importlib.util.find_spec(module)]
    if missing:
        names = " and ".join(missing)
        message = f'{purpose} {names}: python -m pip install "mjasync[{extra}]".'
        raise ConfigurationError(message)

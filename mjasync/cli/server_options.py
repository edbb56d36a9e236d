"""The options that name the server, and the client that they make."""

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
from .batch_options import flags_of

_TIME_SCALE: Final = 0.01
"""Real seconds per second of the simulator in this process: a grid takes 0.4 s."""
_MIN_CONCURRENCY: Final = 3
"""The number of jobs that this simulator runs at once, like a real account."""
_EXTRAS: Final[Mapping[str, tuple[str, Mapping[str, str]]]] = {
    "sim": ("The simulator draws with", {"PIL": "Pillow"}),
    "batch": (
        "Batches are kept and shown with",
        {"sqlalchemy": "SQLAlchemy", "aiosqlite": "aiosqlite", "PIL": "Pillow"},
    ),
}
"""What an extra is for, and its packages by module."""


@Parameter(name="*", group=Group("Server", sort_key=10))
@attrs.frozen(kw_only=True)
class ServerOptions:
    """The server, or a simulated one.

    Args:
        base_url: The server, by any address in common use. [env: MJASYNC_BASE_URL]
        token: Its token. Prefer the environment, which is private. [env: MJASYNC_TOKEN]
        speed: relax, fast or turbo. [env: MJASYNC_SPEED]
        speed_via: How the speed is sent: path (the usual), prompt, both.
        image_host: relay, origin or proxy. [env: MJASYNC_IMAGE_HOST]
        auth: How the token is sent: secret or bearer. [env: MJASYNC_AUTH]
        proxy: The HTTP proxy of all requests; default: [env: HTTPS_PROXY, NO_PROXY…]
        timeout: Seconds for the whole command; in a batch, for each task. By default an hour.
        simulate: Use a simulated server inside this process: nothing is paid.
    """

    base_url: str | None = None
    token: str | None = attrs.field(default=None, repr=False)
    speed: str | None = None
    speed_via: Literal["path", "prompt", "both"] = "path"
    image_host: str | None = None
    auth: str | None = None
    proxy: str | None = attrs.field(default=None, repr=False)
    timeout: Annotated[float | None, Parameter(validator=Number(gt=0))] = None
    simulate: bool = False

    def check(self) -> None:
        """Check that there is either a server or a simulator.

        Raises:
            ConfigurationError: Both are named, neither is, or the simulator cannot draw.
        """
        if self.simulate and self.base_url:
            message = "Choose one: --base-url, or --simulate."
            raise ConfigurationError(message)
        if self.simulate:
            check_extra("sim")
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
            ConfigurationError: An option is not valid.
        """
        options = self.options()
        if self.simulate:
            from ..simulator import Simulator

            running = max(concurrency, _MIN_CONCURRENCY)
            schedule = Schedule(min_interval=0.02, max_interval=0.1, coalesce=0.02)
            async with (
                Simulator(token=None, time_scale=_TIME_SCALE, concurrency=running) as sim,
                Client(sim.url, "simulated", schedule=schedule, **options) as mj,
            ):
                yield mj
            return
        network: dict[str, Any] = {"proxy": self.proxy, "trust_env": self.proxy is None}
        async with Client(self.base_url, self.token, **network, **options) as mj:
            mj.proxy_url()  # an environment that cannot be used is reported at once
            yield mj

    def options(self) -> dict[str, Any]:
        """Return the arguments of a client, except for the server."""
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
        """Return the options that follow-up commands need to reach the server; never the token."""
        return flags_of(
            ServerOptions(
                base_url=self.base_url,
                image_host=self.image_host,
                auth=self.auth,
                proxy=self.proxy,
            )
        )


def check_extra(extra: Literal["sim", "batch"]) -> None:
    """Check that the packages of an extra are installed.

    Raises:
        ConfigurationError: A package is missing.
    """
    purpose, modules = _EXTRAS[extra]
    missing = [name for module, name in modules.items() if not importlib.util.find_spec(module)]
    if missing:
        names = " and ".join(missing)
        message = f'{purpose} {names}: python -m pip install "mjasync[{extra}]".'
        raise ConfigurationError(message)

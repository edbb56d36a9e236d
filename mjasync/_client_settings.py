"""The settings of a client: checked, with their defaults from the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final, Protocol, get_args

import attrs

from ._clock import Clock
from ._http.network import NetworkSettings, SecretHeader
from ._http.retry import Retries
from ._models import Auth, ImageHost, Speed, SpeedVia
from ._polling.schedule import PollSchedule
from ._protocol.urls import ServerUrl
from .errors import ConfigurationError

_LITERAL_CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "speed": get_args(Speed),
    "image_host": get_args(ImageHost),
    "auth": get_args(Auth),
    "speed_via": get_args(SpeedVia),
}


@attrs.frozen(kw_only=True)
class ClientConfig:
    """The checked settings of a client."""

    url: ServerUrl
    token: SecretHeader = attrs.field(repr=False)
    auth: Auth
    speed: Speed | None
    speed_via: SpeedVia
    network: NetworkSettings
    retries: Retries
    schedule: PollSchedule
    reconcile: bool | None
    limit: int | None
    timeout: float
    stall_timeout: float
    not_found_grace: float
    read_timeout: float
    submit_timeout: float
    clock: Clock

    @property
    def has_token(self) -> bool:
        """Whether there is a token."""
        return bool(self.token.strip())

    @property
    def image_host(self) -> ImageHost | None:
        """The host of image links; None for the default of the server."""
        return self.url.image_host

    @property
    def speed_by_path(self) -> bool:
        """Whether the path of a request asks for a speed."""
        return self.speed_via != "prompt"

    @property
    def speed_by_prompt(self) -> bool:
        """Whether a flag in the prompt asks for a speed."""
        return self.speed_via != "path"


class SecretString(Protocol):
    """A token that hides its value in `repr`, such as pydantic's `SecretStr`."""

    def get_secret_value(self) -> str: ...


def check_limit(limit: object) -> None:
    if limit is None:
        return
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
        message = f"limit must be a whole number, at least 1, or None for no limit, not {limit!r}."
        raise ConfigurationError(message)


def read_token(token: object) -> SecretHeader:
    """Return the token, also from a `SecretStr` or the environment.

    Raises:
        ConfigurationError: The token is not a string.
    """
    unwrap = getattr(token, "get_secret_value", None)
    token = unwrap() if callable(unwrap) else token
    if token is None:
        token = os.environ.get("MJASYNC_TOKEN", "")
    if not isinstance(token, str):
        advice = ": decode it first" if isinstance(token, bytes | bytearray) else ""
        message = f"The token must be text, not {type(token).__name__}{advice}."
        raise ConfigurationError(message)
    return SecretHeader(token)


def check_parts(schedule: object, retries: object, clock: object) -> None:
    """Check the types of objects, which are easily confused with their classes or with numbers.

    Raises:
        ConfigurationError: One of them has the wrong type.
    """
    if retries is not None and not isinstance(retries, Retries):
        message = (
            f"retries must be a Retries(…), as in Retries(read=RetryPolicy(max_attempts=3)), not "
            f"{retries!r}; Retries.none() tries nothing again."
        )
        raise ConfigurationError(message)
    if schedule is not None:
        is_schedule = callable(getattr(schedule, "next_delay", None)) and hasattr(
            schedule, "coalesce"
        )
        if isinstance(schedule, type) or not is_schedule:
            message = (
                f"schedule must be an object such as Schedule(max_interval=10), not {schedule!r}."
            )
            raise ConfigurationError(message)
    if clock is not None and not isinstance(clock, Clock):
        message = f"clock must be a Clock(), not {clock!r}."
        raise ConfigurationError(message)


def read_base_url(base_url: object) -> str:
    if base_url and not isinstance(base_url, str):
        if not hasattr(base_url, "scheme"):  # as URL objects have one
            message = f"base_url must be text, not {type(base_url).__name__}."
            raise ConfigurationError(message)
        base_url = str(base_url)
    base_url = str(base_url or "") or os.environ.get("MJASYNC_BASE_URL")
    if not base_url:
        message = (
            "No base URL: pass one, as in Client('https://api.example.com', 'token'), "
            "or set MJASYNC_BASE_URL."
        )
        raise ConfigurationError(message)
    return base_url


def read_choice(name: str, value: Any, variable: str) -> Any:  # noqa: ANN401 - one of a Literal
    is_given = value is not None and value != ""
    value = value if is_given else os.environ.get(variable) or None
    if value is not None and value not in _LITERAL_CHOICES[name]:
        message = f"{name} must be {_join_with_or(_LITERAL_CHOICES[name])}, not {value!r}."
        raise ConfigurationError(message)
    return value


def _join_with_or(choices: tuple[str, ...]) -> str:
    return f"{', '.join(choices[:-1])} or {choices[-1]}"

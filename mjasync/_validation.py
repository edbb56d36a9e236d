"""Checks of arguments, made before anything is sent."""

from __future__ import annotations

import math
from enum import Enum
from typing import Any, Final

import attrs

from .errors import ConfigurationError, InvalidRequest


class ClientDefault(Enum):
    """The default of arguments for which None means "no limit"."""

    CLIENT_DEFAULT = "the client's default"

    def __repr__(self) -> str:
        return "CLIENT_DEFAULT"


CLIENT_DEFAULT: Final = ClientDefault.CLIENT_DEFAULT


def check_seconds(name: str, value: Any, *, zero: bool = True) -> float:  # noqa: ANN401 - to be checked
    """Check a duration, and return it as a float; None means no limit.

    Args:
        name: The name of the argument, for the error.
        value: The value.
        zero: Whether 0 is allowed.

    Raises:
        ConfigurationError: The value is not a duration.
    """
    if value is None:
        return math.inf
    if _is_number(value) and (value > 0 or (zero and value == 0)):
        return float(value)
    minimum = "0 or more" if zero else "more than 0"
    message = f"{name} must be a number of seconds, {minimum}, or None for no limit, not {value!r}."
    raise ConfigurationError(message)


def validate_at_least(minimum: float, *, whole: bool = False, finite: bool = True) -> Any:  # noqa: ANN401 - as attrs types validators
    """Return a validator of attrs for a number with a minimum.

    Args:
        minimum: The minimum.
        whole: Whether the number must be an integer.
        finite: Whether the number must be finite.
    """

    def check(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
        is_valid = _is_number(value) and value >= minimum  # type: ignore[operator]
        if whole:
            is_valid = is_valid and isinstance(value, int)
        elif finite:
            is_valid = is_valid and math.isfinite(value)  # type: ignore[arg-type]
        if not is_valid:
            kind = "a whole number" if whole else "a number"
            message = (
                f"{type(instance).__name__}: {attribute.name} must be {kind}, {minimum:g} or more, "
                f"not {value!r}."
            )
            raise ConfigurationError(message)

    return check


def check_task_id(value: object, name: str = "task id") -> str:
    """Check an id, and return it as a string; an integer is converted.

    Args:
        value: The id.
        name: The name of the argument, for the error.

    Raises:
        InvalidRequest: The id is empty, or neither a string nor an integer.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        message = f"A {name} must be a string, not {type(value).__name__} ({value!r})."
        raise InvalidRequest(message)
    if not value.strip():
        message = f"A {name} must not be empty."
        raise InvalidRequest(message)
    if not value.isascii():
        check_encodable(value, f"The {name}")
    return value.strip()


def check_encodable(text: str, what: str) -> None:
    """Check that a text can be encoded as UTF-8.

    Args:
        text: The text.
        what: The subject of the message: "The prompt".

    Raises:
        InvalidRequest: The text contains a lone surrogate.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        message = (
            f"{what} contains half a character at position {error.start} ({text[error.start]!r}): "
            "a lone surrogate, which remains when an emoji is split. It cannot be sent."
        )
        raise InvalidRequest(message) from None


def _is_number(value: object) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and not math.isnan(value)  # type: ignore[arg-type]

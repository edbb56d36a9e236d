"""Checks of what callers set, made where it is given and before anything is sent."""

from __future__ import annotations

import math
from enum import Enum
from typing import Any, Final

import attrs

from .errors import ConfigurationError, InvalidRequest

__all__ = [
    "CLIENT_DEFAULT",
    "ClientDefault",
    "check_encodable",
    "check_seconds",
    "check_task_id",
    "validate_at_least",
]


class ClientDefault(Enum):
    """Stands for an argument that was not given, where None means "no limit"."""

    CLIENT_DEFAULT = "the client's default"

    def __repr__(self) -> str:
        return "CLIENT_DEFAULT"


CLIENT_DEFAULT: Final = ClientDefault.CLIENT_DEFAULT


def check_seconds(name: str, value: Any, *, zero: bool = True) -> float:  # noqa: ANN401 - to be checked
    """Check a duration; None is no limit.

    Args:
        name: What it is called in the error.
        value: What was given.
        zero: Whether 0 makes sense.

    Raises:
        ConfigurationError: It is no duration.
    """
    if value is None:
        return math.inf
    if _is_number(value) and (value > 0 or (zero and value == 0)):
        return float(value)
    least = "0 or more" if zero else "more than 0"
    message = f"{name} must be a number of seconds, {least}, or None for no limit, not {value!r}."
    raise ConfigurationError(message)


def validate_at_least(least: float, *, whole: bool = False, finite: bool = True) -> Any:  # noqa: ANN401 - as attrs types validators
    """Return a validator of attrs for a number that must not be less.

    Args:
        least: The least that makes sense.
        whole: It must be an integer.
        finite: It must not be infinite.
    """

    def check(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
        good = _is_number(value) and value >= least  # type: ignore[operator]
        if whole:
            good = good and isinstance(value, int)
        elif finite:
            good = good and math.isfinite(value)  # type: ignore[arg-type]
        if not good:
            kind = "a whole number" if whole else "a number"
            message = (
                f"{type(instance).__name__}: {attribute.name} must be {kind}, {least:g} or more, "
                f"not {value!r}."
            )
            raise ConfigurationError(message)

    return check


def check_task_id(value: object, name: str = "task id") -> str:
    """Check an id; a whole number is taken as its digits.

    Raises:
        InvalidRequest: It is empty, or no id.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        message = f"A {name} is text, not {type(value).__name__} ({value!r})."
        raise InvalidRequest(message)
    if not value.strip():
        message = f"A {name} must not be empty."
        raise InvalidRequest(message)
    if not value.isascii():
        check_encodable(value, f"The {name}")
    return value.strip()


def check_encodable(text: str, what: str) -> None:
    """Refuse text that UTF-8 cannot carry.

    Raises:
        InvalidRequest: It holds half a surrogate pair.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        message = (
            f"{what} holds half a character at position {error.start} ({text[error.start]!r}): a "
            "lone surrogate, as is left where an emoji was cut in two. No server can take it."
        )
        raise InvalidRequest(message) from None


def _is_number(value: object) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and not math.isnan(value)  # type: ignore[arg-type]

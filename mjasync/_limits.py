"""How much of an answer is taken in."""

from __future__ import annotations

import attrs

from .errors import ConfigurationError

__all__ = ["Limits"]


def _validate_bytes(_: object, field: attrs.Attribute[int], value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        message = f"Limits({field.name}=…) must be a number of bytes above 0, not {value!r}."
        raise ConfigurationError(message)


@attrs.frozen(kw_only=True)
class Limits:
    """The most bytes of one answer, unpacked where it comes compressed.

    A longer one is `ReplyTooLarge`: no server can fill the memory or the disk.
    """

    reply: int = attrs.field(default=16 << 20, validator=_validate_bytes)
    """Of an answer to an API call: JSON, or an error."""
    picture: int = attrs.field(default=256 << 20, validator=_validate_bytes)
    """Of a picture."""
    video: int = attrs.field(default=2 << 30, validator=_validate_bytes)
    """Of a video."""

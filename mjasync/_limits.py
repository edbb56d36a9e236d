"""Maximum sizes of responses."""

from __future__ import annotations

import attrs

from .errors import ConfigurationError


def _validate_bytes(_: object, field: attrs.Attribute[int], value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        message = f"Limits({field.name}=…) must be a number of bytes above 0, not {value!r}."
        raise ConfigurationError(message)


@attrs.frozen(kw_only=True)
class Limits:
    """Maximum sizes in bytes, after decompression. A longer response raises `ReplyTooLarge`.

    The limits keep a server from filling the memory or the disk.
    """

    reply: int = attrs.field(default=16 << 20, validator=_validate_bytes)
    """Of a response of the API."""
    picture: int = attrs.field(default=256 << 20, validator=_validate_bytes)
    """Of an image."""
    video: int = attrs.field(default=2 << 30, validator=_validate_bytes)
    """Of a video."""

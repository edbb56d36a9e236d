"""Reading the fields of a request in the way of the dialect's server."""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_to_bytes

import attrs

from .responses import RequestRefused, asp_net_error, make_refusal
from .sim_task import UploadedImage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .dialect import Dialect
    from .sim_task import SubmissionRequest

_DATA_URL: Final = re.compile(r"data:[\w.+-]+/[\w.+-]+(?:;[\w=.+-]+)*;base64,(.*)", re.DOTALL)
_ANY_DATA_URL: Final = re.compile(r"data:([^,]*),(.*)", re.DOTALL)
_INTEGER: Final = re.compile(r"[+-]?\d+")
_INT_RANGE: Final = range(-(2**31), 2**31)
_HTTP_LINK: Final = re.compile(r"https?://\S+")
_PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_SPEEDS: Final = ("FAST", "TURBO", "RELAX")
_BOTS: Final = {"NIJI_JOURNEY": "NIJI_JOURNEY", "niji": "NIJI_JOURNEY"}


@attrs.frozen
class RequestFields:
    """The fields of one request, validated when they are read.

    Every method raises `RequestRefused` if the server would refuse the request.
    """

    request: SubmissionRequest
    dialect: Dialect

    def get(self, key: str, default: object = None) -> object:
        """Return the value of a key, matched as this server matches keys (PROTOCOL §1.0)."""
        return _lookup(
            self.request.body, key, default, ignores_key_case=self.request.ignores_key_case
        )

    def malformed_refusal(self, status: int = 400) -> RequestRefused:
        """Create the refusal of a body that cannot be bound."""
        return RequestRefused(self.dialect.malformed_response(status, self.request.path))

    def text(self, key: str) -> str:
        """Return a string without surrounding whitespace; empty if absent.

        Jackson keeps the whitespace, but treats a blank string as absent.
        """
        value = self.strict_text(key) or ""
        return value if self.dialect.uses_jackson and value.strip() else value.strip()

    def strict_text(self, key: str) -> str | None:
        """Return a string as it was sent; None if absent."""
        value = self.get(key)
        return None if value is None else self._to_text(value)

    def integer(self, key: str) -> int | None:
        """Return an integer; every server also accepts one in a string."""
        value = self.get(key)
        if self.dialect.uses_jackson:
            return self._to_jackson_int(value)
        if isinstance(value, str) and value.strip().isdecimal():
            return int(value)
        if value is None or (isinstance(value, int) and not isinstance(value, bool)):
            return value
        raise self.malformed_refusal()

    def _to_jackson_int(self, value: object) -> int | None:
        """Return an integer of 32 bits; a decimal or a string is converted."""
        if isinstance(value, str):
            value = value.strip() or None
        if value is None:
            return None
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if is_number or (isinstance(value, str) and _INTEGER.fullmatch(value)):
            number: int = int(value)  # type: ignore[call-overload]
            if number in _INT_RANGE:
                return number
        raise self.malformed_refusal()

    def choice(self, key: str, choices: tuple[str, ...], default: str | None = None) -> str | None:
        """Return one of some choices; None if the value is null or absent.

        Jackson also accepts the ordinal of a choice.
        """
        value = self.get(key, default)
        if value is None:
            return None
        if self.dialect.uses_jackson:
            value = _enum_value(value, choices)
        if value not in choices:
            raise self.malformed_refusal()
        return str(value)

    def limited_text(self, key: str, limit: int | None) -> str:
        """Return a string; refuse one above the server's maximum (PROTOCOL §1.1, §7.1-C)."""
        value = self.text(key)
        if limit is None or len(value) <= limit:
            return value
        message = f"{key} 长度不能超过 {limit}"
        # Only the handler of imagine catches the exception and returns an ordinary code 4.
        if self.request.endpoint == "imagine":
            raise make_refusal(4, message)
        raise RequestRefused(asp_net_error(message))

    def option(self, key: str, choices: tuple[str, ...]) -> str:
        """Return one of some choices; the first if absent."""
        value = self.text(key) or choices[0]
        if value not in choices:
            raise make_refusal(4, f"{key}参数错误")
        return value

    def boolean(self, key: str) -> bool:
        """Return a boolean; False if absent."""
        value = self.get(key)
        if value is None or isinstance(value, bool):
            return bool(value)
        raise self.malformed_refusal()

    def texts(self, key: str) -> list[str]:
        """Return a list of strings; empty if absent."""
        values = self.get(key)
        if values is None:
            return []
        if not isinstance(values, list):
            raise self.malformed_refusal()
        if self.dialect.uses_jackson:  # accepts null for a string
            values = [value for value in values if value is not None]
        return [self._to_text(value) for value in values]

    def list_length(self, key: str) -> int:
        """Return the length of a list, including nulls."""
        self.texts(key)
        values = self.get(key)
        return len(values) if isinstance(values, list) else 0

    def images(self, key: str) -> list[UploadedImage]:
        """Return a list of decoded images."""
        values = self.texts(key)
        if len(values) < self.list_length(key):
            raise self.malformed_refusal(500)
        return [self.decode_image(value) for value in values]

    def image(self, key: str) -> UploadedImage | None:
        """Return one decoded image; None if absent."""
        value = self.text(key)
        return self.decode_image(value) if value else None

    def linked_image(self, key: str) -> UploadedImage | None:
        """Return one image, which must be a link; None if absent."""
        value = self.text(key)
        if value and not _HTTP_LINK.fullmatch(value):
            raise make_refusal(4, f"{key}格式错误")
        return UploadedImage(b"", value) if value else None

    def mask(self) -> bytes | None:
        """Return the mask of a region, a PNG; None if absent (PROTOCOL §4.2)."""
        image = self.image("maskBase64")
        if image is None:
            return None
        if not image.data.startswith(_PNG_SIGNATURE):
            raise make_refusal(4, "maskBase64格式错误")
        return image.data

    def decode_image(self, value: str) -> UploadedImage:
        """Decode an image in any form that the dialect accepts (PROTOCOL §1.1)."""
        if self.dialect.uses_jackson:
            if value.startswith("data:") and "," not in value:  # an unhandled exception
                raise self.malformed_refusal(500)
            return _decode_data_url(value)
        if match := _DATA_URL.fullmatch(value):
            return UploadedImage(_decode_base64(match[1]))
        if value.startswith("data:"):
            raise make_refusal(4, "base64格式错误")
        if _HTTP_LINK.fullmatch(value):
            return UploadedImage(b"", value)
        return UploadedImage(_decode_base64(value))

    def speeds(self) -> list[str]:
        """Return the speeds of an account filter, in order of preference (PROTOCOL §1.1)."""
        modes = self._filter_field("modes") or []
        if not isinstance(modes, list) or any(mode not in _SPEEDS for mode in modes):
            raise self.malformed_refusal()
        return modes

    def account_id(self) -> str | None:
        """Return the account of an account filter (PROTOCOL §1.1)."""
        instance_id = self._filter_field("instanceId")
        if instance_id is not None and not isinstance(instance_id, str):
            raise self.malformed_refusal()
        return instance_id or None

    def bot(self) -> str:
        """Return the bot; any value except niji means Midjourney (PROTOCOL §1.1)."""
        return _BOTS.get(self.text("botType"), "MID_JOURNEY")

    def _filter_field(self, key: str) -> object:
        """Return a value of the account filter; None if the dialect has no such filter."""
        account_filter = self.get("accountFilter") if self.dialect.has_path_modes else None
        if account_filter is None:
            return None
        if not isinstance(account_filter, dict):
            raise self.malformed_refusal()
        return _lookup(account_filter, key, None, ignores_key_case=self.request.ignores_key_case)

    def _to_text(self, value: object) -> str:
        if isinstance(value, str):
            return value
        if not self.dialect.uses_jackson or not isinstance(value, int | float):
            raise self.malformed_refusal()
        return str(value).lower() if isinstance(value, bool) else str(value)


def _lookup(
    body: Mapping[str, object], key: str, default: object, *, ignores_key_case: bool
) -> object:
    if key in body or not ignores_key_case:
        return body.get(key, default)
    lower_key = key.lower()
    return next((value for name, value in body.items() if name.lower() == lower_key), default)


def _enum_value(value: object, choices: tuple[str, ...]) -> object:
    """Return the choice of an ordinal; any other value unchanged."""
    if isinstance(value, str):
        value = value.strip()
        if re.fullmatch(r"\d+", value):
            value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and value in range(len(choices)):
        return choices[value]
    return value


def _decode_data_url(value: str) -> UploadedImage:
    """Decode a data URL, which may be empty and need not be base64."""
    match = _ANY_DATA_URL.fullmatch(value)
    if match is None:
        raise make_refusal(4, "base64格式错误")
    media_type, data = match.groups()
    mime = media_type.partition(";")[0]
    if not media_type.endswith(";base64"):
        return UploadedImage(unquote_to_bytes(data), mime=mime)
    return UploadedImage(_decode_base64(data) if data else b"", mime=mime)


def _decode_base64(text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if not data:
        raise make_refusal(4, "base64格式错误")
    return data

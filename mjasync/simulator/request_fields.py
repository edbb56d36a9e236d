"""Reading what a request says, field by field, the way the dialect's server would."""

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

__all__ = ["RequestFields"]

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
    """The fields of one order, checked as they are read.

    Every method raises `RequestRefused` where the server would refuse.
    """

    request: SubmissionRequest
    dialect: Dialect

    def get(self, key: str, default: object = None) -> object:
        """Whatever stands under a key, written the way this server reads keys (PROTOCOL §1.0)."""
        return _lookup(
            self.request.body, key, default, ignores_key_case=self.request.ignores_key_case
        )

    def malformed_refusal(self, status: int = 400) -> RequestRefused:
        """The refusal of a body that does not bind."""
        return RequestRefused(self.dialect.malformed_response(status, self.request.path))

    def text(self, key: str) -> str:
        """A string without the blanks around it; empty when absent.

        Jackson leaves the blanks where they are, and what is only blanks counts as absent.
        """
        value = self.strict_text(key) or ""
        return value if self.dialect.uses_jackson and value.strip() else value.strip()

    def strict_text(self, key: str) -> str | None:
        """A string as it was sent; None when absent."""
        value = self.get(key)
        return None if value is None else self._to_text(value)

    def integer(self, key: str) -> int | None:
        """An integer; servers of every kind read one from a string too."""
        value = self.get(key)
        if self.dialect.uses_jackson:
            return self._to_jackson_int(value)
        if isinstance(value, str) and value.strip().isdecimal():
            return int(value)
        if value is None or (isinstance(value, int) and not isinstance(value, bool)):
            return value
        raise self.malformed_refusal()

    def _to_jackson_int(self, value: object) -> int | None:
        """An integer of 32 bits, out of a decimal or a string as well."""
        if isinstance(value, str):
            value = value.strip()
            if not value:
                return None
            value = int(value) if _INTEGER.fullmatch(value) else None
            number = value
        else:
            if value is None:
                return None
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            number = int(value) if is_number else None  # type: ignore[call-overload]
        if number is None or number not in _INT_RANGE:
            raise self.malformed_refusal()
        return int(number)

    def choice(self, key: str, choices: tuple[str, ...], default: str | None = None) -> str | None:
        """One of some words; None when the key is there with null in it, or missing.

        Jackson takes the ordinal of a word for the word.
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
        """A string no longer than the server's logic takes (PROTOCOL §1.1, §7.1-C)."""
        value = self.text(key)
        if limit is None or len(value) <= limit:
            return value
        message = f"{key} 长度不能超过 {limit}"
        # Only imagine catches what its logic objects to, and makes an ordinary code 4 of it.
        raise (
            make_refusal(4, message)
            if self.request.endpoint == "imagine"
            else _invalid_image(message)
        )

    def option(self, key: str, choices: tuple[str, ...]) -> str:
        """One of some words, the first of which is meant when there is none."""
        value = self.text(key) or choices[0]
        if value not in choices:
            raise make_refusal(4, f"{key}参数错误")
        return value

    def boolean(self, key: str) -> bool:
        """A boolean; absent is no."""
        value = self.get(key)
        if value is None or isinstance(value, bool):
            return bool(value)
        raise self.malformed_refusal()

    def texts(self, key: str) -> list[str]:
        """A list of strings; empty when absent."""
        values = self.get(key)
        if values is None:
            return []
        if not isinstance(values, list):
            raise self.malformed_refusal()
        if self.dialect.uses_jackson:  # which lets a null be one
            values = [value for value in values if value is not None]
        return [self._to_text(value) for value in values]

    def list_length(self, key: str) -> int:
        """How long a list is, nulls included."""
        self.texts(key)
        values = self.get(key)
        return len(values) if isinstance(values, list) else 0

    def images(self, key: str) -> list[UploadedImage]:
        """A list of pictures, decoded."""
        values = self.texts(key)
        if len(values) < self.list_length(key):
            raise self.malformed_refusal(500)
        return [self.decode_image(value) for value in values]

    def image(self, key: str) -> UploadedImage | None:
        """One picture, decoded; None when absent."""
        value = self.text(key)
        return self.decode_image(value) if value else None

    def linked_image(self, key: str) -> UploadedImage | None:
        """One picture that may only be a link; None when absent."""
        value = self.text(key)
        if value and not _HTTP_LINK.fullmatch(value):
            raise make_refusal(4, f"{key}格式错误")
        return UploadedImage(b"", value) if value else None

    def mask(self) -> bytes | None:
        """The mask of a region, a PNG (PROTOCOL §4.2)."""
        image = self.image("maskBase64")
        if image is None:
            return None
        if not image.data.startswith(_PNG_SIGNATURE):
            raise make_refusal(4, "maskBase64格式错误")
        return image.data

    def decode_image(self, value: str) -> UploadedImage:
        """One picture out of whatever form the dialect takes (PROTOCOL §1.1)."""
        if self.dialect.uses_jackson:
            if value.startswith("data:") and "," not in value:  # it looks for one unguarded
                raise self.malformed_refusal(500)
            return _decode_data_url(value)
        if match := _DATA_URL.fullmatch(value):
            return UploadedImage(_decode_base64(match[1]))
        if value.startswith("data:"):
            raise make_refusal(4, "base64格式错误")
        return (
            UploadedImage(b"", value)
            if _HTTP_LINK.fullmatch(value)
            else UploadedImage(_decode_base64(value))
        )

    def speeds(self) -> list[str]:
        """The speeds of an account filter, in order of preference (PROTOCOL §1.1)."""
        modes = self._filter_field("modes") or []
        if not isinstance(modes, list) or any(mode not in _SPEEDS for mode in modes):
            raise self.malformed_refusal()
        return modes

    def account_id(self) -> str | None:
        """The account an account filter asks for (PROTOCOL §1.1)."""
        instance_id = self._filter_field("instanceId")
        if instance_id is not None and not isinstance(instance_id, str):
            raise self.malformed_refusal()
        return instance_id or None

    def bot(self) -> str:
        """The bot; whatever is not niji is Midjourney (PROTOCOL §1.1)."""
        return _BOTS.get(self.text("botType"), "MID_JOURNEY")

    def _filter_field(self, key: str) -> object:
        """What the account filter says, where there is such a thing."""
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
    """The word an ordinal stands for; anything else as it is."""
    if isinstance(value, str):
        value = value.strip()
        if re.fullmatch(r"\d+", value):
            value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and value in range(len(choices)):
        return choices[value]
    return value


def _decode_data_url(value: str) -> UploadedImage:
    """What a data URL holds, which may be nothing, and need not be base64."""
    match = _ANY_DATA_URL.fullmatch(value)
    if match is None:
        raise make_refusal(4, "base64格式错误")
    media_type, data = match.groups()
    mime = media_type.partition(";")[0]
    if not media_type.endswith(";base64"):
        return UploadedImage(unquote_to_bytes(data), mime=mime)
    return UploadedImage(_decode_base64(data) if data else b"", mime=mime)


def _invalid_image(message: str) -> RequestRefused:
    return RequestRefused(asp_net_error(message))


def _decode_base64(text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if not data:
        raise make_refusal(4, "base64格式错误")
    return data

"""Reading what a request says, field by field, the way the dialect's server would."""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_to_bytes

import attrs

from .responses import Refusal, not_successful, refuse
from .sim_task import Image

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .dialect import Dialect
    from .sim_task import Order

__all__ = ["Intake"]

_DATA_URL: Final = re.compile(r"data:[\w.+-]+/[\w.+-]+(?:;[\w=.+-]+)*;base64,(.*)", re.DOTALL)
_ANY_DATA_URL: Final = re.compile(r"data:([^,]*),(.*)", re.DOTALL)
_WHOLE: Final = re.compile(r"[+-]?\d+")
_INT: Final = range(-(2**31), 2**31)
_LINK: Final = re.compile(r"https?://\S+")
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_SPEEDS: Final = ("FAST", "TURBO", "RELAX")
_BOTS: Final = {"NIJI_JOURNEY": "NIJI_JOURNEY", "niji": "NIJI_JOURNEY"}


@attrs.frozen
class Intake:
    """The fields of one order, checked as they are read.

    Every method raises `Refusal` where the server would refuse.
    """

    order: Order
    dialect: Dialect

    def get(self, key: str, default: object = None) -> object:
        """Whatever stands under a key, written the way this server reads keys (PROTOCOL §1.0)."""
        return _found(self.order.body, key, default, any_case=self.order.any_case)

    def malformed(self, status: int = 400) -> Refusal:
        """The refusal of a body that does not bind."""
        return Refusal(self.dialect.malformed(status, self.order.path))

    def text(self, key: str) -> str:
        """A string without the blanks around it; empty when absent.

        Jackson leaves the blanks where they are, and what is only blanks counts as absent.
        """
        value = self.exact(key) or ""
        return value if self.dialect.jackson and value.strip() else value.strip()

    def exact(self, key: str) -> str | None:
        """A string as it was sent; None when absent."""
        value = self.get(key)
        return None if value is None else self._item(value)

    def whole(self, key: str) -> int | None:
        """An integer; servers of every kind read one from a string too."""
        value = self.get(key)
        if self.dialect.jackson:
            return self._jackson_int(value)
        if isinstance(value, str) and value.strip().isdecimal():
            return int(value)
        if value is None or (isinstance(value, int) and not isinstance(value, bool)):
            return value
        raise self.malformed()

    def _jackson_int(self, value: object) -> int | None:
        """An integer of 32 bits, out of a decimal or a string as well."""
        if isinstance(value, str):
            value = value.strip()
            if not value:
                return None
            value = int(value) if _WHOLE.fullmatch(value) else None
            number = value
        else:
            if value is None:
                return None
            whole = isinstance(value, int | float) and not isinstance(value, bool)
            number = int(value) if whole else None  # type: ignore[call-overload]
        if number is None or number not in _INT:
            raise self.malformed()
        return int(number)

    def choice(self, key: str, among: tuple[str, ...], default: str | None = None) -> str | None:
        """One of some words; None when the key is there with null in it, or missing.

        Jackson takes the ordinal of a word for the word.
        """
        value = self.get(key, default)
        if value is None:
            return None
        if self.dialect.jackson:
            value = _named(value, among)
        if value not in among:
            raise self.malformed()
        return str(value)

    def short_text(self, key: str, limit: int | None) -> str:
        """A string no longer than the server's logic takes (PROTOCOL §1.1, §7.1-C)."""
        value = self.text(key)
        if limit is None or len(value) <= limit:
            return value
        message = f"{key} 长度不能超过 {limit}"
        # Only imagine catches what its logic objects to, and makes an ordinary code 4 of it.
        raise refuse(4, message) if self.order.endpoint == "imagine" else _objection(message)

    def option(self, key: str, among: tuple[str, ...]) -> str:
        """One of some words, the first of which is meant when there is none."""
        value = self.text(key) or among[0]
        if value not in among:
            raise refuse(4, f"{key}参数错误")
        return value

    def truth(self, key: str) -> bool:
        """A boolean; absent is no."""
        value = self.get(key)
        if value is None or isinstance(value, bool):
            return bool(value)
        raise self.malformed()

    def texts(self, key: str) -> list[str]:
        """A list of strings; empty when absent."""
        values = self.get(key)
        if values is None:
            return []
        if not isinstance(values, list):
            raise self.malformed()
        if self.dialect.jackson:  # which lets a null be one
            values = [value for value in values if value is not None]
        return [self._item(value) for value in values]

    def count(self, key: str) -> int:
        """How long a list is, nulls included."""
        self.texts(key)
        values = self.get(key)
        return len(values) if isinstance(values, list) else 0

    def images(self, key: str) -> list[Image]:
        """A list of pictures, decoded."""
        values = self.texts(key)
        if len(values) < self.count(key):
            raise self.malformed(500)
        return [self.decode(value) for value in values]

    def image(self, key: str) -> Image | None:
        """One picture, decoded; None when absent."""
        value = self.text(key)
        return self.decode(value) if value else None

    def linked(self, key: str) -> Image | None:
        """One picture that may only be a link; None when absent."""
        value = self.text(key)
        if value and not _LINK.fullmatch(value):
            raise refuse(4, f"{key}格式错误")
        return Image(b"", value) if value else None

    def mask(self) -> bytes | None:
        """The mask of a region, a PNG (PROTOCOL §4.2)."""
        image = self.image("maskBase64")
        if image is None:
            return None
        if not image.data.startswith(_PNG):
            raise refuse(4, "maskBase64格式错误")
        return image.data

    def decode(self, value: str) -> Image:
        """One picture out of whatever form the dialect takes (PROTOCOL §1.1)."""
        if self.dialect.jackson:
            if value.startswith("data:") and "," not in value:  # it looks for one unguarded
                raise self.malformed(500)
            return _from_any_data_url(value)
        if found := _DATA_URL.fullmatch(value):
            return Image(_decoded(found[1]))
        if self.dialect.data_urls_only or value.startswith("data:"):
            raise refuse(4, "base64格式错误")
        return Image(b"", value) if _LINK.fullmatch(value) else Image(_decoded(value))

    def speeds(self) -> list[str]:
        """The speeds of an account filter, in order of preference (PROTOCOL §1.1)."""
        modes = self._filter("modes") or []
        if not isinstance(modes, list) or any(mode not in _SPEEDS for mode in modes):
            raise self.malformed()
        return modes

    def instance(self) -> str | None:
        """The account an account filter asks for (PROTOCOL §1.1)."""
        wanted = self._filter("instanceId")
        if wanted is not None and not isinstance(wanted, str):
            raise self.malformed()
        return wanted or None

    def bot(self) -> str:
        """The bot; whatever is not niji is Midjourney (PROTOCOL §1.1)."""
        return _BOTS.get(self.text("botType"), "MID_JOURNEY")

    def _filter(self, key: str) -> object:
        """What the account filter says, where there is such a thing."""
        wanted = self.get("accountFilter") if self.dialect.path_modes else None
        if wanted is None:
            return None
        if not isinstance(wanted, dict):
            raise self.malformed()
        return _found(wanted, key, None, any_case=self.order.any_case)

    def _item(self, value: object) -> str:
        if isinstance(value, str):
            return value
        if self.dialect.strict_strings or not isinstance(value, int | float):
            raise self.malformed()
        return str(value).lower() if isinstance(value, bool) else str(value)


def _found(body: Mapping[str, object], key: str, default: object, *, any_case: bool) -> object:
    if key in body or not any_case:
        return body.get(key, default)
    folded = key.lower()
    return next((value for name, value in body.items() if name.lower() == folded), default)


def _named(value: object, among: tuple[str, ...]) -> object:
    """The word an ordinal stands for; anything else as it is."""
    if isinstance(value, str):
        value = value.strip()
        if re.fullmatch(r"\d+", value):
            value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and value in range(len(among)):
        return among[value]
    return value


def _from_any_data_url(value: str) -> Image:
    """What a data URL holds, which may be nothing, and need not be base64."""
    found = _ANY_DATA_URL.fullmatch(value)
    if found is None:
        raise refuse(4, "base64格式错误")
    meta, data = found.groups()
    mime = meta.partition(";")[0]
    if not meta.endswith(";base64"):
        return Image(unquote_to_bytes(data), mime=mime)
    return Image(_decoded(data) if data else b"", mime=mime)


def _objection(message: str) -> Refusal:
    return Refusal(not_successful(message))


def _decoded(text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if not data:
        raise refuse(4, "base64格式错误")
    return data

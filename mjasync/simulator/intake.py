"""Reading what a request says, field by field, the way the dialect's server would."""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Final

import attrs

from .replies import Refusal, refuse

if TYPE_CHECKING:
    from .dialects import Dialect
    from .tasks import Order

__all__ = ["Image", "Intake"]

_DATA_URL: Final = re.compile(r"data:[\w.+-]+/[\w.+-]+(?:;[\w=.+-]+)*;base64,(.*)", re.DOTALL)
_LINK: Final = re.compile(r"https?://\S+")
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_SPEEDS: Final = ("FAST", "TURBO", "RELAX")
_BOTS: Final = {"NIJI_JOURNEY": "NIJI_JOURNEY", "niji": "NIJI_JOURNEY"}


@attrs.frozen
class Image:
    """One picture as it was sent."""

    data: bytes
    link: str | None = None
    """Where it is to be fetched, when a link was sent in place of the bytes."""


@attrs.frozen
class Intake:
    """The fields of one order, checked as they are read.

    Every method raises `Refusal` where the server would refuse.
    """

    order: Order
    dialect: Dialect

    def malformed(self, status: int = 400) -> Refusal:
        """The refusal of a body that does not bind."""
        return Refusal(self.dialect.malformed(status, self.order.path))

    def text(self, key: str) -> str:
        """A string without the blanks around it; empty when absent."""
        value = self.order.body.get(key)
        if value is None:
            return ""
        if isinstance(value, str):
            return value.strip()
        if self.dialect.strict_strings or isinstance(value, list | dict):
            raise self.malformed()
        return str(value)

    def whole(self, key: str) -> int | None:
        """An integer; servers of every kind read one from a string too."""
        value = self.order.body.get(key)
        if isinstance(value, str) and value.strip().isdecimal():
            return int(value)
        if value is None or (isinstance(value, int) and not isinstance(value, bool)):
            return value
        raise self.malformed()

    def choice(self, key: str, among: tuple[str, ...], default: str | None = None) -> str | None:
        """One of some words; None when the key is there with null in it, or missing."""
        value = self.order.body.get(key, default)
        if value is None:
            return None
        if value not in among:
            raise self.malformed()
        return str(value)

    def texts(self, key: str) -> list[str]:
        """A list of strings; empty when absent."""
        values = self.order.body.get(key)
        if values is None:
            return []
        if not isinstance(values, list):
            raise self.malformed()
        return [self._item(value) for value in values]

    def images(self, key: str) -> list[Image]:
        """A list of pictures, decoded."""
        return [self.decode(value) for value in self.texts(key)]

    def image(self, key: str) -> Image | None:
        """One picture, decoded; None when absent."""
        value = self.text(key)
        return self.decode(value) if value else None

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
        if found := _DATA_URL.fullmatch(value):
            return Image(_decoded(found[1]))
        if self.dialect.data_urls_only or value.startswith("data:"):
            raise refuse(4, "base64格式错误")
        return Image(b"", value) if _LINK.fullmatch(value) else Image(_decoded(value))

    def speeds(self) -> list[str]:
        """The speeds of an account filter, in order of preference (PROTOCOL §1.1)."""
        if not self.dialect.path_modes:
            return []
        wanted = self.order.body.get("accountFilter")
        if wanted is None:
            return []
        modes = (wanted.get("modes") or []) if isinstance(wanted, dict) else None
        if not isinstance(modes, list) or any(mode not in _SPEEDS for mode in modes):
            raise self.malformed()
        return modes

    def bot(self) -> str:
        """The bot; whatever is not niji is Midjourney (PROTOCOL §1.1)."""
        return _BOTS.get(self.text("botType"), "MID_JOURNEY")

    def _item(self, value: object) -> str:
        if isinstance(value, str):
            return value
        if self.dialect.strict_strings or not isinstance(value, int | float):
            raise self.malformed()
        return str(value)


def _decoded(text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if not data:
        raise refuse(4, "base64格式错误")
    return data

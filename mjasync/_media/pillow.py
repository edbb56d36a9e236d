"""What is done with Pillow to pictures that are sent: upright PNGs of any mode, a look at masks."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["fault_of_mask", "png_of"]

_WHITE: Final = 128
"""From where on a spot of a mask is white and no black, or opaque and no hole."""
_COLOURED: Final = 96
"""How far apart red, green and blue are where a picture is no mask in black and white."""
_OF_PNG: Final = frozenset({"1", "L", "LA", "P", "RGB", "RGBA"})
"""Modes that a PNG has and every reader knows."""
_TRANSPARENT: Final = {"PA": "RGBA", "RGBa": "RGBA", "La": "LA"}
_RANGES: Final = (1.0, 255.0, 65535.0)
"""The whitest value of a grey picture with more than 8 bits, whichever is the first to suffice."""


def png_of(image: Any) -> bytes:  # noqa: ANN401 - Pillow's, or what saves itself as its pictures do
    """A picture as a PNG that shows the same, upright.

    Raises:
        ValueError: It cannot be: its mode has no colours that are known, or its data is damaged.
    """
    from PIL import Image, ImageOps

    buffer = io.BytesIO()
    try:
        if isinstance(image, Image.Image):
            image = _in_a_mode_of_png(ImageOps.exif_transpose(image))
        image.save(buffer, format="PNG")
    except Exception as error:  # whatever a damaged picture does to Pillow
        raise ValueError(str(error) or type(error).__name__) from error
    return buffer.getvalue()


def fault_of_mask(data: bytes) -> str:
    """Why a mask, as a server sees it, does not mark what is to be repainted; "" where it does.

    Raises:
        ValueError: It cannot be read.
        ImportError: Pillow is not installed.
    """
    from PIL import Image, ImageChops

    try:
        with Image.open(io.BytesIO(data)) as image:
            shown = _in_a_mode_of_png(image)
            has_hole = (
                shown.has_transparency_data
                and _least(shown.convert("RGBA").getchannel("A")) < _WHITE
            )
            if shown.has_transparency_data:
                shown = shown.convert("RGBA")
                shown = Image.alpha_composite(Image.new("RGBA", shown.size, "black"), shown)
            if _most(shown.convert("L")) < _WHITE:
                return "it has no white"
            red, green, blue = shown.convert("RGB").split()
            lightest = ImageChops.lighter(ImageChops.lighter(red, green), blue)
            darkest = ImageChops.darker(ImageChops.darker(red, green), blue)
            is_coloured = _most(ImageChops.subtract(lightest, darkest)) > _COLOURED
            return "it is a coloured picture with a hole" if has_hole and is_coloured else ""
    except Exception as error:
        raise ValueError(str(error) or type(error).__name__) from error


def _least(band: Image.Image) -> float:
    return band.getextrema()[0]  # type: ignore[return-value]  # of one band


def _most(band: Image.Image) -> float:
    return band.getextrema()[1]  # type: ignore[return-value]  # of one band


def _in_a_mode_of_png(image: Image.Image) -> Image.Image:
    """Convert a picture whose mode a PNG has not, or that readers differ about."""
    mode = image.mode
    if mode in _OF_PNG:
        return image
    if mode == "LAB":
        converted = _from_lab(image)
    elif mode == "F" or mode.startswith("I"):
        converted = _in_eight_bits(image)
    else:
        converted = image.convert(_TRANSPARENT.get(mode, "RGB"))
    for name in ("icc_profile", "transparency"):  # they are those of the mode that was left
        converted.info.pop(name, None)
    return converted


def _from_lab(image: Image.Image) -> Image.Image:
    from PIL import ImageCms

    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
    if converted is None:
        raise ValueError("cannot convert LAB")
    return converted


def _in_eight_bits(image: Image.Image) -> Image.Image:
    """Shades of grey, from black to the whitest that such numbers usually mean."""
    is_short = image.mode.startswith("I;16")
    numbers = image.convert("I").convert("F") if is_short else image.convert("F")
    most = _most(numbers)
    ranges = (65535.0,) if is_short else _RANGES[image.mode != "F" :]
    white = next((white for white in ranges if most <= white), most)
    return numbers.point(lambda value: value * (255.0 / white) + 0.5).convert("L")

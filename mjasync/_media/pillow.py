"""Conversion of images to PNG and checks of masks, with Pillow."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from PIL import Image

_WHITE_THRESHOLD: Final = 128
"""Value from which a pixel of a mask counts as white, or as opaque."""
_COLOR_THRESHOLD: Final = 96
"""Difference of red, green and blue above which an image is not black and white."""
_PNG_MODES: Final = frozenset({"1", "L", "LA", "P", "RGB", "RGBA"})
"""Modes that PNG and all readers support."""
_ALPHA_MODES: Final = {"PA": "RGBA", "RGBa": "RGBA", "La": "LA"}
_FLOAT_RANGES: Final = (1.0, 255.0, 65535.0)
"""Candidates for the white of a grey image with more than 8 bits; the first that suffices."""


def encode_as_png(image: Any) -> bytes:  # noqa: ANN401 - Pillow's, or what saves itself as its pictures do
    """Encode an image as an upright PNG that looks the same.

    Raises:
        ValueError: It cannot be: its mode has no colours that are known, or its data is damaged.
    """
    from PIL import Image, ImageOps

    buffer = io.BytesIO()
    try:
        if isinstance(image, Image.Image):
            image = _to_png_mode(ImageOps.exif_transpose(image))
        image.save(buffer, format="PNG")
    except Exception as error:  # whatever a damaged picture does to Pillow
        raise ValueError(str(error) or type(error).__name__) from error
    return buffer.getvalue()


def mask_problem(data: bytes) -> str:
    """Return why a mask, as a server reads it, marks nothing to repaint; "" if it does.

    Raises:
        ValueError: It cannot be read.
        ImportError: Pillow is not installed.
    """
    from PIL import Image, ImageChops

    try:
        with Image.open(io.BytesIO(data)) as image:
            shown = _to_png_mode(image)
            has_hole = (
                shown.has_transparency_data
                and _min_value(shown.convert("RGBA").getchannel("A")) < _WHITE_THRESHOLD
            )
            if shown.has_transparency_data:
                shown = shown.convert("RGBA")
                shown = Image.alpha_composite(Image.new("RGBA", shown.size, "black"), shown)
            if _max_value(shown.convert("L")) < _WHITE_THRESHOLD:
                return "it has no white"
            red, green, blue = shown.convert("RGB").split()
            lightest = ImageChops.lighter(ImageChops.lighter(red, green), blue)
            darkest = ImageChops.darker(ImageChops.darker(red, green), blue)
            is_coloured = _max_value(ImageChops.subtract(lightest, darkest)) > _COLOR_THRESHOLD
            return "it is a coloured picture with a hole" if has_hole and is_coloured else ""
    except Exception as error:
        raise ValueError(str(error) or type(error).__name__) from error


def _min_value(band: Image.Image) -> float:
    return band.getextrema()[0]  # type: ignore[return-value]  # of one band


def _max_value(band: Image.Image) -> float:
    return band.getextrema()[1]  # type: ignore[return-value]  # of one band


def _to_png_mode(image: Image.Image) -> Image.Image:
    """Convert an image whose mode PNG or some readers do not support."""
    mode = image.mode
    if mode in _PNG_MODES:
        return image
    if mode == "LAB":
        converted = _from_lab(image)
    elif mode == "F" or mode.startswith("I"):
        converted = _to_eight_bits(image)
    else:
        converted = image.convert(_ALPHA_MODES.get(mode, "RGB"))
    for name in ("icc_profile", "transparency"):  # of the former mode
        converted.info.pop(name, None)
    return converted


def _from_lab(image: Image.Image) -> Image.Image:
    from PIL import ImageCms

    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
    if converted is None:  # pragma: no cover - only when it converts in place
        raise ValueError("cannot convert LAB")
    return converted


def _to_eight_bits(image: Image.Image) -> Image.Image:
    """Convert to 8 bits of grey, from black to the usual white of such values."""
    is_short = image.mode.startswith("I;16")
    numbers = image.convert("I").convert("F") if is_short else image.convert("F")
    maximum = _max_value(numbers)
    ranges = (65535.0,) if is_short else _FLOAT_RANGES[image.mode != "F" :]
    white = next((white for white in ranges if maximum <= white), maximum)
    return numbers.point(lambda value: value * (255.0 / white) + 0.5).convert("L")

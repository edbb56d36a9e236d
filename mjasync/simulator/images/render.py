"""Rendering of simulated pictures.

An `ImageSpec` describes a picture as a lineage (the left pan of the upscale of the second quadrant
of a grid). `render` draws it from its oldest ancestor onwards. The same specification always gives
the same bytes, in any thread.
"""

from __future__ import annotations

import io
import math
import re
from typing import TYPE_CHECKING, TypeAlias

import attrs

from .patterns import draw_number, draw_pattern

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from PIL import Image as PillowImage

    from .image_spec import ImageSpec

    _Image: TypeAlias = PillowImage.Image

_Size: TypeAlias = tuple[int, int]
_GRIDS = frozenset({"grid", "blend", "zoom", "pan", "inpaint", "vary"})
"""Kinds with four numbered quadrants in different colours; the others are single pictures."""
_PANS = {"right": (-1, 0), "up": (0, 1), "down": (0, -1)}
"""Where a pan moves the old picture; to the right unless the direction is one of these."""
_SMALLEST_ZOOM = 1.05
"""Even a zoom of 1 gets a narrow border, so that its four candidates differ."""
_MASK_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
_MAX_MASK_PIXELS = 40_000_000
_FRAMES = 12
_FRAME_MS = 90
_VIDEO_CENTRES = ((0.5, 0.5), (0.0, 0.3), (1.0, 0.3), (0.4, 1.0), (0.6, 0.0))
"""Where the camera moves to, for no candidate and for each of the four."""


def render(spec: ImageSpec) -> bytes:
    """Draw a picture with all its ancestors.

    Args:
        spec: What to draw.

    Returns:
        A PNG file; for kind `video` an animated WebP file.

    Raises:
        ImportError: Pillow is not installed.
    """
    try:
        import PIL  # noqa: F401
    except ImportError as missing:
        raise ImportError(
            "drawing needs Pillow: pip install 'mjasync[sim]', or use Simulator(draw=False)"
        ) from missing
    lineage = [spec]
    while lineage[-1].kind not in _ORIGINS:
        youngest = lineage[-1]
        lineage.append(youngest.parent or attrs.evolve(youngest, kind="swap"))
    parent = lineage.pop()
    image = _ORIGINS[parent.kind](parent)
    for step in reversed(lineage):
        if parent.kind in _GRIDS and step.index in {1, 2, 3, 4}:
            image = image.crop(_quadrants(image.size)[step.index - 1])
        image, parent = _STEPS[step.kind](step, image), step
    return _encode_video(spec, image) if spec.kind == "video" else _encode(image, "PNG")


def _quadrants(size: _Size) -> tuple[tuple[int, int, int, int], ...]:
    """Return the boxes of the four quadrants; those of an odd size overlap by one pixel."""
    (x, y), (width, height) = (size[0] // 2, size[1] // 2), size
    right, bottom = width - x, height - y
    return (0, 0, right, bottom), (x, 0, width, bottom), (0, y, right, height), (x, y, *size)


def _cell(step: ImageSpec) -> _Size:
    return (step.width + 1) // 2, (step.height + 1) // 2


def _sheet(step: ImageSpec, candidate: Callable[[_Image], _Image]) -> _Image:
    """Compose four numbered quadrants; `candidate` makes one from a pattern of its own."""
    from PIL import Image

    sheet = Image.new("RGB", step.size)
    for index, box in enumerate(_quadrants(step.size)):
        quadrant = candidate(draw_pattern(step.prompt, step.seed, index, _cell(step)))
        draw_number(quadrant, index + 1)
        sheet.paste(quadrant, box)
    return sheet


def _grid(step: ImageSpec) -> _Image:
    return _sheet(step, lambda pattern: pattern)


def _blend(step: ImageSpec) -> _Image:
    """Draw a grid of which every quadrant fades into the same fifth pattern."""
    from PIL import Image

    fifth = draw_pattern(step.prompt, step.seed, 4, _cell(step))
    mask = Image.linear_gradient("L").resize(fifth.size)
    return _sheet(step, lambda pattern: Image.composite(fifth, pattern, mask))


def _single(step: ImageSpec) -> _Image:
    """Draw the image that was sent; otherwise a pattern, in a border unless it is a result."""
    from PIL import ImageOps

    image = _decode(step.mask, step.size) if step.kind == "photo" else None
    if image is not None:
        return image.convert("RGB")
    border = 0 if step.kind == "swap" else min(step.size) // 24
    inside = step.width - 2 * border, step.height - 2 * border
    return ImageOps.expand(draw_pattern(step.prompt, step.seed, 0, inside), border, "white")


def _fit(image: _Image, size: _Size) -> _Image:
    """Resize an image; crop what does not fit another shape."""
    from PIL import Image, ImageOps

    return image if image.size == size else ImageOps.fit(image, size, Image.Resampling.LANCZOS)


def _upscale(step: ImageSpec, parent: _Image) -> _Image:
    return _fit(parent, step.size)


def _preview(step: ImageSpec, parent: _Image) -> _Image:
    """Draw a picture in progress: the lower the percentage, the coarser."""
    from PIL import Image

    detail = 0.02 + 0.2 * (_first_number(step, 30, 0, 100) / 100) ** 2
    width, height = (max(2, round(side * detail)) for side in step.size)
    coarse = parent.resize((width, height), Image.Resampling.BOX)
    return coarse.resize(step.size, Image.Resampling.BICUBIC)


def _first_number(step: ImageSpec, default: float, lowest: float, highest: float) -> float:
    """Read the first number of a step's detail, such as `2x`, `1.8` or `46%`."""
    match = re.search(r"\d{1,3}(?:\.\d{1,6})?", step.detail)
    return min(max(float(match[0]), lowest), highest) if match else default


def _vary(step: ImageSpec, parent: _Image) -> _Image:
    """Lay new patterns over a picture; more visible ones for a strong variation."""
    from PIL import Image, ImageChops

    share = 0.35 if re.search("subtle|low", step.detail) else 0.75
    old = _fit(parent, _cell(step))
    return _sheet(step, lambda new: Image.blend(old, ImageChops.overlay(old, new), share))


def _extend(step: ImageSpec, parent: _Image) -> _Image:
    """Draw new patterns around a picture that has moved (a pan) or shrunk (a zoom)."""
    from PIL import Image

    width, height = _cell(step)
    if step.kind == "pan":
        inner = _fit(parent, (width, height))
        x, y = next((move for word, move in _PANS.items() if word in step.detail), (1, 0))
        left, top = x * width // 3, y * height // 3
    else:
        factor = _first_number(step, 2, _SMALLEST_ZOOM, 8)
        inner = _fit(parent, (math.ceil(width / factor), math.ceil(height / factor)))
        left, top = (width - inner.width) // 2, (height - inner.height) // 2
    old, mask = Image.new("RGB", (width, height)), Image.new("L", (width, height))
    old.paste(inner, (left, top))
    mask.paste(255, (left, top, left + inner.width, top + inner.height))
    mask = _soften(mask, min(width, height) / 40)
    return _sheet(step, lambda pattern: Image.composite(old, pattern, mask))


def _inpaint(step: ImageSpec, parent: _Image) -> _Image:
    """Draw new patterns where the mask is not black; nowhere, if it is not an image."""
    from PIL import Image

    old = _fit(parent, _cell(step))
    mask = Image.new("RGBA", old.size, "black")
    drawn = _decode(step.mask, old.size)
    if drawn is not None:
        mask.alpha_composite(drawn)
    any_light = [0] + [255] * 255
    selected = mask.convert("RGB").point(any_light * 3).convert("L").point(any_light)
    soft = _soften(selected, 1.5)
    return _sheet(step, lambda pattern: Image.composite(pattern, old, soft))


def _soften(mask: _Image, radius: float) -> _Image:
    """Soften the edge of a selection inwards only: unselected pixels stay unselected."""
    from PIL import ImageFilter

    inwards = [max(0, 2 * level - 255) for level in range(256)]
    return mask.filter(ImageFilter.GaussianBlur(radius)).point(inwards)


def _decode(data: bytes | None, size: _Size) -> _Image | None:
    """Decode an image and resize it; None if it is too large or not an image."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data or b""), formats=_MASK_FORMATS) as file:
            if file.width * file.height > _MAX_MASK_PIXELS:
                return None
            return file.convert("RGBA").resize(size, Image.Resampling.NEAREST)
    except Exception:  # noqa: BLE001 - decoders raise anything on broken bytes
        return None


def _encode(image: _Image, file_format: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, file_format, compress_level=3, **options)
    return out.getvalue()


def _encode_video(spec: ImageSpec, image: _Image) -> bytes:
    """Zoom into a still image and back, towards another point for every candidate."""
    from PIL import Image

    reach = 0.3 if "high" in spec.detail else 0.12
    x, y = (
        axis * side for axis, side in zip(_VIDEO_CENTRES[spec.index % 5], image.size, strict=True)
    )
    frames = []
    for crop in (reach * math.sin(math.pi * n / _FRAMES) ** 2 for n in range(1, _FRAMES)):
        kept = 1 - crop
        box = crop * x, crop * y, crop * x + kept * image.width, crop * y + kept * image.height
        frames.append(image.resize(image.size, Image.Resampling.BILINEAR, box=box))
    options = {"save_all": True, "append_images": frames, "duration": _FRAME_MS, "loop": 0}
    return _encode(image, "WEBP", method=0, quality=75, **options)


_ORIGINS: Mapping[str, Callable[[ImageSpec], _Image]] = {
    "grid": _grid,
    "blend": _blend,
    "describe": _single,
    "swap": _single,
    "photo": _single,
}
_STEPS: Mapping[str, Callable[[ImageSpec, _Image], _Image]] = {
    "upscale": _upscale,
    "hd": _upscale,
    "video": _upscale,
    "zoom": _extend,
    "pan": _extend,
    "inpaint": _inpaint,
    "vary": _vary,
    "preview": _preview,
}

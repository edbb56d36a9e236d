"""What to draw: a kind, a prompt, and the images it was made from."""

from __future__ import annotations

import re

import attrs

__all__ = ["IMAGE_KINDS", "ImageSpec", "aspect_of", "size_for"]


IMAGE_KINDS = (
    "grid",
    "upscale",
    "hd",
    "zoom",
    "pan",
    "inpaint",
    "vary",
    "blend",
    "describe",
    "video",
    "swap",
    "photo",
    "preview",
)
"""Every kind of picture the artist can draw."""


_SHORTEST_SIDE = 16


@attrs.frozen
class ImageSpec:
    """What to draw: a lineage, not pixels."""

    kind: str = attrs.field(validator=attrs.validators.in_(IMAGE_KINDS))
    """One of `IMAGE_KINDS`."""
    prompt: str
    """The text the picture is made from; it decides subject, scenery and colours."""
    seed: int
    """Another seed gives a visibly different picture of the same prompt."""
    width: int = attrs.field(validator=attrs.validators.ge(2))
    """Width of the whole picture in pixels (of the whole grid, for a grid)."""
    height: int = attrs.field(validator=attrs.validators.ge(2))
    """Height of the whole picture in pixels."""
    parent: ImageSpec | None = None
    """The picture this one came from; for a preview, the picture that is on its way."""
    index: int = 0
    """Which quadrant (1-4) of a grid parent is meant; which candidate (1-4) of a video; 0: none."""
    detail: str = ""
    """How: `left` for a pan, `2x` or `1.8` for a zoom, `subtle`, `low`, `46%` for a preview."""
    mask: bytes | None = attrs.field(default=None, repr=False)
    """For an inpaint: an image file, the selection non-black on black; for a photo: the file."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.width, self.height


_ASPECT = re.compile(r"(?:--|—)(?:ar|aspect)\s+(\d{1,5})[::](\d{1,5})(?!\S)", re.IGNORECASE)


def aspect_of(prompt: str) -> tuple[int, int]:
    """Read the aspect ratio that a prompt asks for.

    Args:
        prompt: A prompt, with or without `--ar W:H` or `--aspect W:H`; the last one counts.

    Returns:
        Width and height as written; `(1, 1)` where there is none or it makes no sense.
    """
    found = _ASPECT.findall(prompt)
    if not found:
        return 1, 1
    width, height = (int(side) for side in found[-1])
    return (width, height) if width and height else (1, 1)


def size_for(aspect: tuple[int, int], max_side: int) -> tuple[int, int]:
    """Give the size in pixels of a picture with an aspect ratio.

    Args:
        aspect: Width and height in any unit, both positive.
        max_side: The longest side wanted, in pixels.

    Returns:
        Two even numbers, so that a grid splits in exact halves. The shortest side never gets
        thinner than 16 pixels, however extreme the ratio.
    """
    max_side = max(max_side, _SHORTEST_SIDE)
    scale = max_side / max(aspect)
    width, height = (max(round(side * scale / 2) * 2, _SHORTEST_SIDE) for side in aspect)
    even = max_side - max_side % 2
    return min(width, even), min(height, even)

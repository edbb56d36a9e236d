"""The description of a picture: a kind, a prompt, and the pictures it was made from."""

from __future__ import annotations

import re

import attrs

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
"""Every kind of picture that can be drawn."""
_SHORTEST_SIDE = 16


@attrs.frozen
class ImageSpec:
    """A picture, described by its lineage instead of its pixels."""

    kind: str = attrs.field(validator=attrs.validators.in_(IMAGE_KINDS))
    """One of `IMAGE_KINDS`."""
    prompt: str
    """The text the picture is made from; colours and shapes follow from it and the seed."""
    seed: int
    """Another seed gives a visibly different picture of the same prompt."""
    width: int = attrs.field(validator=attrs.validators.ge(2))
    """Width of the whole picture in pixels (of the whole grid, for a grid)."""
    height: int = attrs.field(validator=attrs.validators.ge(2))
    """Height of the whole picture in pixels."""
    parent: ImageSpec | None = None
    """The picture this one was made from; for a preview, the picture in progress."""
    index: int = 0
    """The quadrant (1-4) of a parent that is a grid, or the candidate (1-4) of a video; 0: none."""
    detail: str = ""
    """`left` for a pan, `2x` or `1.8` for a zoom, `subtle`, `low`, `46%` for a preview."""
    mask: bytes | None = attrs.field(default=None, repr=False)
    """The image file of a photo, or of an inpaint's selection, which is everything not black."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.width, self.height


_ASPECT = re.compile(r"(?:--|—)(?:ar|aspect)\s+(\d{1,5})[::](\d{1,5})(?!\S)", re.IGNORECASE)


def aspect_of(prompt: str) -> tuple[int, int]:
    """Read the aspect ratio from a prompt.

    Args:
        prompt: A prompt, with or without `--ar W:H` or `--aspect W:H`; the last one counts.

    Returns:
        Width and height as written; `(1, 1)` if there is none or it is not valid.
    """
    ratios = _ASPECT.findall(prompt)
    width, height = (int(side) for side in ratios[-1]) if ratios else (1, 1)
    return (width, height) if width and height else (1, 1)


def size_for(aspect: tuple[int, int], max_side: int) -> tuple[int, int]:
    """Return the size in pixels of a picture with an aspect ratio.

    Args:
        aspect: Width and height in any unit, both positive.
        max_side: The longest side in pixels.

    Returns:
        Two even numbers, so that a grid splits into exact halves. Both are at least 16.
    """
    max_side = max(max_side, _SHORTEST_SIDE)
    scale = max_side / max(aspect)
    width, height = (max(round(side * scale / 2) * 2, _SHORTEST_SIDE) for side in aspect)
    even = max_side - max_side % 2
    return min(width, even), min(height, even)

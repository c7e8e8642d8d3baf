"""``Area``, a rectangle of a photo with a face or a line of text, and the mask of some of them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, get_args

import cv2
import numpy as np

from addsr_cli.area_kinds import AreaKind
from addsr_cli.imageio.photo import FloatArray

Kind = AreaKind
KINDS: tuple[Kind, ...] = get_args(Kind)

# How far an area reaches beyond its box, and over which distance the mask falls off around that,
# both as shares of the box's shorter side: hair and chin belong to a face, serifs to a letter.
_MARGIN = 0.15
_SOFTNESS = 0.25


@dataclass(frozen=True, kw_only=True)
class Area:
    """A rectangle of a photo, in pixels of the photo; it may have fractions of them."""

    kind: Kind
    left: float
    top: float
    width: float
    height: float

    def scaled(self, factor: float) -> "Area":
        """Return the area in a picture that is larger by ``factor``."""
        return Area(
            kind=self.kind,
            left=self.left * factor,
            top=self.top * factor,
            width=self.width * factor,
            height=self.height * factor,
        )

    def record(self) -> dict[str, str | list[int]]:
        """Return the fields of the JSON record: the kind, and [left, top, width, height]."""
        box = [round(value) for value in (self.left, self.top, self.width, self.height)]
        return {"kind": self.kind, "box": box}


def mask_of(
    areas: Iterable[Area],
    size: tuple[int, int],
    longest: int = 1024,
) -> FloatArray:
    """Return a mask float32 (h, w), 1 within areas of a photo of ``size`` (width, height), else 0.

    It falls off smoothly over about a quarter of an area's shorter side. Its own longer side is at
    most ``longest`` pixels: it is meant to be resized to the picture that it is applied to.
    """
    reduction = min(1.0, longest / max(size))
    width, height = (max(1, round(side * reduction)) for side in size)
    mask = np.zeros((height, width), np.float32)
    for area in areas:
        np.maximum(mask, _smooth_box(area.scaled(reduction), width, height), out=mask)
    return mask


def _smooth_box(area: Area, width: int, height: int) -> FloatArray:
    """Return the mask of one area: 1 up to its margin, then a cosine down to 0."""
    short = min(area.width, area.height)
    softness = max(1.0, _SOFTNESS * short)
    margin = _MARGIN * short

    def profile(first: float, length: float, count: int) -> FloatArray:
        centres = np.arange(count, dtype=np.float32) + 0.5
        outside = np.maximum(first - margin - centres, centres - first - length - margin)
        share = np.clip(outside / softness, 0, 1)
        return (0.5 + 0.5 * np.cos(np.pi * share)).astype(np.float32)

    across = profile(area.left, area.width, width)
    down = profile(area.top, area.height, height)
    return down[:, None] * across[None, :]


def reduced(gray: FloatArray, longest: int) -> tuple[FloatArray, float]:
    """Return a grey picture (h, w) whose longer side is at most ``longest``, and the factor."""
    height, width = gray.shape
    factor = min(1.0, longest / max(height, width))
    if factor == 1:
        return gray, 1.0
    size = max(1, round(width * factor)), max(1, round(height * factor))
    smaller: Any = cv2.resize(gray, size, interpolation=cv2.INTER_AREA)
    return smaller, factor

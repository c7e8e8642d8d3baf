"""The compare viewer: two to eight pictures of one scene behind a divider, as HTML."""

import math
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from string import Template

from addsr_cli import imageio
from addsr_cli.errors import UsageError
from addsr_cli.imageio import Photo, WriteOptions
from addsr_cli.report.page import Page, asset

MAX_PICTURES = 8
_LOSSLESS_PIXELS = 512 * 512  # a PNG of this size is still small
_ASPECT_TOLERANCE = 0.02
_TYPES = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}


@dataclass(frozen=True, kw_only=True, eq=False)
class Picture:
    """A photo in the viewer and its label, which may be any text."""

    photo: Photo
    label: str


@dataclass(frozen=True, kw_only=True)
class Embedding:
    """How pictures are embedded in a page.

    ``quality`` (1 to 100) is that of pictures of more than 512x512 pixels, which are embedded as
    JPEG or WebP; with ``lossless`` False that of all pictures. Pictures whose longest side exceeds
    ``max_side`` pixels are reduced to it. Raises UsageError outside the ranges.
    """

    quality: int = 95
    max_side: int = 8192
    lossless: bool = True

    def __post_init__(self) -> None:
        if not 1 <= self.quality <= 100:
            raise UsageError(
                f"Quality {self.quality} is out of range.", "Give a number from 1 to 100."
            )
        if not 16 <= self.max_side <= 16383:  # the limit of WebP
            raise UsageError(
                f"--max-side {self.max_side} is out of range.", "Give a number from 16 to 16383."
            )

    def reduced(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the (width, height) that is embedded: within ``max_side``, of the same aspect."""
        width, height = size
        factor = min(1.0, self.max_side / max(size))
        return max(1, round(width * factor)), max(1, round(height * factor))


def compare_page(
    pictures: Sequence[Picture],
    title: str,
    embedding: Embedding | None = None,
) -> str:
    """Return the page of ``addsr compare``. Raises as `viewer_html` does."""
    viewer = viewer_html(pictures, embedding)
    return Page(title=title, sections=[viewer], fills_window=True).html()


def viewer_html(pictures: Sequence[Picture], embedding: Embedding | None = None) -> str:
    """Return a viewer for a `Page`; without scripts, and in print, a row of labelled pictures.

    At first the first picture is left of the divider and the last one right. Colour profiles are
    embedded; 16 bits become 8. Raises UsageError for fewer than 2 or more than 8 pictures and for
    pictures of different aspect, OutputRefused for pixels that are not finite.
    """
    check_count(len(pictures))
    _check_shapes([(picture.label, picture.photo.size) for picture in pictures])
    figures = [_figure(picture, embedding or Embedding()) for picture in pictures]
    return Template(asset("viewer.html")).substitute(figures="\n".join(figures))


def check_count(count: int) -> None:
    """Raise UsageError unless a viewer can show ``count`` pictures: 2 to 8."""
    if not 2 <= count <= MAX_PICTURES:
        pictures = "1 picture" if count == 1 else f"{count} pictures"
        raise UsageError(f"{pictures} cannot be compared.", f"Give 2 to {MAX_PICTURES}.")


def _check_shapes(sizes: Sequence[tuple[str, tuple[int, int]]]) -> None:
    """Raise UsageError unless all (label, size) have the aspect of the largest.

    A difference of 2 %, or of one pixel from rounding, is allowed.
    """
    largest, (width, height) = max(sizes, key=lambda labelled: math.prod(labelled[1]))
    for label, (w, h) in sizes:
        deviation = abs(w * height / (h * width) - 1)
        is_rounded = abs(h - w * height / width) <= 1 or abs(w - h * width / height) <= 1
        if deviation > _ASPECT_TOLERANCE and not is_rounded:
            raise UsageError(
                f"{label} ({w}x{h}) has another shape than {largest} ({width}x{height}).",
                "Compare pictures of the same scene and crop. "
                "Sizes may differ, aspect ratios may not.",
            )


def _figure(picture: Picture, embedding: Embedding) -> str:
    photo = picture.photo
    label = escape(picture.label)
    size = f"{photo.width} &times; {photo.height}"
    width, height = embedding.reduced(photo.size)
    if (width, height) != photo.size:
        size += f", reduced to {width} &times; {height}"
    return (
        f'<figure><img src="{_data_url(photo, embedding)}" alt="{label}">'
        f'<figcaption><span class="label">{label}</span> <span class="size">{size}</span>'
        "</figcaption></figure>"
    )


def _data_url(photo: Photo, embedding: Embedding) -> str:
    """Return the picture as PNG when it is small, as WebP when it has alpha, else as JPEG.

    Lossy WebP halves the resolution of colour, JPEG need not.
    """
    photo = _resize(photo, embedding.reduced(photo.size))
    is_lossless = embedding.lossless and photo.width * photo.height <= _LOSSLESS_PIXELS
    lossy = "WEBP" if photo.has_alpha else "JPEG"
    name = "PNG" if is_lossless else lossy
    options = WriteOptions(
        format=name,
        quality=None if is_lossless else embedding.quality,
        bit_depth=8,
        metadata=False,
    )
    return f"data:{_TYPES[name]};base64,{b64encode(imageio.encode(photo, options)).decode()}"


def _resize(photo: Photo, size: tuple[int, int]) -> Photo:
    if size == photo.size:
        return photo
    if photo.alpha is None:
        return replace(photo, rgb=imageio.resize(photo.rgb, size))
    rgb = imageio.resize(imageio.fill_transparent(photo.rgb, photo.alpha), size)
    return replace(
        photo,
        rgb=rgb,
        alpha=imageio.resize_alpha(photo.alpha, size),
    )

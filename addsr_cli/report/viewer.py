"""The compare viewer: two to eight pictures of one scene behind one divider, as a piece of HTML."""

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
_LOSSLESS_PIXELS = 512 * 512  # up to here PNG costs little, and every pixel can be trusted
_ASPECT_TOLERANCE = 0.02
_TYPES = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}


@dataclass(
    frozen=True,
    kw_only=True,
    eq=False,
)
class Picture:
    """What the viewer shows and what it is called (any text)."""

    photo: Photo
    label: str


@dataclass(frozen=True, kw_only=True)
class Embedding:
    """How pictures are put into a page.

    ``quality`` (1 to 100) is for those of more than 512x512 pixels, which are not kept lossless;
    ``max_side`` is the longest side in pixels, to which larger ones are reduced; ``lossless`` False
    treats small ones like large ones. Raises UsageError outside the ranges.
    """

    quality: int = 95
    max_side: int = 8192
    lossless: bool = True

    def __post_init__(self) -> None:
        if not 1 <= self.quality <= 100:
            raise UsageError(
                f"Quality {self.quality} is out of range.", "Give a number from 1 to 100."
            )
        if not 16 <= self.max_side <= 16383:  # where WebP ends
            raise UsageError(
                f"--max-side {self.max_side} is out of range.", "Give a number from 16 to 16383."
            )

    def reduced(self, size: tuple[int, int]) -> tuple[int, int]:
        """(width, height) as embedded: within ``max_side``, aspect kept."""
        factor = min(1.0, self.max_side / max(size))
        return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def compare_page(
    pictures: Sequence[Picture], title: str, embedding: Embedding | None = None
) -> str:
    """Make the whole file of ``addsr compare``. Raises as `viewer_html` does."""
    return Page(
        title=title,
        parts=[viewer_html(pictures, embedding)],
        whole=True,
    ).html()


def viewer_html(pictures: Sequence[Picture], embedding: Embedding | None = None) -> str:
    """Make one viewer for a `Page`; without scripts, and on paper, it is a row of labelled pictures.

    The first picture begins at the left of the divider, the last at the right. Colour profiles
    travel with the pixels; 16 bits become 8. Raises UsageError for fewer than 2 or more than 8
    pictures and for pictures of different shape, OutputRefused for pixels that are not numbers.
    """
    check_count(len(pictures))
    _check_shapes([(picture.label, picture.photo.size) for picture in pictures])
    figures = [_figure(picture, embedding or Embedding()) for picture in pictures]
    return Template(asset("viewer.html")).substitute(figures="\n".join(figures))


def check_count(count: int) -> None:
    """Raise UsageError unless so many pictures fit into one viewer: 2 to 8."""
    if not 2 <= count <= MAX_PICTURES:
        what = "1 picture" if count == 1 else f"{count} pictures"
        raise UsageError(f"{what} cannot be compared.", f"Give 2 to {MAX_PICTURES}.")


def _check_shapes(sizes: Sequence[tuple[str, tuple[int, int]]]) -> None:
    """Raise UsageError unless all named sizes have the aspect of the largest, within 2 % or a pixel of rounding."""
    largest, (width, height) = max(sizes, key=lambda named: math.prod(named[1]))
    for name, (w, h) in sizes:
        off = abs(w * height / (h * width) - 1)
        if (
            off > _ASPECT_TOLERANCE
            and abs(h - w * height / width) > 1
            and abs(w - h * width / height) > 1
        ):
            raise UsageError(
                f"{name} ({w}x{h}) has another shape than {largest} ({width}x{height}).",
                "Compare pictures of the same scene and crop; sizes may differ, the aspect may not.",
            )


def _figure(picture: Picture, embedding: Embedding) -> str:
    photo, label = picture.photo, escape(picture.label)
    size, embedded = f"{photo.width} &times; {photo.height}", embedding.reduced(photo.size)
    if embedded != photo.size:
        size += f", reduced to {embedded[0]} &times; {embedded[1]}"
    return (
        f'<figure><img src="{_data_url(photo, embedding)}" alt="{label}">'
        f'<figcaption><span class="label">{label}</span> <span class="size">{size}</span></figcaption></figure>'
    )


def _data_url(photo: Photo, embedding: Embedding) -> str:
    """Lossless when small. JPEG else, because WebP halves the resolution of colour; WebP where there is alpha."""
    photo = _fitted(photo, embedding.reduced(photo.size))
    small = embedding.lossless and photo.width * photo.height <= _LOSSLESS_PIXELS
    name = "PNG" if small else "WEBP" if photo.has_alpha else "JPEG"
    options = WriteOptions(
        format=name,
        quality=None if small else embedding.quality,
        bit_depth=8,
        metadata=False,
    )
    return f"data:{_TYPES[name]};base64,{b64encode(imageio.encode(photo, options)).decode()}"


def _fitted(photo: Photo, size: tuple[int, int]) -> Photo:
    if size == photo.size:
        return photo
    if photo.alpha is None:
        return replace(photo, rgb=imageio.resize(photo.rgb, size))
    rgb = imageio.resize(imageio.fill_transparent(photo.rgb, photo.alpha), size)
    return replace(photo, rgb=rgb, alpha=imageio.resize_alpha(photo.alpha, size))

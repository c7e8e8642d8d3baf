"""The compare viewer: two to eight pictures of one scene behind a divider, as HTML."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from string import Template

from addsr_cli.errors import UsageError
from addsr_cli.imageio import Photo
from addsr_cli.report.embedding import Embedding, data_url
from addsr_cli.report.page import Page, asset

MAX_PICTURES = 8
_ASPECT_TOLERANCE = 0.02


@dataclass(frozen=True, kw_only=True, eq=False)
class Picture:
    """A photo in the viewer and its label, which may be any text."""

    photo: Photo
    label: str


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
    return _viewer([_figure(picture, embedding or Embedding()) for picture in pictures])


def empty_viewer_html() -> str:
    """Return a viewer without pictures, for a script that adds figures and calls `openViewer`."""
    return _viewer([])


def check_count(count: int) -> None:
    """Raise UsageError unless a viewer can show ``count`` pictures: 2 to 8."""
    if not 2 <= count <= MAX_PICTURES:
        pictures = "1 picture" if count == 1 else f"{count} pictures"
        raise UsageError(f"{pictures} cannot be compared.", f"Give 2 to {MAX_PICTURES}.")


def _viewer(figures: Sequence[str]) -> str:
    return Template(asset("viewer.html")).substitute(figures="\n".join(figures))


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
        f'<figure><img src="{data_url(photo, embedding)}" alt="{label}">'
        f'<figcaption><span class="label">{label}</span> <span class="size">{size}</span>'
        "</figcaption></figure>"
    )

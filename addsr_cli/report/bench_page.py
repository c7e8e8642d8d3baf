"""The report of a benchmark as one HTML file: charts, tables, protocol and pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from addsr_cli.report.embedding import Embedding
from addsr_cli.report.page import Page
from addsr_cli.report.tables import Table
from addsr_cli.report.viewer import MAX_PICTURES, Picture, viewer_html

MAX_PICTURE_BYTES = 14_500_000  # per page, so that it opens on a phone and fits into a mail
QUALITIES = (92, 85, 75, 60, 45)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One photo as every method restored it, the plainest first and the reference last."""

    title: str
    pictures: Sequence[Picture]


def bench_page(
    title: str,
    charts: Sequence[str],
    tables: Sequence[Table],
    protocol: Mapping[str, str],
    scenes: Sequence[Scene],
) -> str:
    """Return the page.

    Pictures are JPEG, of the best quality at which all scenes fit. Scenes that do not fit at the
    lowest quality are counted in a note.
    """
    sections = []
    if any(charts):
        sections.append(f'<div class="charts">{"".join(charts)}</div>')
    sections += [table.html() for table in tables]
    terms = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in protocol.items()
    )
    sections.append(
        f'<section class="protocol"><h2>How it was measured</h2><dl>{terms}</dl></section>'
    )
    viewers = _viewers(scenes)
    sections += viewers
    omitted = len(scenes) - len(viewers)
    if omitted:
        sections.append(f"<p>{omitted} more photos were measured; they are not shown here.</p>")
    return Page(title=title, sections=sections).html()


def _viewers(scenes: Sequence[Scene]) -> list[str]:
    """Return the viewers of the first scenes that fit, at the best quality that fits them all."""
    viewers: list[str] = []
    for quality in QUALITIES:
        viewers = _viewers_of_quality(scenes, quality)
        if len(viewers) == len(scenes):
            break
    return viewers


def _viewers_of_quality(scenes: Sequence[Scene], quality: int) -> list[str]:
    viewers: list[str] = []
    remaining = MAX_PICTURE_BYTES
    for scene in scenes:
        viewer = _viewer(scene, Embedding(quality=quality, lossless=False))
        remaining -= len(viewer)
        if remaining < 0:
            break
        viewers.append(viewer)
    return viewers


def _viewer(scene: Scene, embedding: Embedding) -> str:
    pictures = scene.pictures
    if len(pictures) > MAX_PICTURES:
        reference = pictures[-1]
        pictures = [*pictures[: MAX_PICTURES - 1], reference]
    return f"<h2>{escape(scene.title)}</h2>{viewer_html(pictures, embedding)}"

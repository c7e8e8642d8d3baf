"""The report of a benchmark as one HTML file: charts, tables, how it was measured, and the pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from addsr_cli.report.page import Page
from addsr_cli.report.tables import Table
from addsr_cli.report.viewer import MAX_PICTURES, Embedding, Picture, viewer_html

LARGEST = (
    14_500_000  # bytes of pictures in a page, so that it opens on a phone and fits into a mail
)
QUALITIES = (92, 85, 75, 60, 45)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One photo as every method made it, the plainest first and the reference last."""

    title: str
    pictures: Sequence[Picture]


def bench_page(
    title: str,
    charts: Sequence[str],
    tables: Sequence[Table],
    protocol: Mapping[str, str],
    scenes: Sequence[Scene],
) -> str:
    """The whole file. Pictures are JPEG, the better the fewer they are; scenes that find no room are counted."""
    shown, left_out = _viewers(scenes)
    parts = [f'<div class="charts">{"".join(charts)}</div>'] if any(charts) else []
    parts += [table.html() for table in tables]
    terms = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(words)}</dd>" for name, words in protocol.items()
    )
    parts.append(
        f'<section class="protocol"><h2>How it was measured</h2><dl>{terms}</dl></section>'
    )
    parts += shown
    if left_out:
        parts.append(
            f"<p>{left_out} more photos were measured and are not shown, to keep this page small.</p>"
        )
    return Page(title=title, parts=parts).html()


def _viewers(scenes: Sequence[Scene]) -> tuple[list[str], int]:
    """Viewers within the limit of bytes, at the best quality that lets all of them in; and how many had to go."""
    made: list[str] = []
    for quality in QUALITIES:
        made, room = [], LARGEST
        for scene in scenes:
            viewer = _viewer(scene, Embedding(quality=quality, lossless=False))
            room -= len(viewer)
            if room < 0:
                break
            made.append(viewer)
        if len(made) == len(scenes):
            break
    return made, len(scenes) - len(made)


def _viewer(scene: Scene, embedding: Embedding) -> str:
    pictures = scene.pictures
    if len(pictures) > MAX_PICTURES:  # the reference is the last and stays
        pictures = [*pictures[: MAX_PICTURES - 1], pictures[-1]]
    return f"<h2>{escape(scene.title)}</h2>{viewer_html(pictures, embedding)}"

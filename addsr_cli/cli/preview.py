"""``--preview``: only a square of the photo, to try options on before the whole photo runs."""

import re
from dataclasses import dataclass, replace

from addsr_cli.errors import UsageError
from addsr_cli.imageio import Header
from addsr_cli.settings import Settings

_PATTERN = re.compile(r"(\d+)(?:@(0?\.\d+|[01](?:\.\d*)?),(0?\.\d+|[01](?:\.\d*)?))?")

Box = tuple[int, int, int, int]


@dataclass(frozen=True, kw_only=True)
class Preview:
    """A square of ``side`` pixels of the photo, whose middle is at the shares ``x`` and ``y``."""

    side: int
    x: float = 0.5
    y: float = 0.5

    def box(self, width: int, height: int) -> Box:
        """Return (left, top, right, bottom) in pixels: moved inside the photo, and cut to it."""
        left, right = _span(self.x, self.side, width)
        top, bottom = _span(self.y, self.side, height)
        return left, top, right, bottom

    def crop(self, header: Header, settings: Settings) -> tuple[Header, Settings, Box]:
        """Return header and settings for the square alone, enlarged as in the whole photo."""
        box = self.box(*header.size)
        factor = settings.output_size(*header.size)[0] / header.width
        cropped = replace(header, width=box[2] - box[0], height=box[3] - box[1])
        scaled = replace(
            settings,
            scale=factor,
            width=None,
            height=None,
            longest=None,
            shortest=None,
        )
        return cropped, scaled, box


def parse_preview(text: str) -> Preview:
    """Return the preview of ``512`` or ``512@0.5,0.3``. Raises UsageError."""
    match = _PATTERN.fullmatch(text.strip())
    x, y = (float(match[2]), float(match[3])) if match and match[2] else (0.5, 0.5)
    if match is None or int(match[1]) < 1 or max(x, y) > 1:
        raise UsageError(
            f"--preview {text} is not a square of the photo.",
            "Write its side in pixels and its middle as shares of width and height: 512@0.5,0.3.",
        )
    return Preview(side=int(match[1]), x=x, y=y)


def _span(
    share: float,
    side: int,
    length: int,
) -> tuple[int, int]:
    size = min(side, length)
    start = min(max(0, round(share * length - size / 2)), length - size)
    return start, start + size

"""How one pass over one photo is run, and what it costs; decided in ``planner``."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import Literal, Self

from addsr_cli.engine.geometry import Box, grown_side, side_within, sides
from addsr_cli.models.architecture import Footprint
from addsr_cli.settings import MIN_TILE

Dtype = Literal["fp32", "bf16", "fp16"]

BYTES_PER_NUMBER = {"fp32": 4, "bf16": 2, "fp16": 2}
TILE_MULTIPLE = 16  # tiles and overlaps are multiples of this many canvas pixels
COLOR_MARGIN = 32  # canvas pixels that colour matching reads around a region, see ``color.REACH``


@dataclass(frozen=True, kw_only=True)
class PictureMemory:
    """Main memory for pictures, in bytes: input and output, and what encoding adds at the end."""

    samples: int = 0
    encoding: int = 0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How to run one pass over one photo, and why.

    ``width``, ``height``, ``tile``, ``overlap``, ``halo`` and ``region`` are in canvas pixels.
    ``tile`` None runs each region in one piece. With ``halo`` None, tiles of side ``tile`` overlap
    by ``overlap`` pixels and are blended, so their size shows slightly in the picture. Otherwise
    they lie side by side and the network sees ``halo`` pixels more on each side, so that the
    picture is the same however it is cut; then all ``steps`` are run for one ``region`` after the
    other, None for the whole at once. With ``strip``, the network takes strips of so many rows and
    keeps what it needs of those before; ``region`` is then the width of a band that is as high as
    the canvas. ``wider_types`` are the types to try when numbers overflow in
    ``dtype``; ``free_bytes`` is the memory that the plan may use; ``offload`` keeps whole pictures
    in main memory. An ``official`` plan cuts the canvas as the model's own program does: it encodes
    and decodes the whole (see ``official_plan``).
    """

    device: str
    dtype: Dtype
    tile: int | None
    overlap: int
    offload: bool
    why: str
    width: int
    height: int
    free_bytes: int
    footprint: Footprint
    steps: int = 1
    region: int | None = None
    strip: int | None = None
    pictures: PictureMemory = field(default_factory=PictureMemory)
    halo: int | None = None
    wider_types: tuple[Dtype, ...] = ()
    official: bool = False

    @property
    def needed_bytes(self) -> int:
        """Predicted peak memory of the work: weights, working memory, pictures.

        It is that of the device; on a CPU, input, output and encoder count too.
        """
        size = BYTES_PER_NUMBER[self.dtype]
        window = self._largest_window(self.width) * self._window_rows()
        activations = self.footprint.activations(size, in_strips=self.strip is not None)
        working = int(activations * window)
        if not self.offload:
            working += self._picture_bytes()
        pictures = self.pictures if self.device == "cpu" else PictureMemory()
        return self.footprint.weights(size) + pictures.samples + max(working, pictures.encoding)

    @property
    def peak_bytes(self) -> int:
        """Predicted peak memory of the process on a CPU, of the device elsewhere."""
        runtime = self.footprint.runtime if self.device == "cpu" else 0
        return self.needed_bytes + runtime

    @property
    def blends(self) -> bool:
        """Whether pictures, too, exist only in tiles, which are blended."""
        return self.tile is not None and self.halo is None and not self.official

    @property
    def margin(self) -> int:
        """Pixels around a region that take part in what its own pixels become."""
        return region_margin(self.steps, self.halo)

    def regions(self) -> list[tuple[Box, Box]]:
        """Return every region, and the window of the canvas that it needs."""
        whole = slice(0, self.height)
        rows = [(whole, whole)] if self.strip is not None else self._region_sides(self.height)
        columns = self._region_sides(self.width)
        return [
            ((own_rows, own_columns), (seen_rows, seen_columns))
            for own_rows, seen_rows in rows
            for own_columns, seen_columns in columns
        ]

    def strips(self) -> list[slice]:
        """Return the rows of every strip, from the top.

        The last strip brings what lags behind as well, and is low: memory is that of the others.
        """
        if self.strip is None:
            return [slice(0, self.height)]
        last = max(0, self.height - TILE_MULTIPLE)
        tops = [*range(0, last, self.strip), last]
        return [slice(top, stop) for top, stop in pairwise([*tops, self.height])]

    def wanted(
        self,
        core: Box,
        seen: Box,
        step: int,
    ) -> Box:
        """Return what counts of the prediction of a step (0-based) for a region: less every time.

        It is in the coordinates of ``seen``.
        """
        rows, columns = (
            self._wanted_side(own, window, step, length)
            for own, window, length in zip(core, seen, (self.height, self.width), strict=True)
        )
        return rows, columns

    @cached_property
    def window_sides(self) -> list[tuple[list[int], list[int]]]:
        """For each step, the heights and the widths of the windows that the network sees.

        Windows lie in rows and columns: every height occurs with every width. A photo too large
        for the memory may have millions of them.
        """
        if self.strip is not None:
            heights = [rows.stop - rows.start for rows in self.strips()]
            widths = [seen.stop - seen.start for _, seen in self._region_sides(self.width)]
            return [(heights, widths)]
        return [
            (self._window_lengths(self.height, step), self._window_lengths(self.width, step))
            for step in range(self.steps)
        ]

    @property
    def processed_pixels(self) -> int:
        """Canvas pixels that the network processes in a step, on average over the steps.

        Overlaps and halos count for every tile.
        """
        total = sum(sum(heights) * sum(widths) for heights, widths in self.window_sides)
        return total // self.steps

    @property
    def tiles(self) -> int:
        """Number of tiles in all steps."""
        return sum(len(heights) * len(widths) for heights, widths in self.window_sides)

    @property
    def tiles_per_step(self) -> int:
        """Number of tiles in one step, on average; 1 when the canvas is run in one piece."""
        return -(-self.tiles // self.steps)

    def smaller(self) -> Self | None:
        """Return the next plan that needs less memory, or None when this is the smallest."""
        if self.strip is not None:
            return self._narrower()
        longest = max(self.width, self.height)
        tile = self.tile or longest
        region = self.region or longest
        may_shrink = not self.official  # whose tiles are what was asked for
        while may_shrink and (tile > MIN_TILE or (self.halo is not None and region > MIN_TILE)):
            tile = max(MIN_TILE, round_down(tile // 2))
            region = max(MIN_TILE, round_down(region // 2))
            plan = self._with_tile(tile, region)
            if plan.needed_bytes < self.needed_bytes:
                return plan
        if self.offload or self.device == "cpu":
            return None
        why = f"{self.why}; pictures moved off the device after memory ran out"
        return replace(self, offload=True, why=why)

    def wider(self) -> Self | None:
        """Return the plan with the next wider type, or None when this is the widest."""
        if not self.wider_types:
            return None
        dtype, *rest = self.wider_types
        name = "float32" if dtype == "fp32" else dtype
        why = f"{self.why}; {name} after {self.dtype} gave unusable numbers"
        return replace(
            self,
            dtype=dtype,
            wider_types=tuple(rest),
            why=why,
        )

    def with_strips(self, strip: int, band: int | None) -> Self:
        """Return the plan in strips of so many rows, in bands of at most ``band`` columns."""
        across = "" if band is None else f" in bands of {band} px"
        before, _, _ = self.why.rpartition("; ")
        return replace(
            self,
            tile=None,
            strip=strip,
            region=band,
            why=f"{before}; strips of {strip} px{across}, which repeat no work",
        )

    def _region_sides(self, length: int) -> list[tuple[slice, slice]]:
        """Return every region along a side of ``length``, and the window that it needs."""
        whole = slice(0, length)
        if self.region is None:
            return [(whole, whole)]
        return sides(whole, self.region, self.margin, length, TILE_MULTIPLE)

    def _wanted_side(
        self,
        core: slice,
        seen: slice,
        step: int,
        length: int,
    ) -> slice:
        """Return ``wanted`` along a side of ``length``."""
        margin = self.margin - (step + 1) * (self.halo or 0)
        return side_within(grown_side(core, margin, length), seen)

    def _window_lengths(self, length: int, step: int) -> list[int]:
        """Return what the network sees along a side of ``length``, tile by tile."""
        if self.halo is None:
            tile = self.tile or length
            return [min(tile, length)] * tile_count(length, tile, self.overlap)
        lengths = []
        for core, seen in self._region_sides(length):
            seen_length = seen.stop - seen.start
            if self.tile is None:
                lengths.append(seen_length)
                continue
            area = self._wanted_side(core, seen, step, length)
            tiles = sides(area, self.tile, self.halo, seen_length, TILE_MULTIPLE)
            lengths += [with_halo.stop - with_halo.start for _, with_halo in tiles]
        return lengths

    def _narrower(self) -> Self | None:
        """Return the plan in strips of half the width, or None when they are the narrowest."""
        band = round_down((self.region or self.width) // 2)
        if band < MIN_TILE:
            return None
        why = f"{self.why}; bands of {band} px after memory ran out"
        return replace(self, region=band, why=why)

    def _with_tile(self, tile: int, region: int) -> Self:
        overlap = min(self.overlap, round_down(tile // 4))
        why = f"{self.why}; tiles of {tile} px after memory ran out"
        if self.halo is None:
            why += ", which changes the picture slightly: "
            why += f"--tile {tile} --overlap {overlap} gives it again"
            return replace(self, tile=tile, overlap=overlap, why=why)
        whole = region + 2 * self.margin >= max(self.width, self.height)
        return replace(
            self,
            tile=tile,
            overlap=overlap,
            region=None if whole else region,
            why=why,
        )

    def _window_rows(self) -> int:
        """Return the most rows that the network sees at once, or as many as strips cost memory.

        Rows that layers keep from strip to strip take about as much as the halos of a strip would.
        """
        if self.strip is None:
            return self._largest_window(self.height)
        return min(self.height, self.strip + 2 * (self.halo or 0))

    def _picture_bytes(self) -> int:
        """Return the memory of canvas, noise and latents of what is at work at once."""
        if self.strip is not None:
            columns = self._largest_window(self.width)
            return self.footprint.pictures * columns * self._window_rows()
        return picture_bytes(
            self.footprint,
            (self.width, self.height),
            tile=self.tile if self.blends or self.footprint.by_rows else None,
            region=self.region,
            margin=self.margin,
        )

    def _largest_window(self, length: int) -> int:
        """Return the most pixels along a side of ``length`` that the network sees at once."""
        if self.region is not None:
            length = min(length, self.region + 2 * self.margin)
        if self.tile is None or (self.official and not self.offload):
            return length
        neighbours = min(2, tile_count(length, self.tile, self.overlap) - 1)
        return min(length, self.tile + neighbours * (self.halo or 0))


def region_margin(steps: int, halo: int | None) -> int:
    """Return what a region needs around it: what colour matching reads, and a halo per step."""
    return COLOR_MARGIN + steps * (halo or 0)


def picture_bytes(
    footprint: Footprint,
    size: tuple[int, int],
    *,
    tile: int | None,
    region: int | None,
    margin: int,
) -> int:
    """Return the memory of canvas, noise and latents for a canvas of ``size`` (width, height).

    ``tile`` is that of blended tiles: pictures then exist for a row of tiles, and latents for the
    whole. Otherwise both exist for one ``region`` with its ``margin``.
    """
    width, height = size
    if tile is not None:
        band = width * min(height, 2 * tile)
        return footprint.pictures * band + footprint.latents * width * height
    if region is not None:
        width = min(width, region + 2 * margin)
        height = min(height, region + 2 * margin)
    return footprint.pictures * width * height


def round_down(pixels: int) -> int:
    """Return the largest multiple of ``TILE_MULTIPLE`` that is not above ``pixels``."""
    return pixels // TILE_MULTIPLE * TILE_MULTIPLE


def tile_count(
    length: int,
    tile: int,
    overlap: int,
) -> int:
    """Return how many tiles cover a side of ``length`` pixels."""
    if length <= tile:
        return 1
    steps = -(-(length - tile) // (tile - overlap))  # rounded up
    return 1 + steps


def covered_length(
    length: int,
    tile: int,
    overlap: int,
) -> int:
    """Return the pixels along a side of ``length`` that all its overlapping tiles together see."""
    return tile_count(length, tile, overlap) * min(tile, length)

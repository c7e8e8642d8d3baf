"""How one pass over one photo is run, and what it costs; decided in ``planner``."""

from dataclasses import dataclass, replace
from typing import Literal, Self

from addsr_cli.models.architecture import Footprint
from addsr_cli.settings import MIN_TILE

Dtype = Literal["fp32", "bf16", "fp16"]

BYTES_PER_NUMBER = {"fp32": 4, "bf16": 2, "fp16": 2}
TILE_MULTIPLE = 16  # tiles and overlaps are multiples of this many canvas pixels


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How to run one pass over one photo, and why.

    ``width``, ``height``, ``tile``, ``overlap`` and ``halo`` are in canvas pixels. ``tile`` None
    runs the canvas in one piece. With ``halo`` None, tiles of side ``tile`` overlap by ``overlap``
    pixels and are blended, so their size shows slightly in the picture. Otherwise they lie side by
    side and the network sees ``halo`` pixels more on each side, so that the picture is the same
    however it is cut. ``wider_types`` are the types to try when numbers overflow in ``dtype``;
    ``free_bytes`` is the memory that the plan may use; ``offload`` keeps whole pictures in main
    memory.
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
    halo: int | None = None
    wider_types: tuple[Dtype, ...] = ()

    @property
    def needed_bytes(self) -> int:
        """Predicted peak memory on the device: weights, working memory, whole pictures."""
        size = BYTES_PER_NUMBER[self.dtype]
        window = self._largest_window(self.width) * self._largest_window(self.height)
        working = self.footprint.network * window * size // 4
        pictures = 0 if self.offload else self.footprint.pictures * self.width * self.height
        return self.footprint.weights(size) + working + pictures

    @property
    def processed_pixels(self) -> int:
        """Canvas pixels that the network processes in a step; overlaps count for every tile."""
        if self.tile is None:
            return self.width * self.height
        columns = covered_length(
            self.width,
            self.tile,
            self.overlap,
            self.halo,
        )
        rows = covered_length(
            self.height,
            self.tile,
            self.overlap,
            self.halo,
        )
        return columns * rows

    @property
    def tiles_per_step(self) -> int:
        """Number of tiles in one step, 1 when the canvas is run in one piece."""
        if self.tile is None:
            return 1
        columns = tile_count(self.width, self.tile, self.overlap)
        rows = tile_count(self.height, self.tile, self.overlap)
        return columns * rows

    def smaller(self) -> Self | None:
        """Return the next plan that needs less memory, or None when this is the smallest."""
        tile = self.tile or max(self.width, self.height)
        while tile > MIN_TILE:
            tile = max(MIN_TILE, round_down(tile // 2))
            plan = self._with_tile(tile)
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

    def _with_tile(self, tile: int) -> Self:
        overlap = min(self.overlap, round_down(tile // 4))
        why = f"{self.why}; tiles of {tile} px after memory ran out"
        if self.halo is None:
            why += ", which changes the picture slightly: "
            why += f"--tile {tile} --overlap {overlap} gives it again"
        return replace(self, tile=tile, overlap=overlap, why=why)

    def _largest_window(self, length: int) -> int:
        """Return the most pixels along a side of ``length`` that the network sees at once."""
        if self.tile is None:
            return length
        neighbours = min(2, tile_count(length, self.tile, self.overlap) - 1)
        return min(length, self.tile + neighbours * (self.halo or 0))


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
    halo: int | None,
) -> int:
    """Return the pixels along a side of ``length`` that all its tiles together see."""
    count = tile_count(length, tile, overlap)
    if halo is None:
        return count * min(tile, length)
    return length + 2 * halo * (count - 1)

"""Decide once how to run: precision, tiles, where pictures live. Pure arithmetic over plain values."""

from dataclasses import dataclass, replace
from typing import Literal, Self

from addsr_cli.errors import OutOfMemory, UsageError
from addsr_cli.hardware import Hardware
from addsr_cli.models.registry import Footprint, ModelSpec
from addsr_cli.settings import MIN_TILE, Machine

Dtype = Literal["fp32", "bf16", "fp16"]

SHARE_OF_FREE_MEMORY = 0.8  # the rest is for the allocator's slack and everybody else
RESIZE_BYTES_PER_PIXEL = 32  # bytes per pixel of a picture that is read and made smaller; measured, 32 with alpha and 22 without
CPU_EFFICIENCY = (
    0.55  # of the measured matrix rate that the convolutions reach, all stages included
)
BYTES_PER_NUMBER = {"fp32": 4, "bf16": 2, "fp16": 2}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How to run, and why. ``tile`` None means the picture in one piece; sizes are in canvas pixels.

    With ``halo`` None tiles of side ``tile`` share ``overlap`` pixels with their neighbours, and
    how they are cut shows a little. Else they lie side by side, the network sees ``halo`` more
    around each, and the picture is the same however it is cut. ``wider_types`` are what to try next
    when numbers overflow.
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
        """Predicted peak on the device: weights, network at work, pictures."""
        seen = self._window(self.width) * self._window(self.height)
        size = BYTES_PER_NUMBER[self.dtype]
        pictures = 0 if self.offload else self.footprint.pictures * self.width * self.height
        return self.footprint.weights(size) + self.footprint.network * seen * size // 4 + pictures

    def _window(self, length: int) -> int:
        """Most pixels along one side that the network sees at once."""
        if self.tile is None:
            return length
        neighbours = min(2, _count(length, self.tile, self.overlap) - 1)
        return min(length, self.tile + neighbours * (self.halo or 0))

    @property
    def seen_pixels(self) -> int:
        """Canvas pixels that the network works on in a step, those that several tiles see counted for each."""
        if self.tile is None:
            return self.width * self.height
        return _seen(self.width, self.tile, self.overlap, self.halo) * _seen(
            self.height, self.tile, self.overlap, self.halo
        )

    def smaller(self) -> Self | None:
        """The next plan that needs less memory, or None when this is the smallest."""
        half = self.tile or max(self.width, self.height)
        while half > MIN_TILE:
            half = max(MIN_TILE, half // 2 // 16 * 16)
            following = self._cut(half)
            if following.needed_bytes < self.needed_bytes:
                return following
        if not self.offload and self.device != "cpu":
            return replace(
                self,
                offload=True,
                why=f"{self.why}; pictures moved off the device after memory ran out",
            )
        return None

    def _cut(self, tile: int) -> Self:
        """The same in smaller tiles."""
        overlap = min(self.overlap, tile // 4 // 16 * 16)
        why = f"{self.why}; tiles of {tile} px after memory ran out"
        if self.halo is None:
            why += f", which changes the picture slightly: --tile {tile} --overlap {overlap} gives it again"
        return replace(
            self,
            tile=tile,
            overlap=overlap,
            why=why,
        )

    def wider(self) -> Self | None:
        """The same in the next wider type, for numbers that overflowed; None when this is the widest."""
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

    @property
    def tiles_per_step(self) -> int:
        """How many tiles a step takes."""
        if self.tile is None:
            return 1
        return _count(self.width, self.tile, self.overlap) * _count(
            self.height, self.tile, self.overlap
        )


def plan(
    size: tuple[int, int],
    machine: Machine,
    hardware: Hardware,
    spec: ModelSpec,
) -> Plan:
    """The fastest way to run a canvas of ``size`` (width, height) that fits into memory.

    When nothing fits, it is the smallest plan there is.

    Free memory alone never changes a picture: where the size of tiles shows (``spec.halo`` None),
    it is the model's own, unless the request names another or sets a limit of memory. Such a plan
    may need more than is free.
    """
    dtype, why_dtype = _precision(machine.precision, hardware)
    free = (
        hardware.free_bytes
        if machine.max_memory is None
        else min(hardware.free_bytes, machine.max_memory)
    )
    budget = int(free * (SHARE_OF_FREE_MEMORY if machine.max_memory is None else 1.0))
    offload = bool(machine.offload) and hardware.kind != "cpu"
    if machine.offload is None and hardware.kind != "cpu":
        offload = _pictures(spec, size, offload=False) > budget // 2
    resident = _pictures(spec, size, offload=offload) + spec.footprint.weights(
        BYTES_PER_NUMBER[dtype]
    )
    tile, overlap, why_tile = _tile(size, machine, spec, dtype, budget - resident)
    return Plan(
        device=hardware.device,
        dtype=dtype,
        tile=tile,
        overlap=overlap,
        offload=offload,
        why=f"{dtype} because {why_dtype}; {why_tile}"
        + ("; pictures wait in main memory" if offload else ""),
        width=size[0],
        height=size[1],
        free_bytes=free,
        footprint=spec.footprint,
        halo=spec.halo,
        wider_types=_wider_types(dtype, hardware),
    )


def check_memory(plan: Plan) -> None:
    """Refuse a plan that is foreseen not to fit. Raises OutOfMemory, with the numbers.

    A GPU says when its memory runs out, so that a plan may be tried as long as a smaller one fits.
    A processor's system ends the process instead.
    """
    fitting = plan if plan.device == "cpu" else _first_that_fits(plan)
    if fitting is None or fitting.needed_bytes > fitting.free_bytes:
        raise out_of_memory(plan)


def check_resize_memory(
    width: int,
    height: int,
    hardware: Hardware,
    max_memory: int | None,
) -> None:
    """Refuse to make a picture smaller that does not fit into main memory itself. Raises OutOfMemory."""
    free = min(hardware.free_bytes, max_memory or hardware.free_bytes)
    need = RESIZE_BYTES_PER_PIXEL * width * height
    if need > free:
        amounts = f"about {need / 1e9:.2f} GB needed, {free / 1e9:.2f} GB free"
        raise OutOfMemory(
            f"Not enough memory to resize {width}x{height} px: {amounts}.",
            "Close other programs, raise --max-memory, or take a smaller picture.",
        )


def out_of_memory(plan: Plan) -> OutOfMemory:
    """The refusal of a plan, with its numbers."""
    need, free = plan.needed_bytes / 1e9, plan.free_bytes / 1e9
    fitting = _first_that_fits(plan)
    tiles = (
        f"Add --tile {fitting.tile} for smaller tiles, or close"
        if fitting and fitting.tile
        else "Close"
    )
    return OutOfMemory(
        f"Not enough memory for {plan.width}x{plan.height} px: about {need:.2f} GB needed, {free:.2f} GB free.",
        f"{tiles} other programs, raise --max-memory, or upscale a smaller picture.",
    )


def batch_capacity(draft: Plan) -> int:
    """How many pictures of this plan fit into memory as one batch; 1 when a picture is cut into tiles itself."""
    if draft.tile is not None or draft.offload:
        return 1
    weights = draft.footprint.weights(BYTES_PER_NUMBER[draft.dtype])
    room = int(draft.free_bytes * SHARE_OF_FREE_MEMORY) - weights
    return max(1, room // (draft.needed_bytes - weights))


def predicted_seconds(
    spec: ModelSpec,
    draft: Plan,
    steps: int,
    multiply_rate: float,
) -> float:
    """Time of all steps on a machine that multiplies float32 matrices at ``multiply_rate`` FLOP/s; a rough guide."""
    return steps * spec.footprint.flop * draft.seen_pixels / (multiply_rate * CPU_EFFICIENCY)


def _first_that_fits(plan: Plan) -> Plan | None:
    """``plan`` or the first of those after it that is foreseen to fit; None when there is none."""
    following: Plan | None = plan
    while following is not None and following.needed_bytes > following.free_bytes:
        following = following.smaller()
    return following


def _precision(wanted: str, hardware: Hardware) -> tuple[Dtype, str]:
    """On GPUs fp16 first: the type of the official code, and several times nearer to float32 than bf16."""
    if wanted != "auto":
        return wanted, "it was asked for"  # type: ignore[return-value]
    if hardware.fp16 and hardware.kind != "cpu":
        return "fp16", f"{hardware.name} multiplies fp16 fast"
    if hardware.bf16:
        return "bf16", f"{hardware.name} multiplies bf16 fast"
    return (
        "fp32",
        f"{hardware.name} has no fast {'bf16' if hardware.kind == 'cpu' else 'half precision'}",
    )


def _wider_types(dtype: Dtype, hardware: Hardware) -> tuple[Dtype, ...]:
    """What follows when ``dtype`` overflows: bf16 has float32's range, where the hardware multiplies it fast."""
    if dtype == "fp32":
        return ()
    return ("bf16", "fp32") if dtype == "fp16" and hardware.bf16 else ("fp32",)


def _tile(
    size: tuple[int, int],
    machine: Machine,
    spec: ModelSpec,
    dtype: Dtype,
    budget: int,
) -> tuple[int | None, int, str]:
    """Side and overlap of the tiles, and the reason. ``budget``: bytes for the network at work."""
    overlap = spec.overlap if machine.overlap is None or spec.halo is not None else machine.overlap
    longest = max(size)
    if machine.tile is not None:
        if (machine.overlap or 0) >= machine.tile or overlap >= machine.tile:
            raise UsageError(
                f"--overlap {machine.overlap or overlap} must be smaller than --tile {machine.tile}."
            )
        if machine.tile >= longest:
            return None, overlap, "one piece, since it fits into one tile"
        return machine.tile, overlap, f"tiles of {machine.tile} px as asked"
    largest, halo = spec.tile, spec.halo or 0
    if spec.halo is not None or machine.max_memory is not None:
        fitting = (
            int((max(budget, 0) * 4 / (spec.footprint.network * BYTES_PER_NUMBER[dtype])) ** 0.5)
            - 2 * halo
        )
        largest = max(MIN_TILE, min(spec.tile, fitting // 16 * 16))
    if longest <= largest + 2 * halo:
        return None, overlap, "one piece, since it is small"
    overlap = min(overlap, largest // 4 // 16 * 16)

    def work(tile: int) -> int:
        return _seen(size[0], tile, overlap, spec.halo) * _seen(size[1], tile, overlap, spec.halo)

    tile = min(range(max(MIN_TILE, largest // 2 // 16 * 16), largest + 1, 16), key=work)
    limit = "free memory" if machine.max_memory is None else "--max-memory"
    reason = "which cover it with least overlap" if largest == spec.tile else f"as {limit} allows"
    return tile, overlap, f"tiles of {tile} px, {reason}"


def _pictures(spec: ModelSpec, size: tuple[int, int], *, offload: bool) -> int:
    return 0 if offload else spec.footprint.pictures * size[0] * size[1]


def _count(length: int, tile: int, overlap: int) -> int:
    return 1 if length <= tile else 1 + -(-(length - tile) // (tile - overlap))


def _seen(
    length: int,
    tile: int,
    overlap: int,
    halo: int | None,
) -> int:
    """Pixels along one side that all tiles together see."""
    count = _count(length, tile, overlap)
    return count * min(tile, length) if halo is None else length + 2 * halo * (count - 1)

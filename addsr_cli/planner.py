"""Decide once how to run: precision, tiles, where pictures live. Pure arithmetic over plain values."""

from dataclasses import dataclass, replace
from typing import Literal, Self

from addsr_cli.errors import OutOfMemory, UsageError
from addsr_cli.hardware import Hardware
from addsr_cli.models.registry import Footprint, ModelSpec

Dtype = Literal["fp32", "bf16", "fp16"]
PRECISIONS = ("auto", "fp32", "bf16", "fp16")

SMALLEST_TILE = 128
SHARE_OF_FREE_MEMORY = 0.8  # the rest is for the allocator's slack and everybody else
CPU_EFFICIENCY = 0.55  # of the measured matrix rate that the convolutions reach, all stages included
BYTES = {"fp32": 4, "bf16": 2, "fp16": 2}


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is to be run. ``width`` and ``height`` are those of the canvas in pixels; None or "auto" leaves it to us."""

    width: int
    height: int
    precision: str = "auto"
    tile: int | None = None
    overlap: int | None = None
    offload: bool | None = None
    max_memory: int | None = None

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        if self.precision not in PRECISIONS:
            raise UsageError(f"--precision {self.precision} is unknown.", f"Use one of {', '.join(PRECISIONS)}.")
        if self.tile is not None and (self.tile < SMALLEST_TILE or self.tile % 16):
            raise UsageError(f"--tile {self.tile} must be a multiple of 16, at least {SMALLEST_TILE}.")
        if self.overlap is not None and (self.overlap < 0 or self.overlap % 16):
            raise UsageError(f"--overlap {self.overlap} must be a multiple of 16, 0 or more.")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How to run, and why. ``tile`` and ``overlap`` in canvas pixels; ``tile`` None means the picture in one piece."""

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

    @property
    def needed_bytes(self) -> int:
        """Predicted peak on the device: weights, network at work, pictures."""
        side = self.tile or max(self.width, self.height)
        seen = min(side, self.width) * min(side, self.height)
        size = BYTES[self.dtype]
        pictures = 0 if self.offload else self.footprint.pictures * self.width * self.height
        return self.footprint.parameters * size + self.footprint.network * seen * size // 4 + pictures

    def smaller(self) -> Self | None:
        """The next plan that needs less memory, or None when this is the smallest."""
        side = self.tile or max(self.width, self.height)
        half = max(SMALLEST_TILE, side // 2 // 16 * 16)
        if half < side:
            overlap = min(self.overlap, half // 4 // 16 * 16)
            why = f"{self.why}; tiles made smaller after memory ran out"
            return replace(self, tile=half, overlap=overlap, why=why)
        if not self.offload and self.device != "cpu":
            return replace(self, offload=True, why=f"{self.why}; pictures moved off the device after memory ran out")
        return None

    def wider(self) -> Self | None:
        """The same in float32, for numbers that overflowed; None when it is float32 already."""
        if self.dtype == "fp32":
            return None
        return replace(self, dtype="fp32", why=f"{self.why}; float32 after {self.dtype} gave unusable numbers")

    def tiles(self) -> int:
        """How many tiles a step takes."""
        if self.tile is None:
            return 1
        return _count(self.width, self.tile, self.overlap) * _count(self.height, self.tile, self.overlap)


def plan(request: Request, hardware: Hardware, spec: ModelSpec) -> Plan:
    """The fastest way to run ``request`` that fits into memory; when nothing fits, the smallest one there is."""
    dtype, why_dtype = _precision(request.precision, hardware)
    free = min(hardware.free_bytes, request.max_memory or hardware.free_bytes)
    budget = int(free * (SHARE_OF_FREE_MEMORY if request.max_memory is None else 1.0))
    offload = bool(request.offload) and hardware.kind != "cpu"
    if request.offload is None and hardware.kind != "cpu":
        offload = _pictures(spec, request, offload=False) > budget // 2
    resident = _pictures(spec, request, offload=offload) + spec.footprint.parameters * BYTES[dtype]
    tile, overlap, why_tile = _tile(request, spec, dtype, budget - resident)
    return Plan(
        device=hardware.device,
        dtype=dtype,
        tile=tile,
        overlap=overlap,
        offload=offload,
        why=f"{dtype} because {why_dtype}; {why_tile}" + ("; pictures wait in main memory" if offload else ""),
        width=request.width,
        height=request.height,
        free_bytes=free,
        footprint=spec.footprint,
    )


def no_room(plan: Plan) -> OutOfMemory:
    """The refusal of a plan, with its numbers."""
    need, free = plan.needed_bytes / 1e9, plan.free_bytes / 1e9
    return OutOfMemory(
        f"Not enough memory for {plan.width}x{plan.height} px: about {need:.2f} GB needed, {free:.2f} GB free.",
        "Close other programs, raise --max-memory, or upscale a smaller picture.",
    )


def room_for(draft: Plan) -> int:
    """How many pictures of this plan fit into memory as one batch; 1 when a picture is cut into tiles itself."""
    if draft.tile is not None or draft.offload:
        return 1
    weights = draft.footprint.parameters * BYTES[draft.dtype]
    room = int(draft.free_bytes * SHARE_OF_FREE_MEMORY) - weights
    return max(1, room // (draft.needed_bytes - weights))


def predicted_seconds(spec: ModelSpec, draft: Plan, steps: int, multiply_rate: float) -> float:
    """Time of all steps on a machine that multiplies float32 matrices at ``multiply_rate`` FLOP/s; a rough guide."""
    side = draft.tile or 0
    pixels = draft.tiles() * side * side if side else draft.width * draft.height
    return steps * spec.footprint.flop * pixels / (multiply_rate * CPU_EFFICIENCY)


def _precision(wanted: str, hardware: Hardware) -> tuple[Dtype, str]:
    if wanted != "auto":
        return wanted, "it was asked for"  # type: ignore[return-value]
    if hardware.bf16:
        return "bf16", f"{hardware.name} multiplies bf16 fast"
    if hardware.fp16 and hardware.kind != "cpu":
        return "fp16", f"{hardware.name} multiplies fp16 fast, bf16 not"
    return "fp32", f"{hardware.name} has no fast bf16"


def _tile(request: Request, spec: ModelSpec, dtype: Dtype, budget: int) -> tuple[int | None, int, str]:
    overlap = spec.overlap if request.overlap is None else request.overlap
    longest = max(request.width, request.height)
    if request.tile is not None:
        if overlap >= request.tile:
            raise UsageError(f"--overlap {overlap} must be smaller than --tile {request.tile}.")
        if request.tile >= longest:
            return None, overlap, "one piece, since it fits into one tile"
        return request.tile, overlap, f"tiles of {request.tile} px as asked"
    per_pixel = spec.footprint.network * BYTES[dtype] // 4
    side = int((max(budget, 0) / per_pixel) ** 0.5) // 16 * 16
    largest = max(SMALLEST_TILE, min(spec.tile, side))
    if longest <= largest:
        return None, overlap, "one piece, since it is small"
    overlap = min(overlap, largest // 4 // 16 * 16)

    def work(tile: int) -> int:
        return _count(request.width, tile, overlap) * _count(request.height, tile, overlap) * tile**2

    tile = min(range(max(SMALLEST_TILE, largest // 2 // 16 * 16), largest + 1, 16), key=work)
    reason = "which cover it with least overlap" if largest == spec.tile else "as free memory allows"
    return tile, overlap, f"tiles of {tile} px, {reason}"


def _pictures(spec: ModelSpec, request: Request, *, offload: bool) -> int:
    return 0 if offload else spec.footprint.pictures * request.width * request.height


def _count(length: int, tile: int, overlap: int) -> int:
    return 1 if length <= tile else 1 + -(-(length - tile) // (tile - overlap))

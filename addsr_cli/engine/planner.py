"""Decides once how a pass is run: precision, tile size, where whole pictures are kept.

The tile size is decided in ``choose_tiles``. Everything here is arithmetic over plain values: the
machine is described by ``Hardware``, the model by its ``ModelSpec``.
"""

from dataclasses import dataclass

from addsr_cli.engine.plan import (
    BYTES_PER_NUMBER,
    COLOR_MARGIN,
    TILE_MULTIPLE,
    Dtype,
    PictureMemory,
    Plan,
    covered_length,
    picture_bytes,
    region_margin,
    round_down,
)
from addsr_cli.engine.strips import in_strips
from addsr_cli.errors import OutOfMemory, UsageError
from addsr_cli.hardware import Hardware
from addsr_cli.models.architecture import ModelSpec
from addsr_cli.settings import MIN_TILE, Machine

SHARE_OF_FREE_MEMORY = 0.8  # the rest is left to the allocator and to other programs
# Peak bytes per pixel of reading a picture and making it smaller: 32 measured with alpha, 22
# without.
RESIZE_BYTES_PER_PIXEL = 32
# Of canvas, colour matching, rounding and encoding, per pixel of the canvas.
PICTURE_SECONDS = 0.12e-6
# Peak bytes per pixel of an encoder: Pillow's copy of 4 bytes, and the file.
ENCODER_BYTES_PER_PIXEL = 6
# Of the pictures of one region. More would save little time.
REGION_BYTES = 800_000_000


@dataclass(frozen=True, kw_only=True)
class TileChoice:
    """Side and overlap of the tiles in canvas pixels, and why; ``tile`` None is one piece."""

    tile: int | None
    overlap: int
    reason: str


def plan(
    size: tuple[int, int],
    machine: Machine,
    hardware: Hardware,
    spec: ModelSpec,
    *,
    steps: int = 1,
    pictures: PictureMemory | None = None,
) -> Plan:
    """Return the fastest plan for a canvas of ``size`` (width, height) that fits into memory.

    It is the smallest plan when none fits. ``pictures`` is the memory of input and output.

    Free memory alone never changes the picture: where the tile size shows (``spec.halo`` None), it
    is the model's own unless ``machine`` names another or limits the memory. Such a plan may need
    more than is free.
    """
    pictures = pictures or PictureMemory()
    dtype, dtype_reason = choose_dtype(machine.precision, hardware)
    free = _free_bytes(hardware, machine.max_memory)
    room = int(free * SHARE_OF_FREE_MEMORY) if machine.max_memory is None else free
    budget = room - spec.footprint.weights(BYTES_PER_NUMBER[dtype])
    if hardware.kind == "cpu":
        budget -= pictures.samples
    offload = _choose_offload(size, machine, hardware, spec, budget)
    region = choose_region(size, spec, steps, budget // 2)
    if not offload:
        budget -= _working_pictures(size, spec, steps, region)
    tiles = choose_tiles(size, machine, spec, dtype, budget, region)
    why = f"{dtype} because {dtype_reason}; {tiles.reason}"
    if offload:
        why += "; whole pictures stay in main memory"
    tiled = Plan(
        device=hardware.device,
        dtype=dtype,
        tile=tiles.tile,
        overlap=tiles.overlap,
        offload=offload,
        why=why,
        width=size[0],
        height=size[1],
        free_bytes=free,
        footprint=spec.footprint,
        steps=steps,
        region=region,
        pictures=pictures,
        halo=spec.halo,
        wider_types=_wider_types(dtype, hardware),
    )
    return in_strips(tiled, machine, spec, room)


def picture_memory(
    size: tuple[int, int],
    output: tuple[int, int],
    channels: int,
    bit_depth: int,
    input_depth: int | None = None,
) -> PictureMemory:
    """Return the memory of an input of ``size`` and its output, both (width, height)."""
    output_pixels = output[0] * output[1]
    # of an input with alpha, colour is there twice: as it was read, and filled where invisible
    input_channels = channels + (channels - 1 if channels in (2, 4) else 0)
    input_bits = input_channels * size[0] * size[1] * (input_depth or bit_depth)
    return PictureMemory(
        samples=(input_bits + channels * output_pixels * bit_depth) // 8,
        encoding=ENCODER_BYTES_PER_PIXEL * output_pixels,
    )


def choose_region(
    size: tuple[int, int],
    spec: ModelSpec,
    steps: int,
    available: int,
) -> int | None:
    """Return the side of the regions in which all steps are run, None for the whole at once.

    Only a finite reach allows them. ``available`` is the memory in bytes for their pictures.
    """
    if spec.halo is None or spec.native_scale is not None:
        return None
    width, height = size
    pixels = min(available, REGION_BYTES) // spec.footprint.pictures
    if width * height <= pixels:
        return None
    window = int(max(pixels, 0) ** 0.5)
    if window > min(size):  # a panorama: regions end where it does
        window = max(window, pixels // min(size))
    return max(MIN_TILE, round_down(window - 2 * region_margin(steps, spec.halo)))


def choose_dtype(precision: str, hardware: Hardware) -> tuple[Dtype, str]:
    """Return the type to run in, and the reason.

    On GPUs fp16 comes first: it is the type of the official code, and several times closer to
    float32 than bf16.
    """
    if precision != "auto":
        return precision, "it was requested"  # type: ignore[return-value]
    if hardware.fp16 and hardware.kind != "cpu":
        return "fp16", f"{hardware.name} is fast at fp16"
    if hardware.bf16:
        return "bf16", f"{hardware.name} is fast at bf16"
    missing = "bf16" if hardware.kind == "cpu" else "half precision"
    return "fp32", f"{hardware.name} has no fast {missing}"


def choose_tiles(
    size: tuple[int, int],
    machine: Machine,
    spec: ModelSpec,
    dtype: Dtype,
    working_bytes: int,
    region: int | None = None,
) -> TileChoice:
    """Decide the tile size; ``working_bytes`` is the memory left for the network's activations.

    A requested size wins. Otherwise the canvas is run in one piece where it is small enough, and
    else in tiles: those with a halo divide the ``region`` evenly; of those that are blended, the
    size between the model's smallest and the largest is taken that makes the network process the
    fewest pixels.
    """
    if machine.tile is not None:
        return _requested_tiles(size, machine, machine.tile, spec)
    longest_side = max(size)
    largest = _largest_tile(machine, spec, dtype, working_bytes)
    overlap = _requested_overlap(machine, spec)
    if longest_side <= largest + 2 * (spec.halo or 0):
        return TileChoice(
            tile=None,
            overlap=overlap,
            reason="one piece, since it is small",
        )
    overlap = min(overlap, _largest_overlap(largest, spec))
    if spec.halo is None:
        tile = _blended_tile(size, spec, largest, overlap)
    else:
        tile = _even_tile(size, region, largest)
    if largest == spec.tile:
        reason = "which cover it with least overlap"
    else:
        limit = "free memory" if machine.max_memory is None else "--max-memory"
        reason = f"as {limit} allows"
    return TileChoice(
        tile=tile,
        overlap=overlap,
        reason=f"tiles of {tile} px, {reason}",
    )


def _largest_overlap(tile: int, spec: ModelSpec) -> int:
    """Return the most that automatic tiles overlap: a quarter, or the model's own share if more."""
    share = max(spec.overlap, spec.tile // 4)
    return round_down(tile * share // spec.tile)


def _working_pictures(
    size: tuple[int, int],
    spec: ModelSpec,
    steps: int,
    region: int | None,
) -> int:
    """Return the memory of canvas, noise and latents at work at once, before tiles are chosen."""
    return picture_bytes(
        spec.footprint,
        size,
        tile=min(spec.tile, max(size)) if spec.halo is None or spec.footprint.by_rows else None,
        region=region,
        margin=region_margin(steps, spec.halo),
    )


def _blended_tile(
    size: tuple[int, int],
    spec: ModelSpec,
    largest: int,
    overlap: int,
) -> int:
    def processed_pixels(tile: int) -> int:
        return covered_length(size[0], tile, overlap) * covered_length(size[1], tile, overlap)

    preferred = min(largest, spec.smallest_tile or round_down(largest // 2))
    smallest = max(MIN_TILE, 2 * overlap, preferred)
    return min(range(smallest, largest + 1, TILE_MULTIPLE), key=processed_pixels)


def _even_tile(
    size: tuple[int, int],
    region: int | None,
    largest: int,
) -> int:
    """Return the tile that divides the longer side of a region, with its colour margin, evenly.

    Regions divide the canvas into nearly equal sides. A tile may be larger by the colour margins:
    slivers would cost more.
    """
    length = max(size)
    if region is not None:
        length = -(-length // -(-length // region)) + 2 * COLOR_MARGIN
    if largest <= MIN_TILE:
        return MIN_TILE
    tiles = -(-length // (largest + 2 * COLOR_MARGIN))
    return -(-length // (tiles * TILE_MULTIPLE)) * TILE_MULTIPLE


def check_memory(plan: Plan) -> None:
    """Raise OutOfMemory, with the numbers, when the plan is predicted not to fit.

    A GPU reports when its memory runs out, so a plan may be tried there as long as a smaller one
    fits. On a CPU the system would kill the process instead.
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
    """Raise OutOfMemory when a picture of this size (pixels) cannot even be made smaller."""
    free = min(hardware.free_bytes, max_memory or hardware.free_bytes)
    needed = RESIZE_BYTES_PER_PIXEL * width * height
    if needed > free:
        amounts = f"about {needed / 1e9:.2f} GB needed, {free / 1e9:.2f} GB free"
        raise OutOfMemory(
            f"Not enough memory to resize {width}x{height} px: {amounts}.",
            "Close other programs, raise --max-memory, or use a smaller picture.",
        )


def out_of_memory(plan: Plan) -> OutOfMemory:
    """Return the error for a plan that does not fit, with the numbers and what to try instead."""
    needed = plan.needed_bytes / 1e9
    free = plan.free_bytes / 1e9
    amounts = f"about {needed:.2f} GB needed, {free:.2f} GB free"
    fitting = _first_that_fits(plan)
    if fitting and fitting.tile:
        first = f"Add --tile {fitting.tile} for smaller tiles, or close"
    else:
        first = "Close"
    hint = f"{first} other programs, raise --max-memory, or use a smaller picture."
    return OutOfMemory(f"Not enough memory for {plan.width}x{plan.height} px: {amounts}.", hint)


def batch_capacity(plan: Plan) -> int:
    """Return how many pictures of this plan fit into memory as one batch; 1 for tiles."""
    if plan.offload or any((plan.tile, plan.region, plan.strip)):
        return 1
    weights = plan.footprint.weights(BYTES_PER_NUMBER[plan.dtype])
    room = int(plan.free_bytes * SHARE_OF_FREE_MEMORY) - weights
    return max(1, room // (plan.needed_bytes - weights))


def predicted_seconds(
    spec: ModelSpec,
    plan: Plan,
    steps: int,
    flops: float,
) -> float:
    """Return a prediction of the time of all steps and of the work on pictures, on a CPU.

    ``flops`` is the rate in FLOP/s that the network reaches, see ``prediction.SpeedMeasurement``.
    """
    network = steps * spec.footprint.flop * plan.processed_pixels / flops
    return network + PICTURE_SECONDS * plan.width * plan.height


def _first_that_fits(plan: Plan) -> Plan | None:
    """Return ``plan`` or the first smaller one that is predicted to fit, or None."""
    candidate: Plan | None = plan
    while candidate is not None and candidate.needed_bytes > candidate.free_bytes:
        candidate = candidate.smaller()
    return candidate


def _free_bytes(hardware: Hardware, max_memory: int | None) -> int:
    if max_memory is None:
        return hardware.free_bytes
    return min(hardware.free_bytes, max_memory)


def _choose_offload(
    size: tuple[int, int],
    machine: Machine,
    hardware: Hardware,
    spec: ModelSpec,
    budget: int,
) -> bool:
    """Return whether whole pictures are kept in main memory instead of on the device."""
    if hardware.kind == "cpu":
        return False
    if machine.offload is not None:
        return machine.offload
    return spec.footprint.pictures * size[0] * size[1] > budget // 2


def _wider_types(dtype: Dtype, hardware: Hardware) -> tuple[Dtype, ...]:
    """Return the types to try after ``dtype`` overflows; bf16 has the range of float32."""
    if dtype == "fp32":
        return ()
    if dtype == "fp16" and hardware.bf16:
        return "bf16", "fp32"
    return ("fp32",)


def _requested_overlap(machine: Machine, spec: ModelSpec) -> int:
    """Return the overlap asked for, or the model's own; tiles with a halo have none to choose."""
    if machine.overlap is None or spec.halo is not None:
        return spec.overlap
    return machine.overlap


def _requested_tiles(
    size: tuple[int, int],
    machine: Machine,
    tile: int,
    spec: ModelSpec,
) -> TileChoice:
    overlap = _requested_overlap(machine, spec)
    if max(machine.overlap or 0, overlap) >= tile:
        raise UsageError(
            f"--overlap {machine.overlap or overlap} must be smaller than --tile {tile}."
        )
    if tile >= max(size):
        return TileChoice(
            tile=None,
            overlap=overlap,
            reason="one piece, since it fits into one tile",
        )
    return TileChoice(
        tile=tile,
        overlap=overlap,
        reason=f"tiles of {tile} px as asked",
    )


def _largest_tile(
    machine: Machine,
    spec: ModelSpec,
    dtype: Dtype,
    working_bytes: int,
) -> int:
    """Return the model's own tile, or less where memory limits it without changing the picture."""
    if spec.halo is None and machine.max_memory is None:
        return spec.tile
    bytes_per_pixel = spec.footprint.activations(BYTES_PER_NUMBER[dtype])
    window = int((max(working_bytes, 0) / bytes_per_pixel) ** 0.5)
    fitting = round_down(window - 2 * (spec.halo or 0))
    return max(MIN_TILE, min(spec.tile, fitting))

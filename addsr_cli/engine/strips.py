"""When a photo is run in strips of rows, and how wide.

A network that keeps rows of its layers from strip to strip computes nothing twice along the photo's
height. Across, a photo may be cut into bands, whose halos are work that is repeated: memory is
bought with time. Where it is little time, a photo is cut although its whole width would fit: the
machine has other things to do, too.
"""

from collections.abc import Iterator

from addsr_cli.engine.plan import BYTES_PER_NUMBER, TILE_MULTIPLE, Plan
from addsr_cli.models.architecture import ModelSpec
from addsr_cli.settings import MIN_TILE, Machine

# Of the work on one band. Bands that take less are not made narrower.
LITTLE_BYTES = 500_000_000
# Bands are made narrower down to this whatever they repeat.
MOST_BYTES = 1_600_000_000
# Work that bands may repeat to take less than ``MOST_BYTES``, as a share of the photo.
LITTLE_REPEATED = 0.05


def in_strips(
    plan: Plan,
    machine: Machine,
    spec: ModelSpec,
    room: int,
) -> Plan:
    """Return a plan in strips where that takes less time than ``plan``, else ``plan``.

    ``room`` is the memory that all may take, in bytes. A photo that is run in one piece stays so.
    Strips are for one step: a later one would need the rows that an earlier one has yet to give.
    They are for CPUs: a strip is too little work for a GPU, and to a compiled network each number
    of rows would be a new one to compile.
    """
    in_one_piece = plan.tile is None and plan.region is None
    unfit = plan.device != "cpu" or plan.steps > 1 or machine.compile or machine.tile is not None
    if not spec.strip or in_one_piece or unfit:
        return plan
    strips = _in_bands(plan, spec, room)
    fits = strips.needed_bytes <= max(room, plan.needed_bytes)
    return strips if fits and strips.processed_pixels < plan.processed_pixels else plan


def _in_bands(plan: Plan, spec: ModelSpec, room: int) -> Plan:
    """Return the plan in strips whose bands are narrow enough.

    They need not take less than the encoder does later.
    """
    idle = plan.pictures.samples + plan.footprint.weights(BYTES_PER_NUMBER[plan.dtype])
    little_work = (1 + LITTLE_REPEATED) * plan.width * plan.height
    candidates = _ever_narrower(plan, spec.strip)
    chosen = next(candidates)
    for narrower in candidates:
        enough = LITTLE_BYTES if narrower.processed_pixels <= little_work else MOST_BYTES
        if chosen.needed_bytes <= min(room, idle + max(enough, plan.pictures.encoding)):
            break
        chosen = narrower
    return chosen


def _ever_narrower(plan: Plan, strip: int) -> Iterator[Plan]:
    """Yield the plan in strips of the whole width, in two bands, in three, down to the least."""
    bands = 1
    width = plan.width
    yield plan.with_strips(strip, None)
    while width > MIN_TILE:
        bands += 1
        width = -(-plan.width // (bands * TILE_MULTIPLE)) * TILE_MULTIPLE
        yield plan.with_strips(strip, width)

"""When a photo is run in strips of rows, and how wide.

A network that keeps rows of its layers from strip to strip computes nothing twice along the photo's
height. Across, a photo is cut into bands only where its whole width does not fit into memory.
"""

from itertools import count

from addsr_cli.engine.plan import BYTES_PER_NUMBER, TILE_MULTIPLE, Plan
from addsr_cli.models.architecture import ModelSpec
from addsr_cli.settings import MIN_TILE, Machine

# Of the work on one band. A wider band would save little time: 2 % of a photo of 16000 pixels.
BAND_BYTES = 1_600_000_000


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
    idle = plan.pictures.samples + plan.footprint.weights(BYTES_PER_NUMBER[plan.dtype])
    limit = min(room, max(idle + BAND_BYTES, idle + plan.pictures.encoding))
    for bands in count(1):
        width = -(-plan.width // (bands * TILE_MULTIPLE)) * TILE_MULTIPLE
        strips = plan.with_strips(spec.strip, width if bands > 1 else None)
        if strips.needed_bytes <= limit or width <= MIN_TILE:
            break
    fits = strips.needed_bytes <= max(room, plan.needed_bytes)
    return strips if fits and strips.processed_pixels < plan.processed_pixels else plan

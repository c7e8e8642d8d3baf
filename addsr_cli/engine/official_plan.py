"""The plan of ``--tiles official``: large pictures cut as the model's own program cuts them."""

from dataclasses import replace

from addsr_cli.engine.plan import Plan
from addsr_cli.errors import UsageError
from addsr_cli.models.architecture import ModelSpec
from addsr_cli.settings import Machine

LATENT_FACTOR = 8  # canvas pixels; sides of the canvas are rounded up to it before tiles are cut


def official_plan(plan: Plan, machine: Machine, spec: ModelSpec) -> Plan:
    """Return ``plan`` with the tiles of the model's own program, and encoding and decoding whole.

    What does not fit on a GPU waits in main memory, unless ``machine`` forbids it. Raises
    UsageError for a model whose program this package does not repeat, and for tiles that were asked
    for besides.
    """
    tiles = spec.official_tiles
    if tiles is None:
        raise UsageError(
            f"--tiles official is for AddSR's networks only, not for {spec.name}.",
            "Leave --tiles out, or add --model addsr.",
        )
    if machine.tile is not None or machine.overlap is not None:
        raise UsageError(
            "--tiles official cannot be combined with --tile or --overlap.",
            "Leave one of them out.",
        )
    width = -(-plan.width // LATENT_FACTOR) * LATENT_FACTOR
    height = -(-plan.height // LATENT_FACTOR) * LATENT_FACTOR
    in_one_piece = width * height <= tiles.tile**2
    tile = None if in_one_piece else min(tiles.tile, width, height)
    cut = "one piece" if tile is None else f"tiles of {tile} px"
    dtype_reason = plan.why.partition("; ")[0]
    changed = replace(
        plan,
        official=True,
        tile=tile,
        overlap=tiles.overlap,
        offload=bool(machine.offload) and plan.device != "cpu",
        why=f"{dtype_reason}; {cut}, as in the official code",
    )
    may_offload = plan.device != "cpu" and machine.offload is None
    if may_offload and changed.needed_bytes > changed.free_bytes:
        why = f"{changed.why}; whole pictures stay in main memory"
        return replace(changed, offload=True, why=why)
    return changed

"""Whether half precision gives the same picture: tried, since nobody can say it of all networks."""

import math

import torch
from torch import Tensor

from addsr_cli.models.one_pass import PrecisionLoss
from addsr_cli.models.single_pass.measurements import check_picture, largest_but_few
from addsr_cli.models.single_pass.network import Enlarger

TOLERANCE = 2 / 255
SIDE = 32  # of the picture that is tried, in pixels


def check_precision(network: Enlarger, dtype: torch.dtype) -> None:
    """Convert a network to ``dtype``, on its device; raise PrecisionLoss if that changes pictures.

    One tile of a test picture is run in float32 and in ``dtype``. 999 of 1000 values have to be
    within 2/255.
    """
    picture = check_picture(SIDE, SIDE)
    reference = network.enlarge(picture)
    network.net.to(dtype=dtype)
    name = str(dtype).removeprefix("torch.")
    try:
        error = precision_error(reference, network.enlarge(picture))
    except (RuntimeError, TypeError) as exc:  # an operation that this type does not have
        raise PrecisionLoss(f"the network does not run in {name}") from exc
    if error > TOLERANCE:
        amount = "no numbers" if math.isinf(error) else f"values up to {255 * error:.1f}/255 off"
        raise PrecisionLoss(f"a test picture has {amount} in {name}")


def precision_error(reference: Tensor, other: Tensor) -> float:
    """Return the largest difference of 999 in 1000 values; infinite where some are not finite."""
    if not torch.isfinite(other).all():
        return math.inf
    error = (reference.clamp(0, 1) - other.clamp(0, 1)).abs()
    return largest_but_few(error.flatten())

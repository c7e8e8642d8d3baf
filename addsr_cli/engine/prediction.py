"""How long work takes on this machine, and how large a photo may be: what is said beforehand."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from addsr_cli import hardware
from addsr_cli.engine import planner
from addsr_cli.engine.plan import BYTES_PER_NUMBER, Dtype, Plan
from addsr_cli.errors import OutOfMemory
from addsr_cli.models.architecture import ModelSpec
from addsr_cli.settings import Settings
from addsr_cli.weights.loader import DTYPES

if TYPE_CHECKING:
    from addsr_cli.engine.upscaler import Upscaler

LARGEST_SIDE = 30_000  # pixels of a photo's longer side up to which a fitting one is looked for


class SpeedMeasurement:
    """Measures, at first use of a precision, how fast this machine's CPU runs a model."""

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self._rates: dict[Dtype, float] = {}

    def rate(self, dtype: Dtype) -> float:
        """Return the FLOP/s of the whole network, which takes about 0.1 s to measure."""
        if dtype not in self._rates:
            kernel = self.spec.footprint.kernel
            convolution = hardware.convolution_flops(
                kernel.channels,
                kernel.side,
                dtype=DTYPES[dtype],
            )
            self._rates[dtype] = convolution * kernel.efficiency(BYTES_PER_NUMBER[dtype])
        return self._rates[dtype]

    def seconds(self, plans: Sequence[Plan], steps: int) -> float | None:
        """Predict the time of all passes over a photo; None where one does not run on a CPU."""
        if any(plan.device != "cpu" for plan in plans):
            return None
        return sum(
            planner.predicted_seconds(
                self.spec,
                plan,
                max(1, steps),
                self.rate(plan.dtype),
            )
            for plan in plans
        )


def largest_photo(upscaler: "Upscaler", settings: Settings) -> tuple[int, int]:
    """Return the size (width, height) of the largest 4:3 photo that fits into the free memory.

    (0, 0) when none does; the search ends at 30000 pixels.
    """
    fitting = 0
    step = 1 << (LARGEST_SIDE // 4).bit_length()
    while step:  # of the quarter of the width
        quarter = fitting + step
        step //= 2
        if 4 * quarter > LARGEST_SIDE:
            continue
        try:
            upscaler.plan(4 * quarter, 3 * quarter, settings)
        except OutOfMemory:
            continue
        fitting = quarter
    return 4 * fitting, 3 * fitting

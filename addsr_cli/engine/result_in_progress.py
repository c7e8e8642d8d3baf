"""The memory of one result, from the network's first pixel to the finished photo."""

import numpy as np

from addsr_cli.detection import Area
from addsr_cli.engine.drift import Drift, hold
from addsr_cli.engine.protection import protect
from addsr_cli.engine.result import empty_samples, with_samples
from addsr_cli.engine.trust import Trust, measure_trust
from addsr_cli.imageio import Photo
from addsr_cli.imageio.photo import FloatArray, Samples, narrowed
from addsr_cli.settings import Settings


def working_depth(settings: Settings, bit_depth: int) -> int:
    """Return the bits of a sample while a result is made whose file has ``bit_depth``."""
    return bit_depth if settings.max_drift is None and not settings.protect else 16


class ResultInProgress:
    """A photo on its way: ``source`` as it was read, ``opaque`` with the colour for the network.

    The memory has the depth of the file, 8 or 16 bits. Where drift is bounded or parts are
    protected it has 16 until ``finish``: a correction must not round what was rounded before.
    """

    def __init__(
        self,
        source: Photo,
        opaque: Photo,
        size: tuple[int, int],
        bit_depth: int | None,
        settings: Settings,
    ) -> None:
        self.source = source
        self.opaque = opaque
        self.bound = settings.max_drift
        self.wants_trust = settings.trust_map
        self.settings = settings
        self.protected: tuple[Area, ...] = ()
        self.mask_sha256 = ""
        self.spread: FloatArray | None = None
        self.bit_depth = bit_depth or (8 if source.samples.itemsize == 1 else 16)
        depth = working_depth(settings, self.bit_depth)
        self.samples = empty_samples(size, source.channels, depth)

    @property
    def target(self) -> Samples:
        """What the passes fill: the samples without alpha, (H, W, 1 or 3)."""
        return self.samples[:, :, : self.opaque.colours]

    def finish(self, warnings: list[str]) -> tuple[Photo, Drift | None, Trust | None]:
        """Return the photo with alpha and metadata, and drift and trust where asked for.

        ``warnings`` gets a sentence when the bound could not be met, and when there is nothing to
        protect. Raises UnreadableInput for a mask that is no picture.
        """
        drift = None
        if self.settings.protect:
            parts = protect(self.target, self.opaque, self.settings, self.bit_depth)
            self.protected, self.mask_sha256 = parts.areas, parts.sha256
            if not parts.mask.any():
                warnings.append(
                    f"--protect {self.settings.protect}: nothing of that kind was found"
                )
        if self.bound is not None:
            drift = hold(self.target, self.opaque, self.bound, self.bit_depth)
            if not drift.within_bound:
                warnings.append(_unmet(drift, self.bit_depth))
        if self.bit_depth == 8 and self.samples.dtype != np.uint8:
            self.samples = narrowed(self.samples)
        trust = None
        if self.wants_trust:
            trust = measure_trust(self.target, self.opaque, self.spread)
        return with_samples(self.source, self.samples), drift, trust


def _unmet(drift: Drift, bit_depth: int) -> str:
    text = (
        f"the drift is {drift.p999:.2f} of 255 at the 99.9th percentile, above --max-drift "
        f"{drift.bound:g}: no closer picture of {bit_depth} bits was found"
    )
    return text if bit_depth == 16 else f"{text}; --bit-depth 16 may help"

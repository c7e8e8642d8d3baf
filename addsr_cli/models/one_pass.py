"""The seam between the engine and networks that answer in one pass: no steps, noise or prompts."""

from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class OnePassNetwork(Protocol):
    """A network that enlarges or restores a picture in one pass, as the engine sees it.

    ``scale`` is its factor, a whole number; 1 restores without enlarging. A tile shows the same as
    the whole picture where it starts at a multiple of ``alignment`` and has ``halo`` pixels more on
    each side; both are in pixels of the input. With ``halo`` None every pixel depends on every
    other, or on too many: tiles then overlap and are blended.
    """

    scale: int
    alignment: int
    halo: int | None

    def enlarge(self, image: Tensor) -> Tensor:
        """Return (B, 3, h, w), RGB in [0, 1], enlarged: (B, 3, scale * h, scale * w), float32.

        Any size is taken; the network's own requirements are met by padding. The result is on the
        network's device, and not clamped.
        """
        ...


class PrecisionLoss(ArithmeticError):
    """A network gives another picture in half precision than in float32."""

"""Real-ESRGAN's compact network (SRVGG): convolutions at the input's size, then pixel-shuffle.

A column of 3x3 convolutions with PReLU predicts the difference to the nearest-neighbour
enlargement (Wang et al. 2021; realesr-general-x4v3, realesr-animevideov3 and many finetunes).
"""

import math
from collections.abc import Mapping

import torch.nn.functional as F  # noqa: N812 (the field's name for it)
from torch import Tensor, nn


class Compact(nn.Module):
    """A picture (B, C, h, w) in [0, 1] -> (B, C, scale * h, scale * w), float32, not clamped.

    ``layers`` counts the convolutions between the first and the last.
    """

    def __init__(
        self,
        layers: int = 32,
        width: int = 64,
        *,
        colours: int = 3,
        scale: int = 4,
    ) -> None:
        super().__init__()
        self.channels = colours
        self.scale = scale
        self.halo = layers + 2  # one pixel for each convolution
        body: list[nn.Module] = [nn.Conv2d(colours, width, 3, padding=1), nn.PReLU(width)]
        for _ in range(layers):
            body += [nn.Conv2d(width, width, 3, padding=1), nn.PReLU(width)]
        body.append(nn.Conv2d(width, colours * scale**2, 3, padding=1))
        self.body = nn.Sequential(*body)

    def forward(self, x: Tensor) -> Tensor:
        """Run the network; the sum with the enlargement is in the type of ``x``."""
        weight = next(self.parameters())
        difference = F.pixel_shuffle(self.body(x.to(weight.dtype)), self.scale)
        return F.interpolate(x, scale_factor=float(self.scale), mode="nearest") + difference


def compact_for(shapes: Mapping[str, tuple[int, ...]]) -> Compact | None:
    """Return the network, without its weights, of a checkpoint; None for other networks.

    On the meta device it takes no memory.
    """
    numbers = [key.split(".")[1] for key in shapes if key.startswith("body.")]
    if not numbers or not all(number.isdecimal() for number in numbers):
        return None
    last = max(map(int, numbers))
    first, slope, final = (
        shapes.get(key, ()) for key in ("body.0.weight", "body.1.weight", f"body.{last}.weight")
    )
    if len(first) != 4 or len(slope) != 1 or len(final) != 4 or last % 2 or not first[1]:
        return None
    scale = math.isqrt(final[0] // first[1])
    if not scale or scale**2 * first[1] != final[0]:
        return None
    return Compact(last // 2 - 1, first[0], colours=first[1], scale=scale)

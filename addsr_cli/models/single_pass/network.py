"""A network in memory with what there is to know about it, and as the engine runs it."""

from dataclasses import dataclass, replace
from typing import Self

import torch
import torch.nn.functional as F  # noqa: N812 (the field's name for it)
from torch import Tensor, nn

LUMA = (0.299, 0.587, 0.114)  # of R, G and B (ITU-R BT.601), what grey networks are trained on


@dataclass(frozen=True, kw_only=True)
class Enlarger:
    """A network as a ``OnePassNetwork``.

    ``net`` takes and returns pictures (B, channels, h, w) in [0, 1] of 1 or 3 ``channels``, with
    sides that are multiples of ``multiple``. ``kind`` is what its authors call it.
    """

    net: nn.Module
    kind: str
    scale: int
    channels: int = 3
    multiple: int = 1
    alignment: int = 1
    halo: int | None = None

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(parameter.numel() for parameter in self.net.parameters())

    def tiled(self, alignment: int, halo: int | None) -> Self:
        """Return the same network with what was measured of its tiles."""
        return replace(self, alignment=alignment, halo=halo)

    @torch.inference_mode()
    def enlarge(self, image: Tensor) -> Tensor:
        """Return (B, 3, h, w), RGB in [0, 1], enlarged: see ``OnePassNetwork``.

        A network of one channel gets the luma; the colours are enlarged bicubically.
        """
        weight = next(self.net.parameters())
        image = image.to(weight.device, torch.float32)
        if self.channels == 3:
            return self._run(image)
        weights = torch.tensor(LUMA, device=image.device)[:, None, None]
        luma = (image * weights).sum(1, keepdim=True)
        return self._run(luma) + self._interpolated(image - luma)

    def _run(self, image: Tensor) -> Tensor:
        """Run the network on a picture of its own channels, padded to sides that it takes."""
        height, width = image.shape[-2:]
        padded = _padded(image, -width % self.multiple, -height % self.multiple)
        output = self.net(padded.contiguous(memory_format=torch.channels_last)).float()
        return output[..., : height * self.scale, : width * self.scale]

    def _interpolated(self, image: Tensor) -> Tensor:
        if self.scale == 1:
            return image
        return F.interpolate(image, scale_factor=float(self.scale), mode="bicubic")


def _padded(image: Tensor, right: int, bottom: int) -> Tensor:
    """Mirror a picture at its right and lower edge; where it is too small, repeat the edge."""
    if not right and not bottom:
        return image
    height, width = image.shape[-2:]
    mode = "reflect" if right < width and bottom < height else "replicate"
    return F.pad(image, (0, right, 0, bottom), mode=mode)

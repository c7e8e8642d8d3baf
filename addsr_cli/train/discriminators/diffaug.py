"""DiffAugment (Zhao et al. 2020): translation and cutout of real and fake images alike.

Draws are made on the CPU, apart from their application, so that a seed gives the same images on
every device. Gradients flow through both operations.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 (the field's name for it)
from torch import Tensor

MAX_SHIFT = 0.125  # share of each side
CUTOUT = 0.2  # share of each side


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Draws for one batch in whole pixels, down and right, int64 (B, 2) on the CPU."""

    shift: Tensor  # how far the image moves up and left
    cutout: Tensor  # center of the cutout


def draw(sides: tuple[int, int], generators: Sequence[torch.Generator]) -> Augmentation:
    """Draw uniformly for images of ``sides`` (H, W), each from its own generator on the CPU."""

    def uniform(low: int, high: int) -> Tensor:
        drawn = [torch.randint(low, high, (1,), generator=each) for each in generators]
        return torch.cat(drawn)

    reaches = [_share(side, MAX_SHIFT) for side in sides]
    shift = torch.stack([uniform(-reach, reach + 1) for reach in reaches], dim=1)
    ends = [side + 1 - _share(side, CUTOUT) % 2 for side in sides]
    cutout = torch.stack([uniform(0, end) for end in ends], dim=1)
    return Augmentation(shift=shift, cutout=cutout)


def augment(image: Tensor, augmentation: Augmentation) -> Tensor:
    """Translate, then cut out: (B, C, H, W) of any range -> the same shape, zero where empty."""
    return cut_out(translate(image, augmentation.shift), augmentation.cutout)


def translate(image: Tensor, shift: Tensor) -> Tensor:
    """``out[b, :, y, x] = image[b, :, y + shift[b, 0], x + shift[b, 1]]``, zero beyond the edge.

    Shifts are at most the side.
    """
    height, width = image.shape[-2:]
    down, right = (int(reach) for reach in shift.abs().amax(0))
    padded = F.pad(image, (right, right, down, down))
    corners = (shift + torch.tensor([down, right])).tolist()
    moved = [padded[b, :, y : y + height, x : x + width] for b, (y, x) in enumerate(corners)]
    return torch.stack(moved)


def cut_out(image: Tensor, center: Tensor) -> Tensor:
    """Set a rectangle of ``CUTOUT`` of each side around ``center`` (B, 2) to zero."""
    inside = []
    for axis, side in enumerate(image.shape[-2:]):
        size = _share(side, CUTOUT)
        offset = torch.arange(side) - (center[:, axis, None] - size // 2)
        inside.append((offset >= 0) & (offset < size))
    rectangle = inside[0][:, None, :, None] & inside[1][:, None, None, :]
    return image.masked_fill(rectangle.to(image.device), 0.0)


def _share(side: int, share: float) -> int:
    return int(side * share + 0.5)

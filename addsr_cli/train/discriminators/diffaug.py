"""DiffAugment (Zhao et al. 2020): real and fake pictures are shifted and holed before a discriminator sees them.

What is random is drawn apart from what is done with it, on the CPU, so that a seed gives the same
pictures on every device. Both operations pass gradients through.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 (the field's name for it)
from torch import Tensor

FURTHEST = 0.125  # shift, as a share of each side
HOLE = 0.2  # side of the hole, as a share of each side


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """One batch of draws: whole pixels, down and right, int64 (B, 2) on the CPU."""

    shift: Tensor  # how far the picture moves up and left
    hole: Tensor  # where the middle of the hole lies


def draw(shape: tuple[int, ...], generator: torch.Generator) -> Augmentation:
    """Draws for pictures of ``shape`` (B, C, H, W); uniform, each sample its own. ``generator`` lives on the CPU."""
    batch, (height, width) = shape[0], shape[-2:]

    def uniform(low: int, high: int) -> Tensor:
        return torch.randint(low, high, (batch,), generator=generator)

    far = _share(height, FURTHEST), _share(width, FURTHEST)
    shift = torch.stack([uniform(-reach, reach + 1) for reach in far], dim=1)
    ends = (side + 1 - _share(side, HOLE) % 2 for side in (height, width))
    return Augmentation(shift=shift, hole=torch.stack([uniform(0, end) for end in ends], dim=1))


def augment(image: Tensor, alteration: Augmentation) -> Tensor:
    """Shift, then hole: image (B, C, H, W) of any range -> the same shape; what is not picture is zero."""
    return cut_out(translate(image, alteration.shift), alteration.hole)


def translate(image: Tensor, shift: Tensor) -> Tensor:
    """``out[b, :, y, x] = image[b, :, y + shift[b, 0], x + shift[b, 1]]``, zero beyond the edge; |shift| <= side."""
    height, width = image.shape[-2:]
    down, right = (int(reach) for reach in shift.abs().amax(0))
    padded = F.pad(image, (right, right, down, down))
    corners = (shift + torch.tensor([down, right])).tolist()
    rows = [padded[b, :, y : y + height, x : x + width] for b, (y, x) in enumerate(corners)]
    return torch.stack(rows)


def cut_out(image: Tensor, hole: Tensor) -> Tensor:
    """Zero in a rectangle of ``HOLE`` of each side about ``hole`` (B, 2); less where it reaches over the edge."""
    within = []
    for axis, side in enumerate(image.shape[-2:]):
        size = _share(side, HOLE)
        along = torch.arange(side) - (hole[:, axis, None] - size // 2)
        within.append((along >= 0) & (along < size))
    inside = within[0][:, None, :, None] & within[1][:, None, None, :]
    return image.masked_fill(inside.to(image.device), 0.0)


def _share(side: int, share: float) -> int:
    return int(side * share + 0.5)

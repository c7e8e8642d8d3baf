"""Distances between pictures, float32 (B, 3, H, W) in [0, 1] -> one value per sample (B,)."""

import torch
from torch import Tensor


def charbonnier(a: Tensor, b: Tensor, eps: float = 1e-3) -> Tensor:
    """Smooth absolute distance, mean over pixels: ``sqrt((a - b)^2 + eps^2)``."""
    return torch.sqrt((a - b) ** 2 + eps**2).flatten(1).mean(1)

"""Noise that is a function of seed, draw and place, so that any window can draw its own part."""

from collections.abc import Sequence
from itertools import count

import numpy as np
import torch
from torch import Tensor

from addsr_cli.models.restorer import Noise

BLOCK = 32  # latent pixels a side that one generator fills


def placed_noise(
    seed: int,
    top: int = 0,
    left: int = 0,
) -> Noise:
    """Return a source of standard normal float32 tensors (1, C, h, w) on the CPU.

    The window starts at row ``top`` and column ``left`` of the whole latent. The n-th call gives
    the n-th draw, whose values at a place are the same in every window that holds it. Generators
    are NumPy's SFC64, one per block of 32x32 places.
    """
    draws = count()

    def noise(shape: Sequence[int]) -> Tensor:
        _, channels, height, width = shape
        draw = next(draws)
        out = np.empty((channels, height, width), np.float32)
        for row in range(top // BLOCK, -(-(top + height) // BLOCK)):
            for column in range(left // BLOCK, -(-(left + width) // BLOCK)):
                block = _block(seed, draw, row, column, channels)
                ours, theirs = _overlap(row * BLOCK, top, height)
                ours_across, theirs_across = _overlap(column * BLOCK, left, width)
                out[:, ours, ours_across] = block[:, theirs, theirs_across]
        return torch.from_numpy(out)[None]

    return noise


def stacked_noise(
    seeds: Sequence[int],
    top: int = 0,
    left: int = 0,
) -> Noise:
    """Return a noise source for a batch in which each sample draws from a seed of its own.

    A sample gets the same noise in a batch as alone.
    """
    sources = [placed_noise(seed, top, left) for seed in seeds]
    return lambda shape: torch.cat([source((1, *shape[1:])) for source in sources])


def _block(
    seed: int,
    draw: int,
    row: int,
    column: int,
    channels: int,
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    sequence = np.random.SeedSequence((seed, draw, row, column))
    generator = np.random.Generator(np.random.SFC64(sequence))
    return generator.standard_normal((channels, BLOCK, BLOCK), np.float32)


def _overlap(
    start: int,
    window: int,
    length: int,
) -> tuple[slice, slice]:
    """Return the part that a block and a window share: within the window, and within the block."""
    first = max(start, window)
    last = min(start + BLOCK, window + length)
    return slice(first - window, last - window), slice(first - start, last - start)

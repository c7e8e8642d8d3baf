"""Pictures that are made window by window, where a whole one would not fit into memory."""

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor

ReadWindow = Callable[[slice, slice], Tensor]  # rows, columns -> (B, 3, rows, columns)


class Windowed:
    """A picture (B, 3, H, W), float32, that ``read`` makes when a window of it is wanted.

    It stands in for a tensor wherever only windows of it are read, as tiling does:
    ``picture[..., rows, columns]``.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        device: torch.device,
        read: ReadWindow,
    ) -> None:
        self.shape = shape
        self.device = device
        self.read = read

    def __getitem__(self, index: tuple[object, slice, slice]) -> Tensor:
        _, rows, columns = index
        return self.read(rows, columns)

    def as_tensor(self) -> Tensor:
        """Return itself to code that takes a tensor and reads windows only."""
        return cast("Tensor", self)


def pointwise(
    function: Callable[[Tensor, Tensor], Tensor],
    first: Tensor,
    second: Tensor,
) -> Tensor:
    """Apply a function of single pixels to two pictures: now, or to each window that is read."""
    if not isinstance(first, Windowed):
        return function(first, second)

    def read(rows: slice, columns: slice) -> Tensor:
        return function(first[..., rows, columns], second[..., rows, columns])

    return Windowed(tuple(first.shape), first.device, read).as_tensor()

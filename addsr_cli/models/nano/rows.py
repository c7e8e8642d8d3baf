"""Operations on pictures that are there as a whole, or that come in strips of rows from the top.

A network written with them works on both, and gives the same numbers. An operation that reads rows
around its own keeps the last ones of a strip for the next: nothing is computed twice, and memory is
that of a strip. Results lag behind by the rows that are still to come, and are empty at first.

Pictures are (B, C, rows, W).
"""

from collections.abc import Callable
from typing import Protocol

import torch
import torch.nn.functional as F  # noqa: N812 (the field's name for it)
from torch import Tensor

# glibc's allocator maps blocks above 32 MiB apart from its heap, and returns them at once when they
# are freed. Of a larger block than is needed, only what is written to takes memory.
MAPPED_BYTES = (32 << 20) + 4096

Function = Callable[[Tensor], Tensor]


class RowLayer(Protocol):
    """A 3x3 convolution, perhaps of an enlarged picture, with a border of zeros."""

    def __call__(self, x: Tensor, border: int = 1) -> Tensor:
        """Convolve; ``border`` is the number of zero rows above and below, 0 or 1."""
        ...


class WholePicture:
    """The operations on whole pictures."""

    def convolve(self, layer: RowLayer, *parts: Tensor) -> tuple[Tensor, Tensor]:
        """Concatenate the channels of ``parts`` and convolve them.

        Returns the rows of the concatenation that those of the result lie on, and the result.
        """
        x = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
        return x, layer(x)

    def local(
        self,
        function: Function,
        x: Tensor,
        reach: int,
    ) -> tuple[Tensor, Tensor]:
        """Apply a function whose every row reads ``reach`` rows of ``x`` on each side.

        It takes any number of rows and ignores what is beyond them. Returns the rows of ``x`` that
        those of the result lie on, and the result.
        """
        return x, function(x)

    def aligned(self, *pictures: Tensor) -> tuple[Tensor, ...]:
        """Return the rows that all pictures, which began together, have by now."""
        return pictures

    def unshuffle(self, x: Tensor, size: int) -> Tensor:
        """Fold blocks of ``size`` x ``size`` pixels into channels (pixel-unshuffle)."""
        return F.pixel_unshuffle(x, size)


class AlternatingBuffers:
    """Two pieces of memory in turns: what is in one lasts until the next but one is taken.

    Fresh memory for windows of ever other sizes would scatter over the allocator's heap, which then
    grows far beyond what is in use.
    """

    def __init__(self) -> None:
        self._memory: list[Tensor | None] = [None, None]
        self._turn = 0

    def take(
        self,
        like: Tensor,
        rows: int,
        channels: int,
    ) -> Tensor:
        """Return a picture of the width and type of ``like``, channels last, not initialized."""
        batch, _, _, width = like.shape
        numbers = batch * rows * width * channels
        self._turn = 1 - self._turn
        memory = self._memory[self._turn]
        if memory is None or memory.numel() < numbers or memory.dtype != like.dtype:
            del memory
            self._memory[self._turn] = None  # before there is another one
            size = max(numbers, MAPPED_BYTES // like.element_size())
            memory = torch.empty(size, dtype=like.dtype, device=like.device)
            self._memory[self._turn] = memory
        picture = memory[:numbers].view(batch, rows, width, channels)
        return picture.permute(0, 3, 1, 2)


class RowStream(WholePicture):
    """The operations on one picture that comes in strips.

    Every strip goes through the same operations in the same order, which tells what was kept for
    which. The rows of a concatenation that ``convolve`` returns are in ``buffers``, which several
    streams may share: they last until the next but one ``convolve`` of any of them.
    """

    def __init__(self, buffers: AlternatingBuffers | None = None) -> None:
        self.buffers = buffers or AlternatingBuffers()
        self._stored: dict[int, tuple[Tensor, ...]] = {}
        self._done_above: dict[int, int] = {}
        self._number = 0
        self._last = False

    def start_strip(self, *, last: bool) -> None:
        """Begin the next strip; the ``last`` one brings all results to their end."""
        self._number = 0
        self._last = last

    def convolve(self, layer: RowLayer, *parts: Tensor) -> tuple[Tensor, Tensor]:
        """Convolve as far as the rows below are there."""
        number = self._next()
        window = self._window(number, parts)
        ready = max(0, window.shape[-2] - 2)
        self._keep(number, window[..., ready:, :])
        if not ready:
            return window[..., :0, :], layer(_zeros(window, 3), border=0)[..., :0, :]
        return window[..., 1:-1, :], layer(window, border=0)

    def _window(self, number: int, parts: tuple[Tensor, ...]) -> Tensor:
        """Return the rows kept and the new ones of all parts, with the picture's border of zeros.

        They are written once: concatenating first would copy them twice.
        """
        first = parts[0]
        channels = sum(part.shape[1] for part in parts)
        [stored] = self._stored.get(number, (_zeros(first, 1, channels),))
        rows = stored.shape[-2] + first.shape[-2]
        window = self.buffers.take(first, rows + self._last, channels)
        window[..., : stored.shape[-2], :] = stored
        window[..., rows:, :] = 0
        channel = 0
        for part in parts:
            window[:, channel : channel + part.shape[1], stored.shape[-2] : rows] = part
            channel += part.shape[1]
        return window

    def local(
        self,
        function: Function,
        x: Tensor,
        reach: int,
    ) -> tuple[Tensor, Tensor]:
        """Apply the function as far as the rows below are there."""
        number = self._next()
        window = _below(*self._stored.get(number, ()), x)
        above = self._done_above.get(number, 0)
        ready = max(0, window.shape[-2] - above - (0 if self._last else reach))
        start = max(0, above + ready - reach)
        self._keep(number, window[..., start:, :])
        self._done_above[number] = above + ready - start
        own = slice(above, above + ready)
        result = function(window if ready else _zeros(window, 1))
        return window[..., own, :], result[..., own if ready else slice(0, 0), :]

    def aligned(self, *pictures: Tensor) -> tuple[Tensor, ...]:
        """Return the rows that all pictures have by now, and that were not returned before."""
        number = self._next()
        stored = self._stored.get(number)
        known = pictures
        if stored:
            known = tuple(_below(old, new) for old, new in zip(stored, pictures, strict=True))
        rows = min(picture.shape[-2] for picture in known)
        self._keep(number, *(picture[..., rows:, :] for picture in known))
        return tuple(picture[..., :rows, :] for picture in known)

    def unshuffle(self, x: Tensor, size: int) -> Tensor:
        """Fold the blocks whose rows are all there."""
        number = self._next()
        known = _below(*self._stored.get(number, ()), x)
        ready = known.shape[-2] // size * size
        self._keep(number, known[..., ready:, :])
        if not ready:  # PyTorch returns another shape then
            return F.pixel_unshuffle(_zeros(known, size), size)[..., :0, :]
        return F.pixel_unshuffle(known[..., :ready, :], size)

    def _next(self) -> int:
        self._number += 1
        return self._number

    def _keep(self, number: int, *pictures: Tensor) -> None:
        """Copy pictures, since views would hold the whole strip in memory.

        Copies go to the same place each time: new ones would scatter over the memory that strips
        are taken from, and it would grow.
        """
        stored = self._stored.get(number, ())
        if [old.shape for old in stored] == [new.shape for new in pictures]:
            for old, new in zip(stored, pictures, strict=True):
                old.copy_(new)
        else:
            self._stored[number] = tuple(picture.clone() for picture in pictures)


WHOLE = WholePicture()


def _below(*strips: Tensor) -> Tensor:
    """Return strips below one another; those without rows are left out."""
    filled = [strip for strip in strips if strip.shape[-2]]
    if len(filled) < 2:
        return filled[0] if filled else strips[0]
    window = _empty(filled[0], sum(strip.shape[-2] for strip in filled), filled[0].shape[1])
    top = 0
    for strip in filled:  # torch.cat would keep the order of channels in memory only sometimes
        window[..., top : top + strip.shape[-2], :] = strip
        top += strip.shape[-2]
    return window


def _empty(like: Tensor, rows: int, channels: int) -> Tensor:
    return torch.empty(
        (like.shape[0], channels, rows, like.shape[-1]),
        dtype=like.dtype,
        device=like.device,
        memory_format=torch.channels_last,
    )


def _zeros(like: Tensor, rows: int, channels: int | None = None) -> Tensor:
    return _empty(like, rows, like.shape[1] if channels is None else channels).zero_()

"""The last stage of a pass: colours, blend, and integers of the output, window by window."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from addsr_cli import color, imageio
from addsr_cli.canvas import Canvas
from addsr_cli.engine.geometry import Box, within
from addsr_cli.imageio.photo import Samples, bands, quantize
from addsr_cli.settings import Settings

# Networks overshoot [0, 1], which colour matching still needs: what waits for it is stored in
# 16 bits over this range.
STORED_LEAST, STORED_MOST = -0.5, 1.5
SMALLEST_DETAIL = 0.5 / 65535  # half a level of 16 bits; resizing a flat picture stays below


@dataclass(frozen=True, kw_only=True)
class RestoredWindow:
    """A restored part of the canvas.

    ``core`` is what counts of it, ``seen`` the whole window, both (rows, columns) of the canvas;
    ``restored`` and ``canvas`` are (B, 3, H, W) of ``seen``.
    """

    core: Box
    seen: Box
    restored: Tensor
    canvas: Tensor


class Finisher:
    """Turns restored windows into the samples of the outputs.

    ``targets`` are (H, W, 1 or 3) of any depth, one per photo of the batch; they are filled as
    windows come, or at ``finish`` where the method of colour matching needs to have seen the whole.
    ``blend`` is the share of the canvas in the result.

    Where the canvas is larger than the targets, the result is shrunk to them.
    """

    def __init__(
        self,
        canvas: Canvas,
        targets: Sequence[Samples],
        settings: Settings,
        blend: float,
    ) -> None:
        self.canvas = canvas
        self.targets = targets
        self.settings = settings
        self.blend = blend
        width, height = canvas.size
        self.shrinks = targets[0].shape[:2] != (height, width)
        self.pictures: Sequence[Samples] = targets
        if self.shrinks:
            self.pictures = [
                np.empty((height, width, target.shape[2]), np.uint16) for target in targets
            ]
        self.matching: color.GlobalMatch | None = None
        if color.is_global(settings.effective_color):
            self.matching = color.GlobalMatch(settings.effective_color)
        self.stored: NDArray[np.uint16] | None = None
        self.restored_range = ValueRange()
        self.canvas_range = ValueRange()

    def add(self, window: RestoredWindow) -> None:
        """Take one window; cores must not overlap."""
        core = within(window.core, window.seen)
        own = window.restored[..., *core]
        reference = window.canvas[..., *core]
        self.restored_range.add(own)
        self.canvas_range.add(reference)
        if self.matching:
            self.matching.add(own, reference)
            self._store(window.core, own)
            return
        method = self.settings.effective_color
        matched = color.match(window.restored, window.canvas, method)
        self._write(window.core, matched[..., *core], reference)

    @property
    def has_no_detail(self) -> bool:
        """Whether a result is one flat colour although its canvas is not."""
        return bool((self.restored_range.flat & ~self.canvas_range.flat).any())

    def finish(self) -> None:
        """Fill in what had to wait for the last window."""
        if self.matching and self.stored is not None:
            _, _, height, width = self.canvas.shape
            for rows in bands(height, width):
                columns = slice(0, width)
                levels = torch.from_numpy(self.stored[:, :, rows].astype(np.float32))
                image = levels.mul_((STORED_MOST - STORED_LEAST) / 65535).add_(STORED_LEAST)
                reference = self.canvas.window(rows, columns)
                self._write((rows, columns), self.matching.apply(image), reference)
        if self.shrinks:
            for picture, target in zip(self.pictures, self.targets, strict=True):
                imageio.resize_into(picture, target)

    def _store(self, core: Box, own: Tensor) -> None:
        if self.stored is None:
            self.stored = np.empty(self.canvas.shape, np.uint16)
        levels = (own.float() - STORED_LEAST) * (65535 / (STORED_MOST - STORED_LEAST))
        self.stored[..., *core] = levels.round_().clamp_(0, 65535).cpu().numpy()

    def _write(
        self,
        core: Box,
        image: Tensor,
        reference: Tensor,
    ) -> None:
        """Write float pixels of a box of the canvas, whose padding is left out."""
        if self.blend:
            image = torch.lerp(image, reference.to(image.device), self.blend)
        width, height = self.canvas.size
        rows, columns = core
        rows = slice(rows.start, min(rows.stop, height))
        columns = slice(columns.start, min(columns.stop, width))
        image = image[..., : rows.stop - rows.start, : columns.stop - columns.start]
        for pixels, picture in zip(image, self.pictures, strict=True):
            for band in bands(*pixels.shape[1:]):  # floats are made for a few rows at a time
                values = pixels[:, band].float().clamp(0, 1).cpu()
                if picture.shape[2] == 1:
                    values = values.mean(dim=0, keepdim=True)
                own = picture[rows, columns][band]
                quantize(values.permute(1, 2, 0).numpy(), own)


class ValueRange:
    """The least and the greatest value of each image of a batch, over all its windows."""

    def __init__(self) -> None:
        self.least: Tensor | None = None
        self.most: Tensor | None = None

    def add(self, images: Tensor) -> None:
        """Take a window of all images, (B, 3, H, W)."""
        least = images.amin(dim=(1, 2, 3)).cpu()
        most = images.amax(dim=(1, 2, 3)).cpu()
        self.least = least if self.least is None else torch.minimum(self.least, least)
        self.most = most if self.most is None else torch.maximum(self.most, most)

    @property
    def flat(self) -> Tensor:
        """For each image, whether all its values are equal but for rounding: bool (B,)."""
        if self.least is None or self.most is None:
            return torch.zeros(0, dtype=torch.bool)
        return self.most - self.least < SMALLEST_DETAIL

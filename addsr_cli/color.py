"""Colour matching: give a restored picture the colours of the photo it came from.

Few-step diffusion shifts colours. All functions take float images (B, 3, H, W) in [0, 1] and return
float32, not clamped. Wavelet and AdaIN are those of StableSR and of the official AddSR code.
"""

import cv2
import torch
import torch.nn.functional as F  # noqa: N812 (the field's name for it)
from torch import Tensor

from addsr_cli.settings import Color

LEVELS = 5
REACH = 2**LEVELS - 1  # rows beyond its own that the low-pass filter reads
STRIP_ROWS = 128
VARIANCE_FLOOR = 1e-5


def is_global(method: Color) -> bool:
    """Return whether a method needs statistics of the whole picture before it can change any."""
    return method in ("adain", "lab")


def match(
    image: Tensor,
    reference: Tensor,
    method: Color,
) -> Tensor:
    """Return ``image`` with the colours of ``reference``. May reuse the memory of ``image``.

    Of a window, the outer ``REACH`` pixels are not those of the whole picture; global methods need
    ``GlobalMatch`` there.
    """
    if is_global(method):
        matching = GlobalMatch(method)
        matching.add(image, reference)
        return matching.apply(image)
    if method == "wavelet":
        return wavelet(image, reference)
    return image


class GlobalMatch:
    """AdaIN of a picture that comes in windows: first all are added, then each can be changed.

    "adain" sets each channel's mean and deviation to those of the reference (Huang & Belongie
    2017, eq. 8); "lab" does so on the two colour axes of CIELAB and keeps lightness.
    """

    def __init__(self, method: Color) -> None:
        self.method = method
        self.image = Moments()
        self.reference = Moments()

    def add(self, image: Tensor, reference: Tensor) -> None:
        """Count a window of the picture and the same one of its reference."""
        self.image.add(self._converted(image))
        self.reference.add(self._converted(reference))

    def apply(self, image: Tensor) -> Tensor:
        """Return a window of the picture with the colours of the reference."""
        values = self._converted(image)
        scale = self.reference.deviation / self.image.deviation
        matched = (values - self.image.mean) * scale + self.reference.mean
        if self.method == "adain":
            return matched.to(image.device)
        matched[:, :1] = values[:, :1]
        return _from_lab(matched).to(image.device)

    def _converted(self, image: Tensor) -> Tensor:
        return _to_lab(image) if self.method == "lab" else image.float().cpu()


class Moments:
    """Mean and deviation of each channel of a batch, merged over windows (Chan et al. 1979)."""

    def __init__(self) -> None:
        self.count = 0
        self._mean: Tensor | float = 0.0
        self._squares: Tensor | float = 0.0  # sum of squared differences from the mean

    def add(self, images: Tensor) -> None:
        """Count a window (B, C, H, W)."""
        count = images.shape[-2] * images.shape[-1]
        variance, mean = torch.var_mean(
            images,
            dim=(-2, -1),
            keepdim=True,
            correction=0,
        )
        mean = mean.double()
        total = self.count + count
        difference = mean - self._mean
        self._squares = (
            self._squares
            + variance.double() * count
            + difference.square() * (self.count * count / total)
        )
        self._mean = self._mean + difference * (count / total)
        self.count = total

    @property
    def mean(self) -> Tensor:
        """Mean of each channel, float32 (B, C, 1, 1)."""
        return torch.as_tensor(self._mean).float()

    @property
    def deviation(self) -> Tensor:
        """Standard deviation of each channel, float32 (B, C, 1, 1); never 0.

        Of a single pixel it is that of no deviation.
        """
        variance = torch.as_tensor(self._squares) / max(1, self.count - 1)
        return (variance + VARIANCE_FLOOR).sqrt().float()


def wavelet(image: Tensor, reference: Tensor) -> Tensor:
    """Return the fine detail of ``image`` on the broad colours of ``reference``.

    high(image) + low(reference) equals image + low(reference - image), since the low-pass filter is
    linear: one filter pass instead of two. The result is written into ``image`` where that is
    float32.

    The filter runs on strips of rows, each with the rows around it that it reads. Strips stay in
    the processor's cache; whole pictures took three times as long.
    """
    result = image.float()
    previous: tuple[slice, Tensor] | None = None
    for top in range(0, result.shape[-2], STRIP_ROWS):
        start = max(0, top - REACH)
        window = slice(start, top + STRIP_ROWS + REACH)
        low = low_pass(reference[..., window, :].float() - result[..., window, :])
        # This strip had to read the previous one unchanged, which can be changed only now.
        if previous is not None:
            _add_rows(result, *previous)
        rows = slice(top, top + STRIP_ROWS)
        previous = (rows, low[..., top - start : top - start + STRIP_ROWS, :])
    if previous is not None:
        _add_rows(result, *previous)
    return result


def low_pass(image: Tensor, levels: int = LEVELS) -> Tensor:
    """Return ``image`` after ``levels`` blurs of doubling radius (a-trous wavelets)."""
    for level in range(levels):
        image = blur(image, 2**level)
    return image


def blur(image: Tensor, radius: int) -> Tensor:
    """Return the binomial 3x3 blur, [1 2 1] x [1 2 1] / 16, with taps ``radius`` pixels apart.

    Edges are repeated.
    """
    for axis, pad in ((-2, (0, 0, radius, radius)), (-1, (radius, radius, 0, 0))):
        length = image.shape[axis]
        padded = F.pad(image, pad, mode="replicate")
        before = padded.narrow(axis, 0, length)
        after = padded.narrow(axis, 2 * radius, length)
        image = image.mul(2).add_(before).add_(after).div_(4)
    return image


def adain(image: Tensor, reference: Tensor) -> Tensor:
    """Return ``image`` after AdaIN on RGB."""
    return match(image, reference, "adain")


def lab(image: Tensor, reference: Tensor) -> Tensor:
    """Return ``image`` after AdaIN on the two colour axes of CIELAB; lightness is unchanged."""
    return match(image, reference, "lab")


def _add_rows(
    image: Tensor,
    rows: slice,
    change: Tensor,
) -> None:
    image[..., rows, :] += change


def _to_lab(image: Tensor) -> Tensor:
    linear = _to_linear(image.detach().float().cpu().clamp(0, 1))
    return _convert(linear, cv2.COLOR_LRGB2Lab)


def _from_lab(image: Tensor) -> Tensor:
    return _from_linear(_convert(image, cv2.COLOR_Lab2LRGB))


def _convert(images: Tensor, code: int) -> Tensor:
    """Convert (B, 3, H, W) between colour spaces with OpenCV."""
    arrays = images.permute(0, 2, 3, 1).contiguous().numpy()
    converted = [torch.from_numpy(cv2.cvtColor(array, code)) for array in arrays]
    return torch.stack(converted).permute(0, 3, 1, 2)


# The transfer function of sRGB (IEC 61966-2-1). OpenCV's own, in COLOR_RGB2Lab, reads a table of
# 16-bit integers, which leaves a smooth 16-bit gradient with 513 values of lightness.


def _to_linear(encoded: Tensor) -> Tensor:
    return torch.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def _from_linear(linear: Tensor) -> Tensor:
    return torch.where(
        linear <= 0.0031308,
        12.92 * linear,
        1.055 * linear.clamp(min=0) ** (1 / 2.4) - 0.055,
    )

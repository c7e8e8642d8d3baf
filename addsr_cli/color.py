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


def match(
    image: Tensor,
    reference: Tensor,
    method: Color,
) -> Tensor:
    """Return ``image`` with the colours of ``reference``. May reuse the memory of ``image``."""
    if method == "wavelet":
        return wavelet(image, reference)
    if method == "adain":
        return adain(image, reference)
    if method == "lab":
        return lab(image, reference)
    return image


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
    """Return ``image`` with each channel's mean and deviation set to those of ``reference``.

    Adaptive instance normalisation (Huang & Belongie 2017, eq. 8).
    """
    mean, deviation = _statistics(image.float())
    target_mean, target_deviation = _statistics(reference.float())
    return (image.float() - mean) / deviation * target_deviation + target_mean


def lab(image: Tensor, reference: Tensor) -> Tensor:
    """Return ``image`` after AdaIN on the two colour axes of CIELAB; lightness is unchanged."""
    image_lab = _to_lab(image)
    reference_lab = _to_lab(reference)
    image_lab[:, 1:] = adain(image_lab[:, 1:], reference_lab[:, 1:])
    return _from_lab(image_lab).to(image.device)


def _add_rows(
    image: Tensor,
    rows: slice,
    change: Tensor,
) -> None:
    image[..., rows, :] += change


def _statistics(image: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each channel, (B, C, 1, 1)."""
    variance, mean = torch.var_mean(
        image,
        dim=(-2, -1),
        keepdim=True,
        correction=1,
    )
    return mean, (variance + VARIANCE_FLOOR).sqrt()


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

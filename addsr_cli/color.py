"""Colour matching: give a restored picture the colours of the photo it came from.

Few-step diffusion shifts colours; all functions here take float images (B, 3, H, W) in [0, 1] and
return float32, not clamped. Wavelet and AdaIN are those of StableSR and the official AddSR code.
"""

from typing import Literal

import cv2
import torch
import torch.nn.functional as F  # noqa: N812 (the field's name for it)
from torch import Tensor

Method = Literal["wavelet", "adain", "lab", "none"]
METHODS: tuple[Method, ...] = ("wavelet", "adain", "lab", "none")

LEVELS = 5
REACH = 2**LEVELS - 1  # rows that the low-pass looks beyond its own
STRIP = 128
VARIANCE_FLOOR = 1e-5


def match(image: Tensor, reference: Tensor, method: Method) -> Tensor:
    """``image`` with the colours of ``reference``, by the named method. May reuse the memory of ``image``."""
    if method == "wavelet":
        return wavelet(image, reference)
    if method == "adain":
        return adain(image, reference)
    return lab(image, reference) if method == "lab" else image


def wavelet(image: Tensor, reference: Tensor) -> Tensor:
    """Fine detail of ``image`` on the broad colours of ``reference``.

    high(image) + low(reference) is the same as image + low(reference - image), the low-pass being
    linear: one filter pass. It goes strip by strip, each with as many rows around it as the filter
    reaches: strips stay in the processor's cache, where whole pictures took three times as long.
    """
    result, waiting = image.float(), []
    for top in range(0, result.shape[-2], STRIP):
        start = max(0, top - REACH)
        seen = slice(start, top + STRIP + REACH)
        low = low_pass(reference[..., seen, :].float() - result[..., seen, :])
        waiting.append((slice(top, top + STRIP), low[..., top - start : top - start + STRIP, :]))
        if (
            len(waiting) > 1
        ):  # the strip before is changed only now, since this one had to see it as it was
            _add(result, *waiting.pop(0))
    _add(result, *waiting.pop())
    return result


def low_pass(image: Tensor, levels: int = LEVELS) -> Tensor:
    """What is left after ``levels`` blurs of doubling reach (a-trous wavelet approximation)."""
    for level in range(levels):
        image = blur(image, 2**level)
    return image


def blur(image: Tensor, radius: int) -> Tensor:
    """Binomial 3x3 blur, [1 2 1] x [1 2 1] / 16, with taps ``radius`` apart and edges repeated."""
    for axis, pad in ((-2, (0, 0, radius, radius)), (-1, (radius, radius, 0, 0))):
        length = image.shape[axis]
        padded = F.pad(image, pad, mode="replicate")
        image = (
            image.mul(2)
            .add_(padded.narrow(axis, 0, length))
            .add_(padded.narrow(axis, 2 * radius, length))
            .div_(4)
        )
    return image


def adain(image: Tensor, reference: Tensor) -> Tensor:
    """Mean and deviation of each channel of ``reference`` laid on ``image`` (adaptive instance normalisation)."""
    mean, deviation = _statistics(image.float())
    target_mean, target_deviation = _statistics(reference.float())
    return (image.float() - mean) / deviation * target_deviation + target_mean


def lab(image: Tensor, reference: Tensor) -> Tensor:
    """AdaIN on the two colour axes of CIELAB; lightness is left alone."""
    ours, theirs = _to_lab(image), _to_lab(reference)
    ours[:, 1:] = adain(ours[:, 1:], theirs[:, 1:])
    return _from_lab(ours).to(image.device)


def _add(picture: Tensor, rows: slice, change: Tensor) -> None:
    picture[..., rows, :] += change


def _statistics(image: Tensor) -> tuple[Tensor, Tensor]:
    variance, mean = torch.var_mean(
        image,
        dim=(-2, -1),
        keepdim=True,
        correction=1,
    )
    return mean, (variance + VARIANCE_FLOOR).sqrt()


def _to_lab(image: Tensor) -> Tensor:
    pictures = (
        _linear(image.detach().float().cpu().clamp(0, 1)).permute(0, 2, 3, 1).contiguous().numpy()
    )
    return torch.stack(
        [torch.from_numpy(cv2.cvtColor(p, cv2.COLOR_LRGB2Lab)) for p in pictures]
    ).permute(0, 3, 1, 2)


def _from_lab(image: Tensor) -> Tensor:
    pictures = image.permute(0, 2, 3, 1).contiguous().numpy()
    linear = torch.stack([torch.from_numpy(cv2.cvtColor(p, cv2.COLOR_Lab2LRGB)) for p in pictures])
    return _encoded(linear.permute(0, 3, 1, 2))


# The transfer function of sRGB (IEC 61966-2-1). OpenCV's own, in COLOR_RGB2Lab, reads a table of
# 16-bit integers: a smooth 16-bit gradient is left with 513 values of lightness.


def _linear(encoded: Tensor) -> Tensor:
    return torch.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def _encoded(linear: Tensor) -> Tensor:
    return torch.where(
        linear <= 0.0031308, 12.92 * linear, 1.055 * linear.clamp(min=0) ** (1 / 2.4) - 0.055
    )

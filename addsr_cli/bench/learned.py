"""Metrics that are networks: LPIPS with AlexNet and with VGG16, and DISTS, all in float32."""

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from addsr_cli import perceptual
from addsr_cli.bench.metrics import Metric, Picture
from addsr_cli.errors import ModelUnavailable

VARIANTS = {
    "lpips": "LPIPS-Alex v0.1",
    "lpips_vgg": "LPIPS-VGG v0.1",
    "dists": "DISTS v0.1",
}
NAMES = tuple(VARIANTS)


def learned(device: str, names: Sequence[str] = NAMES) -> tuple[list[Metric], str]:
    """The metrics of those names, or one line on how to get their weights."""
    try:
        weights = perceptual.read_weights()
        return [_metric(name, device, weights) for name in names], ""
    except ModelUnavailable as exc:
        return [], f"no {', '.join(VARIANTS[name] for name in names)}: {exc.hint}"


def _metric(name: str, device: str, weights: dict[str, Tensor]) -> Metric:
    network: Callable[[Tensor, Tensor], Tensor]
    if name == "dists":
        network = perceptual.DISTS.load(device=device, weights=weights)
    else:
        net: perceptual.Net = "vgg" if name == "lpips_vgg" else "alex"
        network = perceptual.LPIPS.load(net, device=device, weights=weights)
    measure = partial(_measure, network, device)
    return Metric(
        name=name,
        measure=measure,
        larger=False,
        variant=VARIANTS[name],
    )


@torch.inference_mode()
def _measure(
    network: Callable[[Tensor, Tensor], Tensor],
    device: str,
    reference: Picture,
    result: Picture,
) -> float:
    """The distance; not a number for pictures that are too small to have one."""
    if min(reference.shape[:2]) < perceptual.SMALLEST:
        return math.nan
    return float(network(_tensor(result, device), _tensor(reference, device)))


def _tensor(picture: Picture, device: str) -> Tensor:
    return torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].to(device).float() / 255

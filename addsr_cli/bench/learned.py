"""Metrics that are networks: LPIPS with AlexNet and VGG16, and DISTS, all in float32."""

import math
from collections.abc import Sequence

import numpy as np
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


def learned_metrics(device: str, names: Sequence[str] = NAMES) -> tuple[list[Metric], str]:
    """The metrics of those names; without their weights, one line on how to get them."""
    try:
        weights = perceptual.read_weights()
        return [_metric(name, device, weights) for name in names], ""
    except ModelUnavailable as exc:
        return [], f"no {', '.join(VARIANTS[name] for name in names)}: {exc.hint}"


class _Measure:
    """A network as a metric. All methods of a photo share the features of its reference."""

    def __init__(self, network: perceptual.LPIPS | perceptual.DISTS, device: str) -> None:
        self.network = network
        self.device = device
        self._reference: Picture | None = None
        self._features: list[Tensor] = []

    @torch.inference_mode()
    def __call__(self, reference: Picture, result: Picture) -> float:
        """The distance; NaN for pictures that are too small to have one."""
        if min(reference.shape[:2]) < perceptual.SMALLEST:
            return math.nan
        features = self.network.features(_tensor(result, self.device))
        return float(self.network.between(features, self._of_reference(reference)))

    def _of_reference(self, reference: Picture) -> list[Tensor]:
        if self._reference is None or not np.array_equal(self._reference, reference):
            self._features = self.network.features(_tensor(reference, self.device))
            self._reference = reference
        return self._features


def _metric(
    name: str,
    device: str,
    weights: dict[str, Tensor],
) -> Metric:
    network: perceptual.LPIPS | perceptual.DISTS
    if name == "dists":
        network = perceptual.DISTS.load(device=device, weights=weights)
    else:
        net: perceptual.Net = "vgg" if name == "lpips_vgg" else "alex"
        network = perceptual.LPIPS.load(net, device=device, weights=weights)
    return Metric(
        name=name,
        measure=_Measure(network, device),
        higher_is_better=False,
        variant=VARIANTS[name],
    )


def _tensor(picture: Picture, device: str) -> Tensor:
    """uint8 (H, W, 3) as float32 (1, 3, H, W) in [0, 1]."""
    return torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].to(device).float() / 255

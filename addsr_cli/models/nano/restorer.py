"""The bundled models behind the seam, and their network.

The latent is the picture itself with every 4x4 block folded into channels (pixel-unshuffle), which
is lossless and needs no trained codec. The network is a row of residual-in-residual dense blocks on
that quarter grid (ESRGAN, Wang et al. 2018), whose weights began as some of those of Real-ESRGAN's
x4plus generator. It reads the control picture: at t=999 the enlarged photo, at later steps the
refined picture of the step before (PSR). The noisy latent and the timestep enter through layers
that are initialized to zero.

There is no normalization over space, so pixels depend on each other only within the receptive
field, and tiles with enough margin equal the untiled picture.
"""

import json
import math
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F  # noqa: N812 (the field's name for it)
from safetensors.torch import load, save_file
from torch import Tensor, nn

from addsr_cli.models.checks import (
    UNFIT,
    check_depth,
    check_fit,
    check_numbers,
    refusing,
    stored_shapes,
)
from addsr_cli.models.nano.doubling import DoublingConvolution
from addsr_cli.models.nano.layers import (
    BLOCK,
    COLOURS,
    FLAT,
    GATE_REACH,
    LATENT,
    Convolution,
    PreciseConvolution,
    TimeEmbedding,
    contrast_gate,
    zero,
)
from addsr_cli.models.nano.rows import WHOLE, RowLayer, RowStream, WholePicture
from addsr_cli.models.restorer import Conditioning, DenoiseStrip, Noise, Unconditional
from addsr_cli.schedule import Schedule

RESIDUAL_SCALE = 0.2  # of every dense block and of every group of them (ESRGAN's beta)
SLOPE = 0.2  # of LeakyReLU
LAYERS_PER_BLOCK = 5
PAINTED_ROWS = 16  # of blocks at once on the full grid, where a row takes most memory


@dataclass(frozen=True, kw_only=True)
class NanoConfig:
    """Size of the network.

    ``groups`` counts the dense blocks of each group, ``width`` and ``growth`` are the channels of
    the body and those that every layer of a dense block adds. After the body the grid is doubled
    ``doublings`` times, and ``detail`` channels are computed there, from which the last layer makes
    the pixels of the grid that remain. ``scaling_factor`` brings latents to about unit variance.
    """

    groups: tuple[int, ...] = (3, 3, 3, 3, 3, 3, 3)
    width: int = 64
    growth: int = 32
    doublings: int = 2
    detail: int = 64
    embedding: int = 128
    scaling_factor: float = 2.0

    def __post_init__(self) -> None:
        """Raise ValueError for sizes that no network has."""
        sizes = (*self.groups, self.width, self.growth, self.embedding, self.detail)
        if not self.groups or not all(isinstance(size, int) for size in sizes) or min(sizes) < 1:
            raise ValueError(
                "groups, width, growth, embedding and detail must be whole numbers of 1 or more"
            )
        if self.doublings not in (0, 1, 2):
            raise ValueError(f"doublings must be 0, 1 or 2, not {self.doublings}")
        if not (math.isfinite(self.scaling_factor) and self.scaling_factor > 0):
            raise ValueError(f"scaling_factor must be a number above 0, not {self.scaling_factor}")

    @property
    def reach(self) -> int:
        """Receptive field in blocks to every side: one block per 3x3 convolution."""
        return LAYERS_PER_BLOCK * sum(self.groups) + 4

    @property
    def halo(self) -> int:
        """Blocks around a tile with which it equals the untiled picture to less than 1/255.

        The outer part of the receptive field has hardly any effect: 28 blocks were measured for 12
        dense blocks, 40 for 21 (docs/nano.md).
        """
        return min(self.reach, max(28, round(1.9 * sum(self.groups))))


class DenseBlock(nn.Module):
    """Five 3x3 convolutions on the concatenation of all before them (ESRGAN, figure 4)."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            Convolution(width + k * growth, growth if k < LAYERS_PER_BLOCK - 1 else width)
            for k in range(LAYERS_PER_BLOCK)
        )

    def forward(self, x: Tensor, rows: WholePicture = WHOLE) -> Tensor:
        """(B, width, h, w) -> (B, width, h, w)."""
        *inner, last = self.layers
        width = x.shape[1]
        parts: tuple[Tensor, ...] = (x,)
        for layer in inner:
            features, new = rows.convolve(layer, *parts)
            parts = (features, F.leaky_relu(new, SLOPE, inplace=True))
        features, change = rows.convolve(last, *parts)
        return torch.add(features[:, :width], change, alpha=RESIDUAL_SCALE)


class Group(nn.Module):
    """Dense blocks in a row inside one residual; the timestep scales and shifts their input."""

    def __init__(self, depth: int, config: NanoConfig) -> None:
        super().__init__()
        self.modulation = nn.Linear(config.embedding, 2 * config.width)
        self.blocks = nn.Sequential(
            *(DenseBlock(config.width, config.growth) for _ in range(depth))
        )
        zero(self.modulation)

    def forward(
        self,
        x: Tensor,
        time: Tensor,
        rows: WholePicture = WHOLE,
    ) -> Tensor:
        """x (B, width, h, w), time (B, embedding) -> (B, width, h, w)."""
        scale, shift = self.modulation(time)[:, :, None, None].chunk(2, dim=1)
        inner = torch.addcmul(shift, x, 1 + scale)
        for block in self.blocks:
            inner = block(inner, rows)
        x, inner = rows.aligned(x, inner)
        return torch.add(x, inner, alpha=RESIDUAL_SCALE)


class NanoNet(nn.Module):
    """(noisy latent, control latent, t) -> clean latent, both on the quarter grid."""

    def __init__(self, config: NanoConfig) -> None:
        super().__init__()
        width = config.width
        self.config = config
        self.time = TimeEmbedding(config.embedding)
        self.control_in = Convolution(LATENT, width)
        self.noisy_in = nn.Conv2d(LATENT, width, 1)
        self.body = nn.ModuleList(Group(depth, config) for depth in config.groups)
        self.body_out = Convolution(width, width)
        for number in range(1, config.doublings + 1):
            self.add_module(f"up{number}", DoublingConvolution(width, width))
        self.detail = Convolution(width, config.detail)
        self.folded = BLOCK // 2**config.doublings  # pixels per side of a place
        self.out = PreciseConvolution(config.detail, COLOURS * self.folded**2)
        zero(self.noisy_in)

    def doublings(self) -> list[RowLayer]:
        """Return the layers that double the grid, in order."""
        names = [f"up{number}" for number in range(1, self.config.doublings + 1)]
        return [cast("RowLayer", self.get_submodule(name)) for name in names]

    def dense_blocks(self) -> list[DenseBlock]:
        """Return all dense blocks, in order."""
        return [module for module in self.body.modules() if isinstance(module, DenseBlock)]

    def forward(
        self,
        z: Tensor,
        t: Tensor,
        control: Tensor,
    ) -> Tensor:
        """z and control (B, 48, h, w), any h and w; t (B,); returns the clean latent (B, 48, h, w).

        ``control`` and the result may have a wider dtype than the weights: the last layer runs in
        float32, and its difference to ``control`` is added to ``control``.
        """
        features, control = self.features(z, t, control)
        return self.painted(features, control)

    def features(
        self,
        z: Tensor,
        t: Tensor,
        control: Tensor,
        rows: WholePicture = WHOLE,
    ) -> tuple[Tensor, Tensor]:
        """Run the layers on the quarter grid: features (B, width, h, w), and their control."""
        time = self.time(t)
        _, seen = rows.convolve(self.control_in, control.to(self.control_in.weight.dtype))
        seen, noisy = rows.aligned(seen, self.noisy_in(z))
        first = seen + noisy
        x = first
        for group in self.body:
            x = group(x, time, rows)
        _, x = rows.convolve(self.body_out, x)
        first, x, control = rows.aligned(first, x, control)
        return first + x, control

    def painted(
        self,
        features: Tensor,
        control: Tensor,
        rows: WholePicture = WHOLE,
    ) -> Tensor:
        """Return the clean latent (B, 48, h, w) from features and control."""
        scale = self.config.scaling_factor
        control, gate = rows.local(
            partial(contrast_gate, flat=2 * scale * FLAT), control, GATE_REACH
        )
        x = features
        for layer in (*self.doublings(), self.detail):
            _, x = rows.convolve(layer, x)
            x = F.leaky_relu(x, SLOPE, inplace=True)
        _, x = rows.convolve(self.out, x)
        picture = rows.unshuffle(F.pixel_shuffle(x, self.folded), BLOCK)
        control, gate, picture = rows.aligned(control, gate, picture)
        residual = picture * (2 * scale) - scale - control
        return control + gate * residual


class Nano(Unconditional):
    """The ``Restorer`` around ``NanoNet``. Its ``Conditioning`` is empty."""

    factor = BLOCK
    channels = LATENT
    exact_codec = True
    latent_control = False

    def __init__(self, net: NanoNet) -> None:
        self.net = net
        self.scaling_factor = net.config.scaling_factor
        self.halo: int | None = net.config.halo
        self.schedule = Schedule(prediction="sample")

    def encode(self, image: Tensor, noise: Noise | None = None) -> Tensor:
        """Fold an image (B, 3, H, W) in [0, 1] into a latent (B, 48, H/4, W/4)."""
        return (
            F.pixel_unshuffle(image, BLOCK).mul_(2 * self.scaling_factor).sub_(self.scaling_factor)
        )

    def decode(
        self,
        z: Tensor,
        canvas: Tensor | None = None,
        cond: Conditioning | None = None,
    ) -> Tensor:
        """Invert ``encode`` exactly."""
        return F.pixel_shuffle(z, BLOCK).div(2 * self.scaling_factor).add_(0.5)

    def denoise(
        self,
        z: Tensor,
        t: Tensor,
        control: Tensor,
        cond: Conditioning,
    ) -> Tensor:
        """Predict the clean latent, float32, on the device of ``z``.

        The network runs on its own device and in its own dtype. It gets ``sqrt(abar_t) * z``, the
        best linear estimate of the clean latent: at early timesteps the noise would otherwise
        drown the control image in the first layer.
        """
        output = self.net(*self.placed(z, t, control))
        return output.to(z.device)

    def denoise_in_strips(self) -> DenoiseStrip:
        """Return ``denoise`` for one picture that comes in strips, see ``RowStreaming``."""
        return NanoStream(self)

    def placed(
        self,
        z: Tensor,
        t: Tensor,
        control: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return what the network takes, on its device: z in its type, t, and control's latent."""
        weight = next(self.net.parameters())
        signal, _ = self.schedule.coefficients(t, z)

        def place(latent: Tensor, dtype: torch.dtype) -> Tensor:
            return latent.to(weight.device, dtype).contiguous(memory_format=torch.channels_last)

        return (
            place(signal * z, weight.dtype),
            t.to(weight.device),
            place(self.encode(control), torch.float32),
        )


class NanoStream:
    """``Nano.denoise`` for a picture that comes in strips of rows, see ``RowStreaming``."""

    def __init__(self, nano: Nano) -> None:
        self.nano = nano
        self.net = nano.net
        self.quarter_grid = RowStream()
        self.full_grid = RowStream(self.quarter_grid.buffers)

    def __call__(
        self,
        z: Tensor,
        t: Tensor,
        control: Tensor,
        last: bool,
    ) -> Tensor:
        """Take a strip; return the clean latent as far as it is complete."""
        device = z.device
        z, t, control = self.nano.placed(z, t, control)
        self.quarter_grid.start_strip(last=last)
        features, control = self.net.features(z, t, control, self.quarter_grid)
        tops = range(0, features.shape[-2], PAINTED_ROWS)
        painted = [control[..., :0, :]]
        for top in tops:
            self.full_grid.start_strip(last=last and top == tops[-1])
            rows = slice(top, top + PAINTED_ROWS)
            painted.append(
                self.net.painted(features[..., rows, :], control[..., rows, :], self.full_grid)
            )
        return torch.cat(painted, dim=-2).to(device)


def build_nano(config: NanoConfig | None = None) -> Nano:
    """Return a nano with new weights."""
    return _placed(NanoNet(config or NanoConfig()))


def _placed(net: NanoNet) -> Nano:
    """Return the restorer of a network, with its weights in the layout of fast convolutions."""
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing from torch's annotations
    return Nano(net)


def save_nano(
    net: NanoNet,
    path: Path,
    notes: dict[str, str] | None = None,
    dtype: torch.dtype | None = None,
) -> None:
    """Write weights and configuration into one safetensors file, in ``dtype`` where given."""
    state = {
        key: value.detach().cpu().to(dtype or value.dtype).contiguous()
        for key, value in net.state_dict().items()
    }
    metadata = {
        "format": "pt",
        "arch": "nano",
        "config": json.dumps(asdict(net.config)),
        **(notes or {}),
    }
    save_file(state, path, metadata=metadata)


def load_nano(path: Path) -> Nano:
    """Load a file of ``save_nano``; float32, on the CPU.

    Raises ModelUnavailable unless the file's header fits its configuration, which is checked before
    a network is built, and its weights are finite.
    """
    with refusing(f"{path} is not a nano model", "Take another file, or --model nano."):
        shapes, notes = stored_shapes(path)
        config = _config(json.loads(notes["config"]))
        check_depth(sum(config.groups), shapes)
        with torch.device("meta"):  # initial weights would cost more time than the file
            net = NanoNet(config)
        check_fit(shapes, net)
        # not safe_open: its get_tensor can turn Control-C into a ValueError
        state = load(path.read_bytes())
        check_numbers(state)
        net.load_state_dict(state, assign=True)
    return _placed(net.float())


def stored_config(path: Path) -> NanoConfig | None:
    """Return the configuration in a file of ``save_nano``; None for any other file."""
    with suppress(KeyError, *UNFIT):
        _, notes = stored_shapes(path)
        return _config(json.loads(notes["config"]))
    return None


def _config(raw: dict[str, Any]) -> NanoConfig:
    """Build a configuration from JSON, in which tuples are lists."""
    return NanoConfig(**raw | {"groups": tuple(raw["groups"])})

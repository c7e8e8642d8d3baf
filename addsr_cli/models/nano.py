"""Nano: the small bundled model, a few million parameters, trained by this package from scratch.

The latent is the image itself with every 4x4 block folded into channels (pixel-unshuffle): lossless, so there is
no codec to train and nothing to lose. The network is a convolutional UNet on that quarter grid. It predicts the
clean latent as a residual on the control image, which enters through a branch of its own; at t=999 that is plain
super-resolution, and at later steps the control carries the refined picture of the step before (PSR).
Every layer of it normalises over channels only: statistics over a tile would differ from those over the photo and
show as seams.

Neighbouring pixels are nearly equal, so the folded channels are nearly copies of one another, which trains slowly.
The network therefore reads and writes them in a fixed basis, a DCT of every block whose coefficients are divided by
their deviation in photos.
"""

import json
import math
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812 (the field's name for it)
from safetensors.torch import load, save_file
from torch import Tensor, nn

from addsr_cli.models.restorer import Condition, Guide, Noise
from addsr_cli.models.weights import check_depth, check_fit, check_numbers, refusing, stored_shapes
from addsr_cli.schedule import Schedule

BLOCK = 4  # pixels folded per side; also the native scale
COLOURS = 3
LATENT = COLOURS * BLOCK**2
MEAN_DEVIATION = 4.0  # of a block's mean coefficient in photos, latents of about unit variance
DETAIL_DEVIATION = 0.55  # of a coefficient at frequency 1; falls with the frequency
RESIDUAL_MEAN_DEVIATION = 0.8  # of the mean coefficient of photo minus enlargement
FREQUENCIES = 32  # of the sinusoidal timestep features
FLAT = 2 / 255  # contrast of a neighbourhood, in [0, 1], at which half of what the network adds is let through
NEIGHBOURHOOD = 5  # blocks per side


@dataclass(frozen=True, kw_only=True)
class NanoConfig:
    """Size of the network.

    ``channels`` and ``depths`` go from the quarter grid to the coarsest; ``depths`` counts residual blocks on the
    way up (the way down has one per level). ``scaling_factor`` brings latents to about unit variance.
    """

    channels: tuple[int, ...] = (48, 96, 192)
    depths: tuple[int, ...] = (2, 1, 1)
    embedding: int = 128
    scaling_factor: float = 2.0

    def __post_init__(self) -> None:
        """Check that levels match."""
        if len(self.channels) != len(self.depths) or min(self.channels) < 1 or min(self.depths) < 1:
            raise ValueError("channels and depths need one positive entry per level")
        if not (math.isfinite(self.scaling_factor) and self.scaling_factor > 0):
            raise ValueError(f"scaling_factor must be a number above 0, not {self.scaling_factor}")

    @property
    def stride(self) -> int:
        """Blocks of the quarter grid per pixel of the coarsest level."""
        return int(2 ** (len(self.channels) - 1))

    @property
    def halo(self) -> int:
        """How many blocks away from its own the network sees, rounded up to its stride.

        A 3x3 convolution on level n sees ``2**n`` blocks; a residual block has two of them, the way down one such block
        per level, and input and output layer one convolution each. Shrinking by 2 sees as far as a cell of the coarsest
        level reaches. The contrast gate looks at 3 blocks of the control image, which is less.
        """
        levels = [2**level for level in range(len(self.channels))]
        down = sum(2 * reach for reach in levels[:-1])
        up = sum(2 * reach * depth for reach, depth in zip(levels, self.depths, strict=True))
        return -(-(1 + down + up + 1 + self.stride - 1) // self.stride) * self.stride


def _zero(layer: nn.Module) -> None:
    """Start a layer from nothing, so that what it feeds begins as the identity."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


class TimeEmbedding(nn.Module):
    """Timestep (B,) -> features (B, width)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Linear(2 * FREQUENCIES, width)
        self.outer = nn.Linear(width, width)

    def forward(self, t: Tensor) -> Tensor:
        """Sines and cosines of t at 32 octave-spread rates, then two layers."""
        rates = torch.exp(-math.log(10_000) * torch.arange(FREQUENCIES, device=t.device) / FREQUENCIES)
        angles = t.float()[:, None] * rates
        waves = torch.cat([angles.sin(), angles.cos()], dim=1).to(self.inner.weight.dtype)
        return F.silu(self.outer(F.silu(self.inner(waves))))


def block_dct() -> Tensor:
    """Orthonormal two-dimensional DCT-II of each colour's 4x4 block, as a matrix (48, 48) on folded channels."""
    # on the CPU also where a network is built on the meta device: torch would load its compiler for that, in a second
    k = torch.arange(BLOCK, dtype=torch.float32, device="cpu")
    line = torch.cos(math.pi * k[:, None] * (k + 0.5) / BLOCK) * math.sqrt(2 / BLOCK)
    line[0] /= math.sqrt(2)
    return torch.kron(torch.eye(COLOURS, device="cpu"), torch.kron(line, line))


def deviations(mean: float) -> Tensor:
    """Expected deviation (48,) of each DCT coefficient: ``mean`` for the block mean, else 0.55 / frequency."""
    k = torch.arange(BLOCK, dtype=torch.float32, device="cpu")
    frequency = torch.hypot(k[:, None], k[None]).flatten()
    detail = DETAIL_DEVIATION / frequency.clamp(min=1)
    return torch.where(frequency == 0, mean, detail).repeat(COLOURS)


class ResidualBlock(nn.Module):
    """Normalise over channels, two 3x3 convolutions; the timestep scales and shifts between them.

    Starts as the identity.
    """

    def __init__(self, width: int, embedding: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.modulation = nn.Linear(embedding, 2 * width)
        _zero(self.second)
        _zero(self.modulation)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """x (B, C, h, w), time (B, E) -> (B, C, h, w)."""
        scale, shift = self.modulation(time)[:, :, None, None].chunk(2, dim=1)
        inner = self.first(self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2))
        return x + self.second(F.silu(torch.addcmul(shift, inner, 1 + scale)))


class Stage(nn.ModuleList):
    """Residual blocks in a row."""

    def __init__(self, width: int, depth: int, embedding: int) -> None:
        super().__init__(ResidualBlock(width, embedding) for _ in range(depth))

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Run them all."""
        for block in self:
            x = block(x, time)
        return x


def contrast_gate(control: Tensor, flat: float) -> Tensor:
    """How far a control latent (B, 48, h, w) is from flat around every block: (B, 1, h, w), 0 to 1.

    ``r^2 / (r^2 + flat^2)`` of the largest difference r within 5x5 blocks of one colour, then a mean over 3x3 blocks
    against jumps. The difference of equal numbers is 0 in every type, so a constant picture is left exactly alone.
    """
    reach = NEIGHBOURHOOD // 2
    pixels = control.reshape(len(control), COLOURS, BLOCK**2, *control.shape[-2:])
    extremes = torch.cat([pixels.amax(2), -pixels.amin(2)], dim=1)
    highest, lowest = F.max_pool2d(extremes, NEIGHBOURHOOD, stride=1, padding=reach).chunk(2, dim=1)
    contrast = (highest + lowest).amax(1, keepdim=True).square()
    return F.avg_pool2d(contrast / (contrast + flat**2), 3, stride=1, padding=1, count_include_pad=False)


class NanoNet(nn.Module):
    """UNet on the quarter grid: (noisy latent, control latent, t) -> clean latent."""

    analysis: Tensor
    synthesis: Tensor

    def __init__(self, config: NanoConfig) -> None:
        super().__init__()
        widths, latent = config.channels, LATENT
        self.config = config
        self.stride = config.stride
        self.time = TimeEmbedding(config.embedding)
        self.control_in = nn.Conv2d(latent, widths[0], 3, padding=1)
        self.noisy_in = nn.Conv2d(latent, widths[0], 1)
        self.down = nn.ModuleList(Stage(w, 1, config.embedding) for w in widths[:-1])
        self.shrink = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2) for a, b in pairwise(widths))
        self.middle = Stage(widths[-1], config.depths[-1], config.embedding)
        self.grow = nn.ModuleList(nn.Conv2d(b, 4 * a, 1) for a, b in pairwise(widths))
        self.up = nn.ModuleList(
            Stage(w, d, config.embedding) for w, d in zip(widths[:-1], config.depths[:-1], strict=True)
        )
        self.out = nn.Conv2d(widths[0], latent, 3, padding=1)
        _zero(self.out)
        analysis = block_dct() / deviations(MEAN_DEVIATION)[:, None]
        synthesis = block_dct().T * deviations(RESIDUAL_MEAN_DEVIATION)
        self.register_buffer("analysis", analysis, persistent=False)
        self.register_buffer("synthesis", synthesis, persistent=False)

    def forward(self, z: Tensor, t: Tensor, control: Tensor) -> Tensor:
        """z and control (B, 48, h, w), any h and w; t (B,); returns the clean latent (B, 48, h, w).

        ``control`` and the result may be wider than the weights: only the residual is rounded to the weights' type,
        so that smooth gradients keep all their values in half precision.
        """
        h, w = z.shape[-2:]
        pad = (0, -w % self.stride, 0, -h % self.stride)
        time = self.time(t)
        analysing = torch.einsum("oshw,sc->ochw", self.control_in.weight, self.analysis)
        seen = F.pad(control, pad, "replicate").to(analysing.dtype)
        x = F.conv2d(seen, analysing, self.control_in.bias, padding=1)
        x = x + self.noisy_in(F.pad(z, pad, "replicate"))
        skips = []
        for stage, shrink in zip(self.down, self.shrink, strict=True):
            x = stage(x, time)
            skips.append(x)
            x = shrink(x)
        x = self.middle(x, time)
        for stage, grow, skip in zip(reversed(self.up), reversed(self.grow), reversed(skips), strict=True):
            x = stage(F.pixel_shuffle(grow(x), 2) + skip, time)
        assert self.out.bias is not None
        synthesising = torch.einsum("ps,sihw->pihw", self.synthesis, self.out.weight)
        residual = F.conv2d(x, synthesising, torch.mv(self.synthesis, self.out.bias), padding=1)
        return control + contrast_gate(control, 2 * self.config.scaling_factor * FLAT) * residual[..., :h, :w]


class Nano:
    """The ``Restorer`` around ``NanoNet``. It reads no text and no image tokens: ``Condition`` stays empty."""

    factor = BLOCK
    channels = LATENT
    exact_codec = True

    def __init__(self, net: NanoNet) -> None:
        self.net = net
        self.scaling_factor = net.config.scaling_factor
        self.halo = net.config.halo
        self.schedule = Schedule(prediction="sample")

    def encode(self, image: Tensor, noise: Noise | None = None) -> Tensor:
        """[0,1] image (B, 3, H, W) -> latent (B, 48, H/4, W/4); there is nothing to draw."""
        return F.pixel_unshuffle(image, BLOCK).mul_(2 * self.scaling_factor).sub_(self.scaling_factor)

    def decode(self, z: Tensor) -> Tensor:
        """Exact inverse of ``encode``."""
        return F.pixel_shuffle(z, BLOCK).div(2 * self.scaling_factor).add_(0.5)

    def describe(self, photo: Tensor, guide: Guide) -> Condition:
        """Nothing to read: nano has no tagger and no text encoder."""
        return Condition()

    def embed(self, image: Tensor, cond: Condition) -> Condition:
        """Unchanged: nano has no image tokens."""
        return cond

    def denoise(self, z: Tensor, t: Tensor, control: Tensor, cond: Condition) -> Tensor:
        """Clean latent ("sample" prediction), float32, where ``z`` lives; computed in the network's place and type.

        The network sees ``sqrt(abar_t) * z``, the best linear guess of the clean latent: the noise of the early
        timesteps would otherwise drown the control image in the first layer.
        """
        weight = next(self.net.parameters())
        signal, _ = self.schedule.coefficients(t, z)

        def placed(latent: Tensor, dtype: torch.dtype) -> Tensor:
            return latent.to(weight.device, dtype).contiguous(memory_format=torch.channels_last)

        noisy = placed(signal * z, weight.dtype)
        output = self.net(noisy, t.to(weight.device), placed(self.encode(control), torch.float32))
        return output.to(z.device)


def build_nano(config: NanoConfig | None = None) -> Nano:
    """A nano with fresh weights."""
    net = NanoNet(config or NanoConfig())
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing from torch's annotations
    return Nano(net)


def save_nano(net: NanoNet, path: Path, notes: dict[str, str] | None = None, dtype: torch.dtype | None = None) -> None:
    """Write weights and configuration into one safetensors file; ``dtype`` narrows the stored weights."""
    state = {key: value.detach().cpu().to(dtype or value.dtype).contiguous() for key, value in net.state_dict().items()}
    metadata = {"format": "pt", "arch": "nano", "config": json.dumps(asdict(net.config)), **(notes or {})}
    save_file(state, path, metadata=metadata)


def load_nano(path: Path) -> Nano:
    """Read what ``save_nano`` wrote; float32, on the CPU. Raises ModelUnavailable.

    The file's header has to fit its configuration before anything is built, and its weights have to be numbers.
    """
    with refusing(f"{path} is not a nano model", "Take another file, or --model nano."):
        shapes, notes = stored_shapes(path)
        raw = json.loads(notes["config"])
        config = NanoConfig(**raw | {key: tuple(raw[key]) for key in ("channels", "depths")})
        check_depth(sum(config.depths), shapes)
        with torch.device("meta"):
            check_fit(shapes, NanoNet(config))
        state = load(path.read_bytes())  # not safe_open: its get_tensor can turn Control-C into a ValueError
        check_numbers(state)
        nano = build_nano(config)
        nano.net.load_state_dict(state)
    return nano

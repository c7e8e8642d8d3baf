"""Real-ESRGAN's x4plus generator: origin of nano's weights, and its teacher.

23 groups of three dense blocks at the input size, then nearest-neighbour upsampling twice (Wang et
al. 2018, ESRGAN, figure 4; Wang et al. 2021, Real-ESRGAN).
"""

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812 (the field's name for it)
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from addsr_cli.models.checks import Shapes, check_fit, check_numbers, refusing, stored_shapes
from addsr_cli.models.nano.layers import BLOCK, COLOURS, LATENT
from addsr_cli.models.nano.restorer import RESIDUAL_SCALE, SLOPE, DenseBlock, Nano, NanoNet
from addsr_cli.models.restorer import Conditioning, Noise
from addsr_cli.schedule import Schedule
from addsr_cli.settings import PromptSettings

GROUPS, DEPTH, WIDTH, GROWTH = 23, 3, 64, 32
# Least squares: a pixel of a picture from the 4x4 pixels of its bicubic enlargement
SPREAD = (
    (-0.078, 0.037, 0.037, -0.078),
    (0.037, 0.254, 0.254, 0.037),
    (0.037, 0.254, 0.254, 0.037),
    (-0.078, 0.037, 0.037, -0.078),
)


class Esrgan(nn.Module):
    """RGB (B, 3, h, w) in [0, 1] -> (B, 3, 4h, 4w), not clamped."""

    def __init__(
        self,
        groups: int = GROUPS,
        width: int = WIDTH,
        growth: int = GROWTH,
    ) -> None:
        super().__init__()
        self.first = nn.Conv2d(COLOURS, width, 3, padding=1)
        self.body = nn.ModuleList(
            nn.Sequential(*(DenseBlock(width, growth) for _ in range(DEPTH))) for _ in range(groups)
        )
        self.body_out, self.up1, self.up2, self.hr = (
            nn.Conv2d(width, width, 3, padding=1) for _ in range(4)
        )
        self.last = nn.Conv2d(width, COLOURS, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Run the network."""
        first = self.first(x)
        x = first
        for group in self.body:
            x = torch.add(x, group(x), alpha=RESIDUAL_SCALE)
        x = first + self.body_out(x)
        for layer in (self.up1, self.up2):
            x = F.leaky_relu(layer(F.interpolate(x, scale_factor=2.0, mode="nearest")), SLOPE)
        return self.last(F.leaky_relu(self.hr(x), SLOPE))


def save_esrgan(
    net: Esrgan,
    path: Path,
    notes: dict[str, str],
) -> None:
    """Write the weights as float16 safetensors; ``notes`` name their origin and licence."""
    state = {key: value.detach().half().contiguous() for key, value in net.state_dict().items()}
    save_file(
        state,
        path,
        metadata={"format": "pt", "arch": "esrgan", **notes},
    )


def load_esrgan(path: Path) -> Esrgan:
    """Load a file of ``save_esrgan``, float32 and frozen. Raises ModelUnavailable.

    Names and shapes in the file are checked before a network is built.
    """
    with refusing(f"{path} holds no Real-ESRGAN generator", "scripts/train_nano.py makes one."):
        shapes, _ = stored_shapes(path)
        sizes = _sizes(shapes)
        with torch.device("meta"):
            check_fit(shapes, Esrgan(*sizes))
        state = load_file(path)
        check_numbers(state)
        net = Esrgan(*sizes)
        net.load_state_dict(state)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing from torch's annotations
    return net.eval().requires_grad_(False)


def _sizes(shapes: Shapes) -> tuple[int, int, int]:
    """Return groups, width and growth of the network in a file, as far as its tensors go."""
    groups = len({key.split(".")[1] for key in shapes if key.startswith("body.")})
    width, growth = (shapes.get(key, ()) for key in ("first.bias", "body.0.0.layers.0.bias"))
    if not groups or len(width) != 1 or len(growth) != 1:
        raise ValueError("its layers are not those of one")
    return groups, width[0], growth[0]


def is_esrgan(name: str) -> bool:
    """Whether ``name`` is a file of ``save_esrgan``."""
    if not Path(name).is_file():
        return False
    try:
        with safe_open(name, framework="pt") as file:
            return (file.metadata() or {}).get("arch") == "esrgan"
    except (OSError, SafetensorError):
        return False


class OnePassTeacher:
    """A one-pass network as a ``Restorer``, so that a student can be distilled from it.

    Its prediction at every timestep is its enlargement of the control picture, shrunk four times.
    With the original as control, its input is therefore clean, whatever the student's is.
    """

    factor = BLOCK
    channels = LATENT
    exact_codec = True
    halo = None
    latent_control = False

    def __init__(self, net: nn.Module, student: Nano) -> None:
        self.net = net
        self.codec = student
        self.schedule = Schedule(prediction="sample")

    def encode(self, image: Tensor, noise: Noise | None = None) -> Tensor:
        """Encode or decode like the student."""
        return self.codec.encode(image, noise)

    def decode(
        self,
        z: Tensor,
        canvas: Tensor | None = None,
        cond: Conditioning | None = None,
    ) -> Tensor:
        """Encode or decode like the student."""
        return self.codec.decode(z)

    def describe(self, photo: Tensor, prompts: PromptSettings) -> Conditioning:
        """Return empty conditioning."""
        return Conditioning()

    def embed(self, image: Tensor, cond: Conditioning) -> Conditioning:
        """Return ``cond`` unchanged."""
        return cond

    def denoise(
        self,
        z: Tensor,
        t: Tensor,
        control: Tensor,
        cond: Conditioning,
    ) -> Tensor:
        """Return the latent of ``control`` (B, 3, H, W), shrunk and enlarged by the network."""
        small = F.interpolate(
            control,
            scale_factor=1 / BLOCK,
            mode="bicubic",
            antialias=True,
        ).clamp(0, 1)
        return self.encode(
            self.net(small.contiguous(memory_format=torch.channels_last)).float().clamp(0, 1)
        )


def begin_nano(
    net: NanoNet,
    origin: Esrgan,
    chosen: Sequence[tuple[int, int]],
) -> None:
    """Initialize a nano with chosen blocks, (group, block) of ``origin``, and its other layers.

    The first layer reads 4x4 pixels of the bicubic enlargement where the origin reads the one pixel
    that they come from: SPREAD restores it, with an error of 0.4 of 255.
    """
    blocks = net.dense_blocks()
    if len(blocks) != len(chosen):
        raise ValueError(f"{len(chosen)} dense blocks for a network of {len(blocks)}")
    with torch.no_grad():
        spread = torch.tensor(SPREAD).flatten() / torch.tensor(SPREAD).sum()
        first = origin.first.weight[:, :, None] * spread[:, None, None]
        net.control_in.weight.copy_(first.flatten(1, 2) / (2 * net.config.scaling_factor))
        assert net.control_in.bias is not None
        assert origin.first.bias is not None
        net.control_in.bias.copy_(origin.first.bias + 0.5 * origin.first.weight.sum((1, 2, 3)))
    for block, (group, place) in zip(blocks, chosen, strict=True):
        block.load_state_dict(origin.get_submodule(f"body.{group}.{place}").state_dict())
    pairs = ((net.body_out, origin.body_out), (net.up1, origin.up1), (net.up2, origin.up2))
    for layer, source in (*pairs, (net.detail, origin.hr), (net.out, origin.last)):
        layer.load_state_dict(source.state_dict())

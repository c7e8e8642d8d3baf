"""Real-ESRGAN's x4plus generator in training: origin of nano's weights, and its teacher."""

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812 (the field's name for it)
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from addsr_cli.models.checks import check_fit, check_numbers, refusing, stored_shapes
from addsr_cli.models.nano.layers import BLOCK
from addsr_cli.models.nano.restorer import Nano, NanoNet
from addsr_cli.models.restorer import Conditioning, RestorerWrapper
from addsr_cli.models.single_pass.esrgan import Esrgan, esrgan_for

# Least squares: a pixel of a picture from the 4x4 pixels of its bicubic enlargement
SPREAD = (
    (-0.078, 0.037, 0.037, -0.078),
    (0.037, 0.254, 0.254, 0.037),
    (0.037, 0.254, 0.254, 0.037),
    (-0.078, 0.037, 0.037, -0.078),
)


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
        with torch.device("meta"):
            check_fit(shapes, esrgan_for(shapes))
        state = load_file(path)
        check_numbers(state)
        net = esrgan_for(shapes)
        net.load_state_dict(state)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing from torch's annotations
    return net.eval().requires_grad_(False)


def is_esrgan(name: str) -> bool:
    """Whether ``name`` is a file of ``save_esrgan``."""
    if not Path(name).is_file():
        return False
    try:
        with safe_open(name, framework="pt") as file:
            return (file.metadata() or {}).get("arch") == "esrgan"
    except (OSError, SafetensorError):
        return False


class OnePassTeacher(RestorerWrapper):
    """A one-pass network as a ``Restorer``, so that a student can be distilled from it.

    All but the network is the student's. Its prediction at every timestep is its enlargement of the
    control picture, shrunk four times. With the original as control, its input is therefore clean,
    whatever the student's is.
    """

    def __init__(self, net: nn.Module, student: Nano) -> None:
        super().__init__(student)
        self.net = net
        self.halo = None

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
    pairs = {"body_out": "body_out", "up1": "up1", "up2": "up2", "detail": "hr", "out": "last"}
    for own, source in pairs.items():
        net.get_submodule(own).load_state_dict(origin.get_submodule(source).state_dict())

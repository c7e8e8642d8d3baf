"""The generator of ESRGAN and Real-ESRGAN, and the layouts in which its weights are published.

Groups of three dense blocks at the input's size, then nearest-neighbour upsampling in steps of two
(Wang et al. 2018, ESRGAN, figure 4; Wang et al. 2021, Real-ESRGAN). Real-ESRGAN's x2plus folds
2x2 pixels into channels first (pixel-unshuffle), so that the dense blocks run at half the size.
"""

import re
from collections.abc import Mapping
from typing import TypeVar

import torch
import torch.nn.functional as F  # noqa: N812 (the field's name for it)
from torch import Tensor, nn

from addsr_cli.models.nano.layers import convolve_in_float32
from addsr_cli.models.nano.restorer import LAYERS_PER_BLOCK, RESIDUAL_SCALE, SLOPE, DenseBlock

GROUPS, DEPTH, WIDTH, GROWTH = 23, 3, 64, 32
COLOURS, DOUBLINGS = 3, 2
HALO = 48
# Names of layers in other programs, and here. The numbers of the oldest layout are those of a
# sequence, whose last layers are counted in ``_sequence_names``.
NAMES = (
    (r"conv_first|model\.0", r"first"),
    (r"conv_body|trunk_conv|model\.1\.sub\.\d+", r"body_out"),
    (r"(?:conv_up|upconv)(\d)", r"up\1"),
    (r"conv_hr|HRconv", r"hr"),
    (r"conv_last", r"last"),
)
DENSE = re.compile(
    r"(?:body|RRDB_trunk|model\.1\.sub)\.(\d+)\.(?:rdb|RDB)([1-3])\.conv([1-5])(?:\.0)?"
)
OWN = re.compile(r"first|body\.\d+\.\d+\.layers\.\d+|body_out|up\d|hr|last")
T = TypeVar("T")


class Esrgan(nn.Module):
    """A picture (B, C, h, w) in [0, 1] -> (B, C, s * h, s * w), float32, not clamped.

    ``s`` is 2 to the power of ``doublings``, divided by ``unshuffle``; h and w are multiples of
    ``unshuffle``. C is ``colours``.
    """

    def __init__(
        self,
        groups: int = GROUPS,
        width: int = WIDTH,
        growth: int = GROWTH,
        *,
        colours: int = COLOURS,
        doublings: int = DOUBLINGS,
        unshuffle: int = 1,
    ) -> None:
        super().__init__()
        self.unshuffle = unshuffle
        self.first = nn.Conv2d(colours * unshuffle**2, width, 3, padding=1)
        self.body = nn.ModuleList(
            nn.Sequential(*(DenseBlock(width, growth) for _ in range(DEPTH))) for _ in range(groups)
        )
        self.body_out = nn.Conv2d(width, width, 3, padding=1)
        self.ups = [f"up{k + 1}" for k in range(doublings)]
        for name in self.ups:
            self.add_module(name, nn.Conv2d(width, width, 3, padding=1))
        self.hr = nn.Conv2d(width, width, 3, padding=1)
        self.last = nn.Conv2d(width, colours, 3, padding=1)

    @property
    def halo(self) -> int:
        """Pixels of the input around a tile with which it equals the whole to less than 1/255.

        The receptive field is one pixel for each 3x3 convolution, or less behind the body. Its
        outer part has hardly any effect: with HALO pixels, x4plus changed a photo by 0.44/255 at
        most.
        """
        reach = LAYERS_PER_BLOCK * DEPTH * len(self.body) + 4
        return self.unshuffle * min(reach, HALO)

    def forward(self, x: Tensor) -> Tensor:
        """Run the network, the last layer in float32."""
        x = F.pixel_unshuffle(x, self.unshuffle) if self.unshuffle > 1 else x
        first = self.first(x.to(self.first.weight.dtype))
        x = first
        for group in self.body:
            x = torch.add(x, group(x), alpha=RESIDUAL_SCALE)
        x = first + self.body_out(x)
        del first
        for name in self.ups:
            x = F.interpolate(x, scale_factor=2.0, mode="nearest")
            x = F.leaky_relu(self.get_submodule(name)(x), SLOPE, inplace=True)
        x = F.leaky_relu(self.hr(x), SLOPE, inplace=True)
        return convolve_in_float32(self.last, x)


def with_own_names(state: Mapping[str, T]) -> dict[str, T] | None:
    """Return the entries of a checkpoint under the names of ``Esrgan``; None for other networks.

    The layouts are those of Real-ESRGAN, of BSRGAN, and of the first ESRGAN.
    """
    names = _sequence_names(state)
    renamed = {}
    for key, value in state.items():
        layer, _, kind = key.rpartition(".")
        name = names.get(layer) or _own_name(layer)
        if name is None:
            return None
        renamed[f"{name}.{kind}"] = value
    return renamed if "body.0.0.layers.0.weight" in renamed else None


def esrgan_for(shapes: Mapping[str, tuple[int, ...]]) -> Esrgan:
    """Return the network, without its weights, of entries with these shapes and our own names.

    Raises ValueError for shapes that no such network has. On the meta device it takes no memory.
    """
    names = {key.rpartition(".")[0] for key in shapes}
    groups = len({name.split(".")[1] for name in names if name.startswith("body.")})
    first, growth, last = (
        shapes.get(key, ()) for key in ("first.weight", "body.0.0.layers.0.bias", "last.weight")
    )
    if not groups or len(first) != 4 or len(growth) != 1 or len(last) != 4:
        raise ValueError("its layers are not those of one")
    unshuffle = {1: 1, 4: 2, 16: 4}.get(first[1] // max(1, last[0]), 0)
    if not unshuffle or first[1] != last[0] * unshuffle**2:
        raise ValueError(f"its first layer reads {first[1]} channels, its last writes {last[0]}")
    return Esrgan(
        groups,
        first[0],
        growth[0],
        colours=last[0],
        doublings=sum(bool(re.fullmatch(r"up\d", name)) for name in names),
        unshuffle=unshuffle,
    )


def _own_name(layer: str) -> str | None:
    """Return our name of a layer, or None."""
    if OWN.fullmatch(layer):
        return layer
    if match := DENSE.fullmatch(layer):
        group, block, place = map(int, match.groups())
        return f"body.{group}.{block - 1}.layers.{place - 1}"
    for pattern, name in NAMES:
        if match := re.fullmatch(pattern, layer):
            return match.expand(name)
    return None


def _sequence_names(state: Mapping[str, object]) -> dict[str, str]:
    """Return our names of the numbered layers after the body in the first ESRGAN's layout."""
    matches = (re.fullmatch(r"model\.(\d+)\.weight", key) for key in state)
    numbers = sorted(int(match[1]) for match in matches if match and match[1] != "0")
    names = [f"up{k + 1}" for k in range(len(numbers) - 2)] + ["hr", "last"]
    return {f"model.{number}": name for number, name in zip(numbers, names, strict=False)}

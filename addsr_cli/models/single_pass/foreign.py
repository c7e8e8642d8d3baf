"""Networks of other people that spandrel knows: detected from their weights, and run by it.

spandrel is an optional library, and imports torchvision.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from addsr_cli.errors import ModelUnavailable
from addsr_cli.models.checks import UNFIT, first_line
from addsr_cli.models.single_pass.network import Enlarger

INSTALL = 'pip install "addsr[models]"'
MISFIT: tuple[type[Exception], ...] = (AssertionError, LookupError, *UNFIT)
PURPOSES = {
    "FaceSR": "restores only single faces that were cut out and aligned",
    "Inpainting": "fills holes, which needs a mask",
}


class ForeignNetwork(nn.Module):
    """A network that spandrel loaded; it pads pictures to the sizes that the network takes."""

    def __init__(self, descriptor: Any) -> None:  # noqa: ANN401 (an optional library)
        super().__init__()
        self.descriptor = descriptor
        self.inner = descriptor.model

    def forward(self, image: Tensor) -> Tensor:
        """Run the network on a batch, one picture after the other: not all networks take more."""
        weight = next(self.inner.parameters())
        return torch.cat([self.descriptor(each[None].to(weight.dtype)) for each in image])


def foreign_network(state: Mapping[str, Tensor], path: Path) -> Enlarger:
    """Return the network of these weights. Raises ModelUnavailable, which names ``path``."""
    try:
        import spandrel
    except (ImportError, RuntimeError) as exc:  # torchvision of another torch: RuntimeError
        raise ModelUnavailable(
            f"{path} is no network that addsr knows itself (ESRGAN, Real-ESRGAN, compact), and "
            f"spandrel, which knows more, cannot be imported: {first_line(exc)}.",
            f"{INSTALL}; it brings torchvision, which has to fit the torch that is installed.",
        ) from exc
    unknown: type[Exception] = spandrel.UnsupportedModelError
    try:
        descriptor = spandrel.ModelLoader(device="cpu").load_from_state_dict(dict(state))
    except unknown as exc:
        raise ModelUnavailable(
            f"{path} holds a network that neither addsr nor spandrel knows.",
            "Give a file of a super-resolution or restoration network.",
        ) from exc
    except MISFIT as exc:
        raise ModelUnavailable(
            f"{path} holds weights that do not fit their network: {first_line(exc)}.",
            "Take the authors' own file.",
        ) from exc
    _check_purpose(descriptor, path)
    descriptor.eval()
    return Enlarger(
        net=ForeignNetwork(descriptor).eval().requires_grad_(False),
        kind=descriptor.architecture.name,
        scale=descriptor.scale,
        channels=descriptor.input_channels,
        multiple=descriptor.size_requirements.multiple_of,
    )


def _check_purpose(descriptor: Any, path: Path) -> None:  # noqa: ANN401 (an optional library)
    """Raise ModelUnavailable for networks that do not turn a picture into the same, larger."""
    kind = descriptor.architecture.name
    problem = PURPOSES.get(descriptor.purpose)
    channels = (descriptor.input_channels, descriptor.output_channels)
    if not problem and channels not in ((1, 1), (3, 3)):
        problem = "reads {} channels and writes {}, not RGB or grey".format(*channels)
    if problem:
        raise ModelUnavailable(
            f"{path} is a network ({kind}) that {problem}.",
            "Give a super-resolution or restoration network.",
        )

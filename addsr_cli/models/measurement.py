"""What one pass of a small network costs, measured by running it once."""

import torch
from torch import Tensor, nn

from addsr_cli.models.restorer import Conditioning, Restorer
from addsr_cli.schedule import T_MAX

PROBE = 64  # pixels per side of the picture that a network runs on to be measured


def measured_pass(
    restorer: Restorer,
    dtype: torch.dtype,
    cond: Conditioning | None = None,
) -> tuple[float, float]:
    """Return bytes that autograd saves, and FLOP of one decoded pass, both per pixel.

    ``dtype`` is the one that the run computes in.
    """
    from torch.utils.flop_counter import FlopCounterMode

    storages: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    side = PROBE // restorer.factor
    z = torch.zeros(1, restorer.channels, side, side)
    t = torch.tensor([T_MAX])
    control = torch.rand(1, 3, PROBE, PROBE)
    counter = FlopCounterMode(display=False)
    mixed = torch.autocast("cpu", dtype, enabled=dtype != torch.float32)
    with mixed, counter, torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        restorer.decode(restorer.denoise(z, t, control, cond or Conditioning()))
    activations = [t for t in storages.values() if not isinstance(t, nn.Parameter)]
    saved = sum(tensor.untyped_storage().nbytes() for tensor in activations)
    return saved / PROBE**2, counter.get_total_flops() / PROBE**2

"""Few-step sampling with prediction-based self-refinement: the whole of AddSR's inference in two functions."""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

from addsr_cli.models.restorer import Conditioning, Noise, Restorer
from addsr_cli.schedule import T_MAX

Start = Literal["lr", "noise"]
OnStep = Callable[[int, Tensor], None]


def cpu_noise(seed: int) -> Noise:
    """Standard normal float32 draws of any shape from one CPU generator: a seed means one picture on every device."""
    generator = torch.Generator().manual_seed(seed)
    return lambda shape: torch.randn(list(shape), generator=generator)


def stacked_noise(seeds: Sequence[int]) -> Noise:
    """Draws for a batch with one generator per sample, so that each gets the noise that it would get alone."""
    draws = [cpu_noise(seed) for seed in seeds]
    return lambda shape: torch.cat([draw((1, *shape[1:])) for draw in draws])


def refine(prediction: Tensor, canvas: Tensor, weight: float | Tensor) -> Tensor:
    """PSR: ``w * prediction + (1 - w) * canvas``, images in [0, 1], the prediction clamped (AddSR section 3.2)."""
    return torch.lerp(canvas, prediction.clamp(0, 1), weight)


@torch.inference_mode()
def sample(
    restorer: Restorer,
    canvas: Tensor,
    cond: Conditioning,
    *,
    timesteps: Sequence[int],
    noise: Noise,
    psr: float | None = 0.4,
    start: Start = "lr",
    on_step: OnStep | None = None,
) -> Tensor:
    """Restore a canvas: the LR photo enlarged to the output size, (B, 3, H, W) in [0, 1].

    Each step predicts a clean latent, goes on to the next timestep as the schedule says, and gives
    the next step the refined picture as control; with ``psr`` None the control stays the canvas and
    its tokens stay too. Returns the last prediction decoded, (B, 3, H, W), float32, not clamped.
    ``on_step(k, z0)`` is told of every step's clean latent.
    """
    schedule, control = restorer.schedule, canvas
    batch, _, height, width = canvas.shape
    shape = (batch, restorer.channels, height // restorer.factor, width // restorer.factor)
    z = noise(shape).to(canvas.device)
    if start == "lr":
        z = schedule.add_noise(restorer.encode(canvas, noise), z, T_MAX)
    for k, t in enumerate(timesteps):
        output = restorer.denoise(z, torch.full((batch,), t, device=canvas.device), control, cond)
        z0 = schedule.predict_z0(z, output, t)
        if on_step:
            on_step(k, z0)
        if k + 1 < len(timesteps):
            z = schedule.advance(z, z0, noise(shape).to(canvas.device), t, timesteps[k + 1])
            if psr is not None:
                control = refine(restorer.decode(z0), canvas, psr) if psr > 0 else canvas
                cond = restorer.embed(control, cond)
    return restorer.decode(z0)

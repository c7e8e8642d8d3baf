"""One pass of one batch through a network: canvas, sampling, colours, and what comes out is checked."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from addsr_cli import color, hardware, imageio
from addsr_cli.canvas import make_canvas, to_tensor
from addsr_cli.engine.planner import Plan
from addsr_cli.engine.progress import ProgressCounter, StageTimer
from addsr_cli.engine.tiling import Tiled
from addsr_cli.models.restorer import Conditioning, Restorer, batched
from addsr_cli.sampler import sample, stacked_noise
from addsr_cli.settings import PromptSettings, Settings

Array = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class RunContext:
    """One call of ``upscale``: what was asked, the seed of each picture, and where it reports to."""

    settings: Settings
    seeds: Sequence[int]
    meter: ProgressCounter
    clock: StageTimer
    notes: list[str]


class InvalidOutput(ArithmeticError):
    """A network gave NaN, infinity, or one flat colour from a picture that has detail."""


@torch.inference_mode()
def restore(
    restorer: Restorer,
    rgbs: Sequence[Array],
    size: tuple[int, int],
    guide: PromptSettings,
    plan: Plan,
    run: RunContext,
) -> tuple[list[Array], list[Conditioning]]:
    """Each photo (h, w, 3) -> (size[1], size[0], 3), float32 in [0, 1], with what the network was told of it.

    All photos have one size and go through as one batch. Raises InvalidOutput.
    """
    clock, settings = run.clock, run.settings
    with clock.stage("canvas"):
        canvas = _together(
            [make_canvas(rgb, (plan.width, plan.height), restorer.factor) for rgb in rgbs]
        )
        canvas = canvas.to("cpu" if plan.offload else plan.device)
    with clock.stage("tag"):
        told = [restorer.describe(to_tensor(rgb), guide) for rgb in rgbs]
    with clock.stage("network"):
        image = _sampled(restorer, canvas, batched(told), plan, run)
    with clock.stage("color"):
        image = color.match(image, canvas, settings.color)
        if settings.blend:
            image = torch.lerp(image, canvas, settings.blend)
        hardware.synchronize(plan.device)
    del canvas
    with clock.stage("finish"):
        cropped = (
            image[..., : plan.height, : plan.width].permute(0, 2, 3, 1).cpu().contiguous().numpy()
        )
        del image
        made = (
            list(cropped)
            if size == (plan.width, plan.height)
            else [imageio.resize(each, size) for each in cropped]
        )
        return [np.clip(each, 0, 1, out=each) for each in made], told


def _sampled(
    restorer: Restorer,
    canvas: Tensor,
    told: Conditioning,
    plan: Plan,
    run: RunContext,
) -> Tensor:
    """Sample one canvas as the plan says, and check what comes out. Raises InvalidOutput."""
    settings, worker = run.settings, restorer
    if plan.tile is not None:
        worker = Tiled(
            restorer, plan.tile // restorer.factor, plan.overlap // restorer.factor, run.meter.tick
        )

    def on_step(number: int, z0: Tensor) -> None:
        if not torch.isfinite(z0).all():
            raise InvalidOutput(f"not finite after step {number + 1}")
        if plan.tile is None:
            run.meter.tick()

    image = sample(
        worker,
        canvas,
        told,
        timesteps=restorer.schedule.timesteps(run.meter.steps),
        noise=stacked_noise(run.seeds),
        psr=settings.effective_psr if restorer.schedule.rule == "renoise" else None,
        start=settings.start,
        on_step=on_step,
    )
    if (_flat(image) & ~_flat(canvas)).any():
        raise InvalidOutput("one flat colour from a picture that has detail")
    return image


def _together(canvases: Sequence[Tensor]) -> Tensor:
    return canvases[0] if len(canvases) == 1 else torch.cat(list(canvases))


def _flat(images: Tensor) -> Tensor:
    """Which pictures of a batch hold one value only."""
    return images.amin(dim=(1, 2, 3)) == images.amax(dim=(1, 2, 3))

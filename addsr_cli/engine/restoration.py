"""One pass of one batch through a network: canvas, sampling, colours, crop."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from addsr_cli import color, hardware, imageio
from addsr_cli.canvas import make_canvas, to_tensor
from addsr_cli.engine.checks import InvalidOutput
from addsr_cli.engine.one_pass import enlarge, fitted
from addsr_cli.engine.plan import Plan
from addsr_cli.engine.progress import ProgressCounter, StageTimer
from addsr_cli.engine.resident_model import ResidentModel
from addsr_cli.engine.tiling import Tiled
from addsr_cli.models.one_pass import OnePassNetwork
from addsr_cli.models.restorer import Conditioning, Restorer, batched
from addsr_cli.sampler import sample, stacked_noise
from addsr_cli.settings import PromptSettings, Settings

Array = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class RunContext:
    """What all passes of one call of ``upscale`` share.

    ``seeds`` holds one seed per photo of the batch; ``warnings`` collects sentences for the user.
    ``fidelity`` is that of the decoder, None for the model's own (see ``Conditioning``).
    """

    settings: Settings
    prompt: PromptSettings
    seeds: Sequence[int]
    steps: int
    progress: ProgressCounter
    timer: StageTimer
    warnings: list[str]
    fidelity: float | None = None


@torch.inference_mode()
def restore(
    model: ResidentModel,
    images: Sequence[Array],
    size: tuple[int, int],
    plan: Plan,
    context: RunContext,
) -> tuple[list[Array], list[Conditioning]]:
    """Upscale photos of one size as one batch.

    ``images`` are float32 (h, w, 3) in [0, 1]; the results are (size[1], size[0], 3), float32 in
    [0, 1]. Also returns the conditioning of every photo. Raises InvalidOutput and PrecisionLoss.
    """
    timer = context.timer
    settings = context.settings
    canvas_size = (plan.width, plan.height)
    with timer.stage("load"):
        restorer = model.load(plan.device, plan.dtype)
    if isinstance(restorer, OnePassNetwork):
        outputs = [_restore_in_one_pass(restorer, image, size, plan, context) for image in images]
        return outputs, [Conditioning()] * len(images)
    with timer.stage("canvas"):
        canvases = [make_canvas(image, canvas_size, restorer.factor) for image in images]
        canvas = _stacked(canvases).to("cpu" if plan.offload else plan.device)
        del canvases
    with timer.stage("tag"):
        conditioning = [restorer.describe(to_tensor(image), context.prompt) for image in images]
        if context.fidelity is not None:
            conditioning = [replace(cond, fidelity=context.fidelity) for cond in conditioning]
    with timer.stage("network"):
        restored = _sample(
            restorer,
            canvas,
            batched(conditioning),
            plan,
            context,
        )
    with timer.stage("color"):
        restored = color.match(restored, canvas, settings.color)
        if settings.blend:
            restored = torch.lerp(restored, canvas, settings.blend)
        hardware.synchronize(plan.device)
    del canvas  # before the result is copied: both are as large as the output
    with timer.stage("finish"):
        cropped = restored[..., : plan.height, : plan.width].permute(0, 2, 3, 1)
        outputs = list(cropped.cpu().contiguous().numpy())
        del restored, cropped
        if size != canvas_size:
            outputs = [imageio.resize(output, size) for output in outputs]
        for output in outputs:
            np.clip(output, 0, 1, out=output)
    return outputs, conditioning


def _restore_in_one_pass(
    network: OnePassNetwork,
    image: Array,
    size: tuple[int, int],
    plan: Plan,
    context: RunContext,
) -> Array:
    """Upscale a photo with a network that has no steps; its colours are its own."""
    with context.timer.stage("network"):
        result = enlarge(network, image, plan, context.progress)
    with context.timer.stage("finish"):
        return fitted(result, image, size, context.settings.blend)


def _stacked(canvases: Sequence[Tensor]) -> Tensor:
    """Return one batch, without a copy where there is one canvas only."""
    if len(canvases) == 1:
        return canvases[0]
    return torch.cat(list(canvases))


def _sample(
    restorer: Restorer,
    canvas: Tensor,
    conditioning: Conditioning,
    plan: Plan,
    context: RunContext,
) -> Tensor:
    """Sample one canvas as the plan says, (B, 3, H, W). Raises InvalidOutput."""
    settings = context.settings
    network = restorer
    if plan.tile is not None:
        network = Tiled(
            restorer,
            tile=plan.tile // restorer.factor,
            overlap=plan.overlap // restorer.factor,
            on_tile=context.progress.tile_done,
        )

    def on_step(number: int, z0: Tensor) -> None:
        if not torch.isfinite(z0).all():
            raise InvalidOutput(f"not finite after step {number + 1}")
        if plan.tile is None:
            context.progress.tile_done()

    restored = sample(
        network,
        canvas,
        conditioning,
        timesteps=restorer.schedule.timesteps(context.steps),
        noise=stacked_noise(context.seeds),
        psr=settings.effective_psr if restorer.schedule.scheduler == "consistency" else None,
        start=settings.start,
        on_step=on_step,
    )
    if (_is_flat(restored) & ~_is_flat(canvas)).any():
        raise InvalidOutput("one flat colour from a picture that has detail")
    return restored


def _is_flat(images: Tensor) -> Tensor:
    """Return, for each image of the batch, whether all its values are equal: bool (B,)."""
    return images.amin(dim=(1, 2, 3)) == images.amax(dim=(1, 2, 3))

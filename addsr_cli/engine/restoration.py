"""One pass of one batch through a network: canvas, sampling, colours, crop."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from addsr_cli import hardware, imageio
from addsr_cli.canvas import Canvas, to_tensor
from addsr_cli.engine.auto_settings import Decision
from addsr_cli.engine.checks import InvalidOutput
from addsr_cli.engine.finishing import Finisher, RestoredWindow
from addsr_cli.engine.geometry import Box, shrunk_box
from addsr_cli.engine.heap import release_heap
from addsr_cli.engine.one_pass import enlarge_into
from addsr_cli.engine.plan import COLOR_MARGIN, TILE_MULTIPLE, Plan
from addsr_cli.engine.progress import ProgressCounter, StageTimer
from addsr_cli.engine.resident_model import ResidentModel
from addsr_cli.engine.streaming import Streamed
from addsr_cli.engine.tiling import LARGEST_VIEW, Tiled
from addsr_cli.imageio import Photo
from addsr_cli.imageio.photo import Samples
from addsr_cli.models.one_pass import OnePassNetwork
from addsr_cli.models.restorer import Conditioning, Restorer, RowStreaming, batched
from addsr_cli.noise import stacked_noise
from addsr_cli.sampler import sample_latent
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
    decision: Decision | None = None

    @property
    def blend(self) -> float:
        """Share of the canvas in the result."""
        return self.settings.blend(self.steps)


@torch.inference_mode()
def restore(
    model: ResidentModel,
    photos: Sequence[Photo],
    targets: Sequence[Samples],
    plan: Plan,
    context: RunContext,
) -> list[Conditioning]:
    """Upscale photos of one size as one batch into ``targets``.

    Alpha is not looked at; ``targets`` are (H, W, 1 or 3) of any depth, one per photo. Returns the
    conditioning of every photo. Raises InvalidOutput and PrecisionLoss.
    """
    timer = context.timer
    with timer.stage("load"):
        restorer = model.load(plan.device, plan.dtype)
    if isinstance(restorer, OnePassNetwork):
        for photo, target in zip(photos, targets, strict=True):
            with timer.stage("network"):
                share = context.blend
                enlarge_into(target, restorer, photo, plan, context.progress, share)
        return [Conditioning()] * len(photos)
    if restorer.halo is not None:
        plan = replace(plan, halo=restorer.halo * restorer.factor)
    with timer.stage("tag"):
        conditioning = [
            restorer.describe(to_tensor(_view(photo)), context.prompt) for photo in photos
        ]
        if context.fidelity is not None:
            conditioning = [replace(cond, fidelity=context.fidelity) for cond in conditioning]
        conditioning = [replace(cond, official_tiles=plan.official) for cond in conditioning]
    canvas = Canvas(photos, (plan.width, plan.height), restorer.factor)
    finisher = Finisher(canvas, targets, context.settings, context.blend)
    run = Sampling(
        restorer=restorer,
        canvas=canvas,
        cond=batched(conditioning),
        plan=plan,
        context=context,
    )
    for window in run.windows():
        with timer.stage("color"):
            finisher.add(window)
        del window  # before the next one is made: memory is for one at a time
    with timer.stage("color"):
        finisher.finish()
        release_heap()  # which is for the encoder now
    if finisher.has_no_detail:
        raise InvalidOutput("one flat colour from a picture that has detail")
    return conditioning


def _view(photo: Photo) -> Array:
    """Return RGB for taggers; a large photo is reduced, as they do themselves."""
    longest = max(photo.size)
    if longest <= LARGEST_VIEW:
        return photo.rgb
    scale = LARGEST_VIEW / longest
    size = (max(1, round(photo.width * scale)), max(1, round(photo.height * scale)))
    return imageio.resize_photo(photo, size).rgb


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """All steps over one canvas, as the plan says; yields what is done, window by window."""

    restorer: Restorer
    canvas: Canvas
    cond: Conditioning
    plan: Plan
    context: RunContext

    def windows(self) -> Iterator[RestoredWindow]:
        """Return what the plan asks for: strips, rows of blended tiles, or regions."""
        if self.plan.strip is not None:
            return self.by_strips()
        return self.by_rows() if self.plan.blends else self.by_regions()

    def by_regions(self) -> Iterator[RestoredWindow]:
        """Run all steps for one region after the other, or for the whole at once.

        Raises InvalidOutput.
        """
        for core, seen in self._padded(self.plan).regions():
            yield self._restored(core, seen)

    def _restored(self, core: Box, seen: Box) -> RestoredWindow:
        """Run all steps for one region; see ``Plan.regions``."""
        timer = self.context.timer
        plan = self.plan
        factor = self.restorer.factor
        with timer.stage("canvas"):
            canvas = self.canvas.window(*seen).to("cpu" if plan.offload else plan.device)
        latent = shrunk_box(seen, factor)
        wanted = [
            shrunk_box(self._padded(plan).wanted(core, seen, step), factor)
            for step in range(plan.steps)
        ]
        network = self._tiled(wanted) if plan.tile is not None else self.restorer
        with timer.stage("network"):
            z0 = self._sample(network, canvas, latent)
            restored = network.decode(z0, canvas, self.cond)
            hardware.synchronize(plan.device)
        return RestoredWindow(core=core, seen=seen, restored=restored, canvas=canvas)

    def by_rows(self) -> Iterator[RestoredWindow]:
        """Run all steps over whole latents, tile by tile, then decode row by row of tiles.

        Raises InvalidOutput.
        """
        timer = self.context.timer
        canvas = self.canvas.on("cpu" if self.plan.offload else self.plan.device)
        network = self._tiled(None)
        _, _, height, width = self.canvas.shape
        whole = (slice(0, height), slice(0, width))
        with timer.stage("network"):
            z0 = self._sample(network, canvas, shrunk_box(whole, self.restorer.factor))
        columns = slice(0, width)
        rows_decoded = network.decoded_rows(z0, canvas, self.cond)
        for core, seen, restored in with_context(timed(rows_decoded, timer), height):
            yield RestoredWindow(
                core=(core, columns),
                seen=(seen, columns),
                restored=restored,
                canvas=canvas[..., seen, columns],
            )

    def by_strips(self) -> Iterator[RestoredWindow]:
        """Run the step over bands of the whole height, strip by strip.

        Raises InvalidOutput.
        """
        timer = self.context.timer
        plan = self._padded(self.plan)
        for (_, own_columns), (_, columns) in plan.regions():
            restored_rows = timed(self._streamed(columns), timer)
            for core, seen, restored in with_context(restored_rows, plan.height):
                with timer.stage("canvas"):
                    canvas = self.canvas.window(seen, columns)
                yield RestoredWindow(
                    core=(core, own_columns),
                    seen=(seen, columns),
                    restored=restored,
                    canvas=canvas,
                )
                del restored, canvas  # before the next ones are made

    def _streamed(self, columns: slice) -> Iterator[tuple[slice, Tensor]]:
        """Yield the restored rows of some columns from the top: (rows, (B, 3, rows, columns))."""
        plan = self._padded(self.plan)
        network = Streamed(cast("RowStreaming", self.restorer))
        done = 0
        for rows in plan.strips():
            network.last = rows.stop == plan.height
            canvas = self.canvas.window(rows, columns)
            z0 = self._sample(network, canvas, shrunk_box((rows, columns), network.factor))
            restored = network.decode(z0)
            del canvas, z0
            release_heap()
            complete = slice(done, done + restored.shape[-2])
            if restored.shape[-2]:
                yield complete, restored
            del restored  # before the next strip is run
            release_heap()
            done = complete.stop

    def _padded(self, plan: Plan) -> Plan:
        """Return the plan over the canvas with the repeated edges that make it divisible."""
        _, _, height, width = self.canvas.shape
        return replace(plan, width=width, height=height)

    def _tiled(self, wanted: Sequence[Box] | None) -> Tiled:
        factor = self.restorer.factor
        tile = self.plan.tile or 0
        return Tiled(
            self.restorer,
            tile=tile // factor,
            overlap=self.plan.overlap // factor,
            on_tile=self.context.progress.tile_done,
            wanted=wanted,
            multiple=TILE_MULTIPLE // factor,
            whole_codec=self.plan.official,
        )

    def _sample(
        self,
        network: Restorer,
        canvas: Tensor,
        place: Box,
    ) -> Tensor:
        """Return the last clean latent of a window; ``place`` is its box in latent pixels."""
        context = self.context
        progress = context.progress
        schedule = self.restorer.schedule
        progress.start_region()

        def on_step(number: int, z0: Tensor) -> None:
            if not torch.isfinite(z0).all():
                raise InvalidOutput(f"not finite after step {number + 1}")
            if self.plan.tile is None:
                progress.tile_done()
            progress.step_done()

        rows, columns = place
        return sample_latent(
            network,
            canvas,
            self.cond,
            timesteps=schedule.timesteps(context.steps),
            noise=stacked_noise(context.seeds, rows.start, columns.start),
            psr=context.settings.effective_psr if schedule.scheduler == "consistency" else None,
            start=context.settings.start,
            on_step=on_step,
        )


def timed(
    rows_decoded: Iterator[tuple[slice, Tensor]],
    timer: StageTimer,
) -> Iterator[tuple[slice, Tensor]]:
    """Yield the same, and count the time that it takes to the stage "network"."""
    while True:
        with timer.stage("network"):
            band = next(rows_decoded, None)
        if band is None:
            return
        yield band
        del band  # before the next one is made


def with_context(
    rows_decoded: Iterator[tuple[slice, Tensor]],
    height: int,
) -> Iterator[tuple[slice, slice, Tensor]]:
    """Yield bands of rows with ``COLOR_MARGIN`` rows more on each side, as far as there are any.

    Takes bands that follow one another, (rows, (B, 3, rows, W)). Yields the rows that are new, the
    rows of the window, and the window.
    """
    recent: Tensor | None = None
    top = 0  # of what is recent
    done = 0
    for rows, band in rows_decoded:
        window = band if recent is None else torch.cat([recent, band], dim=-2)
        del band
        ready = rows.stop if rows.stop == height else rows.stop - COLOR_MARGIN
        if ready <= done:
            recent = window
            continue
        first = max(top, ready - COLOR_MARGIN)
        recent = window[..., first - top :, :].clone()  # the window may be overwritten
        yield slice(done, ready), slice(top, rows.stop), window
        del window  # before the next one is made
        done = ready
        top = first

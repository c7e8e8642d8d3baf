"""Load once, upscale many: the whole path of a photo through a model, with what can go wrong on the way."""

import gc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from addsr_cli import color, hardware, imageio, pictures, planner
from addsr_cli.errors import AddsrError
from addsr_cli.imageio import Photo, WriteOptions
from addsr_cli.models import loader
from addsr_cli.models.restorer import Condition, Guide, Restorer
from addsr_cli.planner import Plan, Request
from addsr_cli.progress import Clock, Meter, Progress
from addsr_cli.sampler import cpu_noise, sample
from addsr_cli.schedule import Schedule
from addsr_cli.settings import Settings, passes
from addsr_cli.tiling import Tiled
from addsr_cli.version import __version__

OUT_OF_MEMORY_WORDS = ("out of memory", "can't allocate memory", "not enough memory")
DEFAULTS = Settings()
Array = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where and how to run; auto and None leave it to the planner. ``max_memory`` in bytes, tiles in canvas pixels."""

    device: str = "auto"
    precision: str = "auto"
    tile: int | None = None
    overlap: int | None = None
    offload: bool | None = None
    max_memory: int | None = None
    compile: bool = False


@dataclass(frozen=True, kw_only=True)
class Result:
    """An upscaled photo and the truth about how it came to be. ``seconds`` by stage, ``peak_memory`` in bytes."""

    photo: Photo
    plan: Plan
    settings: Settings
    model: str
    model_sha256: str
    steps: int
    seconds: dict[str, float]
    peak_memory: int
    tags: str = ""
    prompt: str = ""
    warnings: tuple[str, ...] = ()

    def embedded(self) -> dict[str, str]:
        """What is written into the file about its making."""
        s = self.settings
        record = {"model": self.model, "model_sha256": self.model_sha256, "steps": self.steps, "seed": s.seed}
        choices = {"psr": s.effective_psr, "start": s.start, "color": s.color, "blend": s.blend}
        words = {"prompt": self.prompt} if self.prompt else {}
        text = ", ".join(f"{key}={value}" for key, value in (record | choices | words).items())
        return {"Software": f"addsr {__version__}", "Comment": f"AI-upscaled with addsr: {text}"}

    def save(self, path: str | Path, options: WriteOptions | None = None) -> Path:
        """Write the photo atomically; the suffix names the format. Raises OutputRefused, also when the file exists."""
        imageio.write(self.photo, Path(path), options or WriteOptions(), self.embedded())
        return Path(path)


@dataclass(frozen=True, kw_only=True)
class _Run:
    """One call of ``upscale``: what was asked, and where it reports to."""

    settings: Settings
    meter: Meter
    clock: Clock
    notes: list[str]


class UnusableNumbers(ArithmeticError):
    """A network gave NaN, infinity, or one flat colour from a picture that has detail."""


class Upscaler:
    """A model on a device, ready for any number of photos.

    ``Upscaler(model="nano").upscale("photo.jpg").save("out.png")``. ``model`` is a name, ``auto``, or the folder of a
    training run. Raises ModelUnavailable when there is no such model. Weights are read at first use. ``around`` puts
    something around the network that looks like it, such as a stopwatch.
    """

    def __init__(
        self,
        model: str | loader.Located = "auto",
        machine: Machine | None = None,
        around: Callable[[Restorer], Restorer] = lambda restorer: restorer,
    ) -> None:
        self.located = loader.locate(model) if isinstance(model, str) else model
        self.around = around
        self.spec = self.located.spec
        self.machine = machine or Machine()
        self._restorer: Restorer | None = None
        self._loaded: tuple[str, str] | None = None
        self._digest = ""

    def steps(self, settings: Settings = DEFAULTS) -> int:
        """How many steps ``settings`` mean for this model. Raises UsageError when it does not take so many."""
        count = settings.effective_steps(self.spec.default_steps)
        Schedule(rule=self.spec.rule).timesteps(count)
        return count

    def plan(self, width: int, height: int, settings: Settings = DEFAULTS) -> list[Plan]:
        """How an input of this size (pixels) would be run: one plan per pass, most often one.

        Raises OutOfMemory, with the numbers, when even the smallest plan is foreseen not to fit: waiting for the
        system to run out would end the process instead.
        """
        machine, size, plans = hardware.probe(self.machine.device), (width, height), []
        for out in passes(size, settings.target(width, height)):
            canvas = pictures.canvas_size(*size, self.spec.shortest)
            request = Request(
                width=canvas[0],
                height=canvas[1],
                precision=self.machine.precision,
                tile=self.machine.tile,
                overlap=self.machine.overlap,
                offload=self.machine.offload,
                max_memory=self.machine.max_memory,
            )
            plans.append(planner.plan(request, machine, self.spec))
            if plans[-1].needed_bytes > plans[-1].free_bytes:
                raise planner.no_room(plans[-1])
            size = out
        return plans

    def upscale(
        self,
        image: str | Path | Photo | Image.Image | np.ndarray[Any, Any],
        settings: Settings = DEFAULTS,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Result:
        """Upscale a file, a ``Photo``, a PIL image or an array (H, W[, 3 or 4]) of uint8, uint16 or float in [0, 1].

        Raises UnreadableInput for a bad file, OutOfMemory when no plan fits, UsageError for an impossible size.
        """
        clock = Clock()
        with clock.stage("read"):
            photo = pictures.as_photo(image)
            rgb = photo.rgb if photo.alpha is None else imageio.fill_transparent(photo.rgb, photo.alpha)
        target = settings.target(photo.width, photo.height)
        with clock.stage("plan"):
            plans = self.plan(photo.width, photo.height, settings)
        count = self.steps(settings)
        meter = Meter(on_progress, count, [p.tiles() * count for p in plans])
        run = _Run(settings=settings, meter=meter, clock=clock, notes=list(photo.warnings))
        if settings.words and not self.spec.reads_text:
            run.notes.append(f"the model {self.spec.name} reads no text, so prompts, tags and guidance have no effect")
        told = Condition()
        for number, size in enumerate(passes((photo.width, photo.height), target)):
            rgb, plans[number], told = self._attempt(rgb, size, plans[number], run)
            run.notes.extend(note for note in told.notes if note not in run.notes)
            meter.next_pass()
        with clock.stage("finish"):
            result = pictures.with_pixels(photo, rgb, target)
        return Result(
            photo=result,
            plan=plans[-1],
            settings=settings,
            model=self.spec.name,
            model_sha256=self._sha256(),
            steps=count,
            seconds=clock.seconds,
            peak_memory=hardware.peak_bytes(plans[-1].device),
            tags=told.tags,
            prompt=told.prompt,
            warnings=tuple(run.notes),
        )

    def _attempt(self, rgb: Array, size: tuple[int, int], plan: Plan, run: _Run) -> tuple[Array, Plan, Condition]:
        """One pass, going to a smaller plan when memory runs out and to a wider type when numbers do."""
        while True:
            run.meter.restart(plan.tiles())
            following: Plan | None
            try:
                pixels, told = self._pass(rgb, size, plan, run)
                return pixels, plan, told
            except UnusableNumbers as exc:
                following, problem = plan.wider(), _first_line(exc)
                if following is None:
                    raise AddsrError(f"The model gave unusable numbers: {exc}.", "Try --model nano.") from exc
            except (MemoryError, RuntimeError) as exc:
                if not _is_out_of_memory(exc):
                    raise
                following, problem = plan.smaller(), _first_line(exc)
                if following is None:
                    raise planner.no_room(plan) from exc
            run.notes.append(f"{problem}: went on with {following.why}")
            plan = following
            _free_memory()

    @torch.inference_mode()
    def _pass(self, rgb: Array, size: tuple[int, int], plan: Plan, run: _Run) -> tuple[Array, Condition]:
        """Canvas, sampling, colours, crop, exact size: (h, w, 3) -> (size[1], size[0], 3), float32."""
        clock, settings = run.clock, run.settings
        with clock.stage("load"):
            restorer = self._on(plan)
        with clock.stage("canvas"):
            canvas = pictures.enlarge(rgb, (plan.width, plan.height), restorer.factor)
            canvas = canvas.to("cpu" if plan.offload else plan.device)
        with clock.stage("tag"):
            told = restorer.describe(pictures.as_tensor(rgb), _guide(settings, self.spec.guidance))
        with clock.stage("network"):
            image = _restore(restorer, canvas, told, plan, run)
        with clock.stage("color"):
            image = color.match(image, canvas, settings.color)
            if settings.blend:
                image = torch.lerp(image, canvas, settings.blend)
            hardware.settle(plan.device)
        del canvas
        with clock.stage("finish"):
            pixels = image[0, :, : plan.height, : plan.width].permute(1, 2, 0).cpu().contiguous().numpy()
            del image
            if size != (plan.width, plan.height):
                pixels = imageio.resize(pixels, size)
            return np.clip(pixels, 0, 1, out=pixels), told

    def _on(self, plan: Plan) -> Restorer:
        if self._restorer is None or self._loaded != (plan.device, plan.dtype):
            restorer = loader.load(self.located, device=plan.device, dtype=plan.dtype, compiled=self.machine.compile)
            self._restorer = self.around(restorer)
            self._loaded = (plan.device, plan.dtype)
        return self._restorer

    def _sha256(self) -> str:
        self._digest = self._digest or self.located.digest()
        return self._digest


def _guide(settings: Settings, usual: float) -> Guide:
    return Guide(
        prompt=settings.prompt,
        negative_prompt=settings.negative_prompt,
        added_prompt=settings.added_prompt,
        tags=settings.tags,
        guidance=usual if settings.guidance is None else settings.guidance,
        conditioning_scale=settings.conditioning_scale,
    )


def _restore(restorer: Restorer, canvas: Tensor, told: Condition, plan: Plan, run: _Run) -> Tensor:
    """Sample one canvas as the plan says, and check what comes out. Raises UnusableNumbers."""
    settings, worker = run.settings, restorer
    if plan.tile is not None:
        worker = Tiled(restorer, plan.tile // restorer.factor, plan.overlap // restorer.factor, run.meter.tick)

    def on_step(number: int, z0: Tensor) -> None:
        if not torch.isfinite(z0).all():
            raise UnusableNumbers(f"not finite after step {number + 1}")
        if plan.tile is None:
            run.meter.tick()

    image = sample(
        worker,
        canvas,
        told,
        timesteps=restorer.schedule.timesteps(run.meter.steps),
        noise=cpu_noise(settings.seed),
        psr=settings.effective_psr if restorer.schedule.rule == "renoise" else None,
        start=settings.start,
        on_step=on_step,
    )
    if image.amin() == image.amax() and canvas.amin() != canvas.amax():
        raise UnusableNumbers("one flat colour from a picture that has detail")
    return image


def _is_out_of_memory(exc: BaseException) -> bool:
    known = isinstance(exc, MemoryError | torch.OutOfMemoryError)
    return known or any(words in str(exc).lower() for words in OUT_OF_MEMORY_WORDS)


def _first_line(exc: BaseException) -> str:
    return str(exc).splitlines()[0][:120] if str(exc) else type(exc).__name__


def _free_memory() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()

"""Load once, upscale many: the whole path of a photo through a model, with what can go wrong on the way."""

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (the field's name for it)
from PIL import Image
from torch import Tensor

from addsr_cli import color, hardware, imageio, planner
from addsr_cli.errors import AddsrError
from addsr_cli.imageio import Photo, WriteOptions
from addsr_cli.models import loader
from addsr_cli.models.restorer import Restorer
from addsr_cli.planner import Plan, Request
from addsr_cli.sampler import cpu_noise, sample
from addsr_cli.schedule import steps as timesteps
from addsr_cli.settings import NATIVE_SCALE, Settings, passes
from addsr_cli.tiling import Tiled
from addsr_cli.version import __version__

OUT_OF_MEMORY_WORDS = ("out of memory", "can't allocate memory", "not enough memory")
DEFAULTS = Settings()


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
class Progress:
    """How far one photo is: tiles done of all tiles in all steps, and which step is running (1-based)."""

    done: int
    total: int
    step: int
    steps: int


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
    warnings: tuple[str, ...] = ()

    def embedded(self) -> dict[str, str]:
        """What is written into the file about its making."""
        s = self.settings
        record = {"model": self.model, "model_sha256": self.model_sha256, "steps": self.steps, "seed": s.seed}
        choices = {"psr": s.effective_psr, "start": s.start, "color": s.color, "blend": s.blend}
        text = ", ".join(f"{key}={value}" for key, value in (record | choices).items())
        return {"Software": f"addsr {__version__}", "Comment": f"AI-upscaled with addsr: {text}"}

    def save(self, path: str | Path, options: WriteOptions | None = None) -> Path:
        """Write the photo atomically; the suffix names the format. Raises OutputRefused, also when the file exists."""
        imageio.write(self.photo, Path(path), options or WriteOptions(), self.embedded())
        return Path(path)


class UnusableNumbers(ArithmeticError):
    """A network gave NaN, infinity, or one flat colour from a picture that has detail."""


@dataclass
class _Meter:
    """Counts tiles over all steps and passes, and tells."""

    report: Callable[[Progress], None] | None
    steps: int
    totals: list[int]
    done: int = 0
    base: int = 0

    def tick(self) -> None:
        self.done += 1
        tiles = max(1, self.totals[0] // self.steps)
        step = min(self.steps, (self.done - self.base - 1) // tiles + 1)
        if self.report:
            total = self.base + sum(self.totals)
            self.report(Progress(done=min(self.done, total), total=total, step=step, steps=self.steps))

    def restart(self, tiles: int) -> None:
        self.done, self.totals[0] = self.base, tiles * self.steps

    def next_pass(self) -> None:
        self.base += self.totals.pop(0)
        self.done = self.base


@dataclass
class _Clock:
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


class Upscaler:
    """A model on a device, ready for any number of photos.

    ``Upscaler(model="nano").upscale("photo.jpg").save("out.png")``. ``model`` is a name, ``auto``, or the folder of a
    training run. Raises ModelUnavailable when there is no such model. Weights are read at first use.
    """

    def __init__(self, model: str = "auto", machine: Machine | None = None) -> None:
        self.located = loader.locate(model)
        self.spec = self.located.spec
        self.machine = machine or Machine()
        self._restorer: Restorer | None = None
        self._loaded: tuple[str, str] | None = None
        self._digest = ""

    def plan(self, width: int, height: int, settings: Settings = DEFAULTS) -> list[Plan]:
        """How an input of this size (pixels) would be run: one plan per pass, most often one.

        Raises OutOfMemory, with the numbers, when even the smallest plan is foreseen not to fit: waiting for the
        system to run out would end the process instead.
        """
        machine, size, plans = hardware.probe(self.machine.device), (width, height), []
        for out in passes(size, settings.target(width, height)):
            request = Request(
                width=size[0] * NATIVE_SCALE,
                height=size[1] * NATIVE_SCALE,
                steps=settings.effective_steps(self.spec.default_steps),
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
        clock = _Clock()
        with clock.stage("read"):
            photo = as_photo(image)
            rgb = photo.rgb if photo.alpha is None else imageio.fill_transparent(photo.rgb, photo.alpha)
        target = settings.target(photo.width, photo.height)
        plans = self.plan(photo.width, photo.height, settings)
        count = settings.effective_steps(self.spec.default_steps)
        meter = _Meter(on_progress, count, [p.tiles() * count for p in plans])
        notes = list(photo.warnings)
        if settings.prompt and not self.spec.reads_text:
            notes.append(f"the model {self.spec.name} reads no text, so the prompt has no effect")
        for number, size in enumerate(passes((photo.width, photo.height), target)):
            rgb, plans[number] = self._attempt(rgb, size, plans[number], settings, meter, clock, notes)
            meter.next_pass()
        with clock.stage("finish"):
            result = _like(photo, rgb, target)
        return Result(
            photo=result,
            plan=plans[-1],
            settings=settings,
            model=self.spec.name,
            model_sha256=self._sha256(),
            steps=count,
            seconds=clock.seconds,
            peak_memory=_peak(plans[-1]),
            warnings=tuple(notes),
        )

    def _attempt(
        self,
        rgb: np.ndarray[Any, Any],
        size: tuple[int, int],
        plan: Plan,
        settings: Settings,
        meter: _Meter,
        clock: _Clock,
        notes: list[str],
    ) -> tuple[np.ndarray[Any, Any], Plan]:
        """One pass, going to a smaller plan when memory runs out and to a wider type when numbers do."""
        while True:
            meter.restart(plan.tiles())
            following: Plan | None
            try:
                return self._pass(rgb, size, plan, settings, meter, clock), plan
            except UnusableNumbers as exc:
                following, problem = plan.wider(), exc
                if following is None:
                    raise AddsrError(f"The model gave unusable numbers: {exc}.", "Try --model nano.") from exc
            except (MemoryError, RuntimeError) as exc:
                if not _is_out_of_memory(exc):
                    raise
                following, problem = plan.smaller(), exc  # type: ignore[assignment]
                if following is None:
                    raise planner.no_room(plan) from exc
            notes.append(f"{_first_line(problem)}: went on with {following.why}")
            plan = following
            _free_memory()

    @torch.inference_mode()
    def _pass(
        self,
        rgb: np.ndarray[Any, Any],
        size: tuple[int, int],
        plan: Plan,
        settings: Settings,
        meter: _Meter,
        clock: _Clock,
    ) -> np.ndarray[Any, Any]:
        """Canvas, sampling, colours, crop, exact size: (h, w, 3) -> (size[1], size[0], 3), float32."""
        with clock.stage("load"):
            restorer = self._on(plan)
        with clock.stage("canvas"):
            canvas = _canvas(rgb, restorer.factor).to("cpu" if plan.offload else plan.device)
        with clock.stage("network"):
            image = self._sample(restorer, canvas, plan, settings, meter)
        with clock.stage("color"):
            image = color.match(image, canvas, settings.color)
            if settings.blend:
                image = torch.lerp(image, canvas, settings.blend)
        height, width = (side * NATIVE_SCALE for side in rgb.shape[:2])
        del canvas
        with clock.stage("finish"):
            pixels = image[0, :, :height, :width].permute(1, 2, 0).cpu().contiguous().numpy()
            del image
            if size != (width, height):
                pixels = imageio.resize(pixels, size)
            return np.clip(pixels, 0, 1, out=pixels)

    def _sample(self, restorer: Restorer, canvas: Tensor, plan: Plan, settings: Settings, meter: _Meter) -> Tensor:
        cond = restorer.describe(canvas, settings.prompt)
        worker: Restorer = restorer
        if plan.tile is not None:
            worker = Tiled(restorer, plan.tile // restorer.factor, plan.overlap // restorer.factor, meter.tick)

        def on_step(number: int, z0: Tensor) -> None:
            if not torch.isfinite(z0).all():
                raise UnusableNumbers(f"not finite after step {number + 1}")
            if plan.tile is None:
                meter.tick()

        image = sample(
            worker,
            canvas,
            cond,
            timesteps=timesteps(meter.steps),
            noise=cpu_noise(settings.seed),
            psr=settings.effective_psr,
            start=settings.start,
            on_step=on_step,
        )
        if image.amin() == image.amax() and canvas.amin() != canvas.amax():
            raise UnusableNumbers("one flat colour from a picture that has detail")
        return image

    def _on(self, plan: Plan) -> Restorer:
        if self._restorer is None or self._loaded != (plan.device, plan.dtype):
            self._restorer = loader.load(
                self.located, device=plan.device, dtype=plan.dtype, compiled=self.machine.compile
            )
            self._loaded = (plan.device, plan.dtype)
        return self._restorer

    def _sha256(self) -> str:
        self._digest = self._digest or self.located.digest()
        return self._digest


def as_photo(image: str | Path | Photo | Image.Image | np.ndarray[Any, Any]) -> Photo:
    """Whatever a caller holds, as a ``Photo``."""
    if isinstance(image, Photo):
        return image
    if isinstance(image, Image.Image):
        return imageio.from_pil(image)
    if isinstance(image, np.ndarray):
        return imageio.from_array(image)
    return imageio.read(Path(image))


def _canvas(rgb: np.ndarray[Any, Any], factor: int) -> Tensor:
    """The photo enlarged 4 times, (1, 3, H, W), edges repeated until sides divide by ``factor``."""
    size = (rgb.shape[1] * NATIVE_SCALE, rgb.shape[0] * NATIVE_SCALE)
    large = imageio.resize(rgb, size)
    np.clip(large, 0, 1, out=large)
    tensor = torch.from_numpy(large).permute(2, 0, 1)[None].contiguous()
    pad = (0, -size[0] % factor, 0, -size[1] % factor)
    return F.pad(tensor, pad, mode="replicate") if any(pad) else tensor


def _like(photo: Photo, rgb: np.ndarray[Any, Any], target: tuple[int, int]) -> Photo:
    """New pixels with everything else of ``photo``: alpha enlarged, grey kept grey."""
    if photo.gray:
        rgb[:] = rgb.mean(axis=2, keepdims=True)
    alpha = None if photo.alpha is None else imageio.resize_alpha(photo.alpha, target)
    return replace(photo, rgb=rgb, alpha=alpha)


def _is_out_of_memory(exc: BaseException) -> bool:
    known = isinstance(exc, MemoryError | torch.OutOfMemoryError)
    return known or any(words in str(exc).lower() for words in OUT_OF_MEMORY_WORDS)


def _first_line(exc: BaseException) -> str:
    return str(exc).splitlines()[0][:120] if str(exc) else type(exc).__name__


def _free_memory() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _peak(plan: Plan) -> int:
    on_gpu = plan.device.startswith("cuda")
    return torch.cuda.max_memory_allocated(plan.device) if on_gpu else hardware.peak_resident_bytes()

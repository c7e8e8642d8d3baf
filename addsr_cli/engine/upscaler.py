"""Load once, upscale many: the whole path of a photo through a model, with what can go wrong on the way."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from addsr_cli import hardware, imageio
from addsr_cli.canvas import as_photo, canvas_size, size_of, source_of, with_pixels
from addsr_cli.engine import planner
from addsr_cli.engine.planner import Dtype, Plan
from addsr_cli.engine.progress import PhotoProgress, ProgressCounter, StageTimer
from addsr_cli.engine.restoration import Array, InvalidOutput, RunContext, restore
from addsr_cli.errors import AddsrError
from addsr_cli.hardware import Hardware
from addsr_cli.imageio import Photo, WriteOptions
from addsr_cli.models.restorer import Conditioning, Restorer
from addsr_cli.schedule import Schedule
from addsr_cli.settings import Machine, PromptSettings, Settings, pass_sizes
from addsr_cli.version import __version__
from addsr_cli.weights import loader

DEFAULTS = Settings()
LARGEST_BATCH = 16


@dataclass(
    frozen=True,
    kw_only=True,
    repr=False,
)
class Result:
    """An upscaled photo and the truth about how it came to be. ``seconds`` by stage, ``peak_memory`` in bytes.

    A photo made smaller went through no network: then ``plan`` is None, ``steps`` 0 and ``model``
    empty.
    """

    photo: Photo
    plan: Plan | None
    settings: Settings
    model: str
    model_sha256: str
    steps: int
    seconds: dict[str, float]
    peak_memory: int
    tags: str = ""
    prompt: str = ""
    warnings: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """In one short line."""
        made = (
            f"{self.model}, steps={self.steps}, seed={self.settings.seed}"
            if self.plan
            else "resized"
        )
        seconds = sum(self.seconds.values())
        return f"<Result {self.photo.width}x{self.photo.height}, {made}, {seconds:.1f} s>"

    @property
    def image(self) -> Image.Image:
        """The photo as an 8-bit Pillow image, with its colour profile and EXIF."""
        return self.photo.to_pil()

    def provenance(self) -> dict[str, str]:
        """What is written into the file about its making; nothing when no network made it."""
        s = self.settings
        if self.plan is None:
            return {}
        record = {
            "model": self.model,
            "model_sha256": self.model_sha256,
            "steps": self.steps,
            "seed": s.seed,
        }
        choices = {"psr": s.effective_psr, "start": s.start, "color": s.color, "blend": s.blend}
        if self.plan.halo is None:  # the size of tiles shows
            choices |= {
                "tile": self.plan.tile or "none",
                "overlap": self.plan.overlap if self.plan.tile else 0,
            }
        words = {"prompt": self.prompt} if self.prompt else {}
        text = ", ".join(f"{key}={value}" for key, value in (record | choices | words).items())
        return {"Software": f"addsr {__version__}", "Comment": f"AI-upscaled with addsr: {text}"}

    def save(self, path: str | Path, options: WriteOptions | None = None) -> Path:
        """Write the photo atomically; the suffix names the format. Raises OutputRefused, also when the file exists."""
        imageio.write(self.photo, Path(path), options or WriteOptions(), self.provenance())
        return Path(path)


class Upscaler:
    """A model on a device, ready for any number of photos.

    ``Upscaler(model="nano").upscale("photo.jpg").save("out.png")``. ``model`` is a name, ``auto``,
    or the folder of a training run. Raises ModelUnavailable when there is no such model. Weights
    are read at first use. ``wrap`` puts something around the network that looks like it, such as
    a stopwatch.
    """

    def __init__(
        self,
        model: str | loader.Located = "auto",
        machine: Machine | None = None,
        wrap: Callable[[Restorer], Restorer] = lambda restorer: restorer,
    ) -> None:
        self.located = loader.locate(model) if isinstance(model, str) else model
        self.wrap = wrap
        self.spec = self.located.spec
        self.machine = machine or Machine()
        self._restorer: Restorer | None = None
        self._loaded: tuple[str, Dtype] | None = None
        self._digest = ""

    def steps(self, settings: Settings = DEFAULTS) -> int:
        """How many steps ``settings`` mean for this model. Raises UsageError when it does not take so many."""
        count = settings.effective_steps(self.spec.default_steps)
        Schedule(rule=self.spec.rule).timesteps(count)
        return count

    def plan(self, width: int, height: int, settings: Settings = DEFAULTS) -> list[Plan]:
        """How an input of this size (pixels) would be run: one plan per pass, most often one; none to make it smaller.

        Raises OutOfMemory, with the numbers, when it is foreseen that there is no room.
        """
        machine, size, plans = self._room(), (width, height), []
        outs = pass_sizes(size, settings.output_size(width, height))
        if not outs:
            planner.check_resize_memory(
                width, height, hardware.probe("cpu"), self.machine.max_memory
            )
        for out in outs:
            canvas = canvas_size(*size, self.spec.shortest)
            plans.append(planner.plan(canvas, self.machine, machine, self.spec))
            planner.check_memory(plans[-1])
            size = out
        return plans

    def upscale(
        self,
        image: str | Path | Photo | Image.Image | np.ndarray[Any, Any],
        settings: Settings = DEFAULTS,
        on_progress: Callable[[PhotoProgress], None] | None = None,
    ) -> Result:
        """Upscale a file, a ``Photo``, a PIL image or an array (H, W[, 3 or 4]) of uint8, uint16 or float in [0, 1].

        Raises UnreadableInput for a bad file, OutOfMemory when no plan fits, UsageError for an
        impossible size.
        """
        clock, source = StageTimer(), source_of(image)
        with clock.stage("plan"):  # from the header: what memory will not hold is not decoded first
            width, height = size_of(source)
            target, plans = settings.output_size(width, height), self.plan(width, height, settings)
        with clock.stage("read"):
            photo = as_photo(source)
            rgb = _opaque(photo)
        if not plans:
            return _reduced(photo, rgb, settings, clock)
        run = self._run(settings, [settings.seed], plans, clock, on_progress)
        run.notes.extend(photo.warnings)
        told = Conditioning()
        for number, size in enumerate(pass_sizes((photo.width, photo.height), target)):
            rgb, plans[number], told = self._attempt(rgb, size, plans[number], run)
            run.notes.extend(note for note in told.notes if note not in run.notes)
            run.meter.next_pass()
        with clock.stage("finish"):
            result = with_pixels(photo, rgb, target)
        return self._result(result, settings, plans[-1], told, run)

    def batch_size(
        self,
        width: int,
        height: int,
        settings: Settings = DEFAULTS,
        wanted: int | None = None,
    ) -> int:
        """How many photos of this size (pixels) go through the network at once; 1 means one by one.

        ``wanted`` None leaves it to the machine: on a CPU one picture keeps every core busy, so
        that a batch would gain nothing. Pictures that are tiled or take several passes always go
        one by one.
        """
        plans = self.plan(width, height, settings)
        if len(plans) != 1:
            return 1
        if wanted is None:
            wanted = 1 if plans[0].device == "cpu" else LARGEST_BATCH
        return min(wanted, planner.batch_capacity(plans[0]))

    def upscale_batch(
        self, photos: Sequence[Photo], settings: Sequence[Settings]
    ) -> list[Result] | None:
        """Upscale photos of one size as one batch, each with the noise of its own seed; None when that cannot be.

        It cannot when sizes differ, settings differ in more than the seed, a photo takes tiles or
        several passes, memory runs out or numbers overflow: then each photo is one for ``upscale``,
        which knows what to do. Results are those of ``upscale`` up to rounding; ``seconds`` are
        each photo's share.
        """
        width, height = photos[0].size
        alike = {photo.size for photo in photos} == {(width, height)}
        if not alike or {replace(each, seed=0) for each in settings} != {
            replace(settings[0], seed=0)
        }:
            return None
        if self.batch_size(width, height, settings[0], len(photos)) < len(photos):
            return None
        plans, target, clock = (
            self.plan(width, height, settings[0]),
            settings[0].output_size(width, height),
            StageTimer(),
        )
        run = self._run(settings[0], [each.seed for each in settings], plans, clock, None)
        try:
            made, told = self._pass([_opaque(photo) for photo in photos], target, plans[0], run)
        except InvalidOutput:
            return None
        except (MemoryError, RuntimeError) as exc:
            if not hardware.is_out_of_memory(exc):
                raise
            hardware.release_memory(plans[0].device)
            return None
        clock.seconds = {stage: seconds / len(photos) for stage, seconds in clock.seconds.items()}
        results = []
        for photo, rgb, chosen, cond in zip(photos, made, settings, told, strict=True):
            notes = [*run.notes, *photo.warnings, *cond.notes]
            mine = with_pixels(photo, rgb, target)
            results.append(self._result(mine, chosen, plans[0], cond, replace(run, notes=notes)))
        return results

    def _run(
        self,
        settings: Settings,
        seeds: Sequence[int],
        plans: Sequence[Plan],
        clock: StageTimer,
        report: Callable[[PhotoProgress], None] | None,
    ) -> RunContext:
        count = self.steps(settings)
        meter = ProgressCounter(report, count, [plan.tiles_per_step * count for plan in plans])
        ignored = settings.uses_text and not self.spec.reads_text
        note = f"the model {self.spec.name} reads no text, so prompts, tags and guidance have no effect"
        return RunContext(
            settings=settings,
            seeds=seeds,
            meter=meter,
            clock=clock,
            notes=[note] if ignored else [],
        )

    def _result(
        self,
        photo: Photo,
        settings: Settings,
        plan: Plan,
        told: Conditioning,
        run: RunContext,
    ) -> Result:
        return Result(
            photo=photo,
            plan=plan,
            settings=settings,
            model=self.spec.name,
            model_sha256=self.digest(),
            steps=run.meter.steps,
            seconds=dict(run.clock.seconds),
            peak_memory=hardware.peak_bytes(plan.device),
            tags=told.tags,
            prompt=told.prompt,
            warnings=tuple(run.notes),
        )

    def _attempt(
        self,
        rgb: Array,
        size: tuple[int, int],
        plan: Plan,
        run: RunContext,
    ) -> tuple[Array, Plan, Conditioning]:
        """One pass, going to a smaller plan when memory runs out and to a wider type when numbers do."""
        while True:
            run.meter.restart(plan.tiles_per_step)
            following: Plan | None
            try:
                [pixels], [told] = self._pass([rgb], size, plan, run)
                return pixels, plan, told
            except InvalidOutput as exc:
                following, problem = plan.wider(), _first_line(exc)
                if following is None:
                    raise AddsrError(
                        f"The model gave unusable numbers: {exc}.", "Try --model nano."
                    ) from exc
            except (MemoryError, RuntimeError) as exc:
                if not hardware.is_out_of_memory(exc):
                    raise
                following, problem = plan.smaller(), _first_line(exc)
                if following is None:
                    raise planner.out_of_memory(plan) from exc
            run.notes.append(f"{problem}: went on with {following.why}")
            plan = following
            hardware.release_memory(plan.device)

    def _pass(
        self,
        rgbs: Sequence[Array],
        size: tuple[int, int],
        plan: Plan,
        run: RunContext,
    ) -> tuple[list[Array], list[Conditioning]]:
        with run.clock.stage("load"):
            restorer = self._on(plan)
        prompts: PromptSettings = run.settings
        if prompts.guidance is None:
            prompts = replace(prompts, guidance=self.spec.guidance)
        return restore(restorer, rgbs, size, prompts, plan, run)

    def _room(self) -> Hardware:
        """The machine, with the weights that are loaded already counted as free: the plan counts them as needed."""
        machine = hardware.probe(self.machine.device)
        if self._loaded is None or self._loaded[0] != machine.device:
            return machine
        held = self.spec.footprint.weights(planner.BYTES_PER_NUMBER[self._loaded[1]])
        return replace(machine, free_bytes=machine.free_bytes + held)

    def _on(self, plan: Plan) -> Restorer:
        if self._restorer is None or self._loaded != (plan.device, plan.dtype):
            self._drop()
            restorer = loader.load(
                self.located,
                device=plan.device,
                dtype=plan.dtype,
                compiled=self.machine.compile,
            )
            self._restorer = self.wrap(restorer)
            self._loaded = (plan.device, plan.dtype)
        return self._restorer

    def _drop(self) -> None:
        """Let go of the weights before others are loaded: there may not be room for both."""
        if self._loaded is not None:
            device, _ = self._loaded
            self._restorer = self._loaded = None
            hardware.release_memory(device)

    def digest(self) -> str:
        """sha256 of the model's weights, hexadecimal."""
        self._digest = self._digest or self.located.digest()
        return self._digest


def _reduced(
    photo: Photo,
    rgb: Array,
    settings: Settings,
    clock: StageTimer,
) -> Result:
    """The photo made smaller by plain resizing."""
    target = settings.output_size(photo.width, photo.height)
    with clock.stage("finish"):
        pixels = imageio.resize(rgb, target)
        reduced = with_pixels(photo, np.clip(pixels, 0, 1, out=pixels), target)
    note = f"{target[0]}x{target[1]} is smaller than the photo, so it was only resized, without the model"
    return Result(
        photo=reduced,
        plan=None,
        settings=settings,
        model="",
        model_sha256="",
        steps=0,
        seconds=dict(clock.seconds),
        peak_memory=hardware.peak_bytes("cpu"),
        warnings=(*photo.warnings, note),
    )


def _opaque(photo: Photo) -> Array:
    return photo.rgb if photo.alpha is None else imageio.fill_transparent(photo.rgb, photo.alpha)


def _first_line(exc: BaseException) -> str:
    return str(exc).splitlines()[0][:120] if str(exc) else type(exc).__name__

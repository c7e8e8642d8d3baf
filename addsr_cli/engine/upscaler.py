"""``Upscaler``: load a model once, upscale any number of photos with it."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from addsr_cli import hardware, imageio
from addsr_cli.engine import planner
from addsr_cli.engine.auto_settings import Decision, decided
from addsr_cli.engine.batches import can_be_batched
from addsr_cli.engine.checks import InvalidOutput
from addsr_cli.engine.frames import upscale_frames
from addsr_cli.engine.ignored_settings import ignored_settings
from addsr_cli.engine.official_plan import official_plan
from addsr_cli.engine.pass_runner import run_passes
from addsr_cli.engine.passes import planned_passes
from addsr_cli.engine.plan import Plan
from addsr_cli.engine.progress import OnProgress, ProgressCounter, StageTimer, part_of
from addsr_cli.engine.provenance import provenance_of
from addsr_cli.engine.resident_model import ResidentModel, Wrap
from addsr_cli.engine.restoration import RunContext, restore
from addsr_cli.engine.result import Result, resize_only
from addsr_cli.engine.result_in_progress import ResultInProgress, working_depth
from addsr_cli.engine.seeds import seeds_needed, spread_over_seeds
from addsr_cli.engine.source import ImageInput, as_source, layout_of, load_photo
from addsr_cli.imageio import AnimatedPhoto, Photo
from addsr_cli.models.one_pass import PrecisionLoss
from addsr_cli.models.restorer import Conditioning
from addsr_cli.schedule import Schedule
from addsr_cli.settings import Machine, Settings
from addsr_cli.weights import loader

DEFAULTS = Settings()
LARGEST_BATCH = 16


class Upscaler:
    """A model on a device, ready for any number of photos.

    ``Upscaler(model="nano").upscale("photo.jpg").save("out.png")``. ``model`` is a name, ``auto``,
    the folder of a training run, or a file of weights. The weights are loaded at first use.
    ``wrap`` replaces the network by another with the same interface, such as one that measures
    time. Raises ModelUnavailable when there is no such model.
    """

    def __init__(
        self,
        model: str | loader.Located = "auto",
        machine: Machine | None = None,
        wrap: Wrap | None = None,
    ) -> None:
        self.machine = machine or Machine()
        located = loader.locate(model) if isinstance(model, str) else model
        self.located = loader.with_decoder(located, self.machine.decoder)
        self.spec = self.located.spec
        self.model = ResidentModel(
            self.located,
            compiled=self.machine.compile,
            wrap=wrap,
        )

    def digest(self) -> str:
        """Return the sha256 of the model's weights, hexadecimal."""
        return self.model.digest()

    def steps(self, settings: Settings = DEFAULTS) -> int:
        """Return how many steps are run, 0 for a network that answers in one pass.

        Raises UsageError when the model does not take so many.
        """
        if self.spec.native_scale is not None:
            return 0
        count = self._sampling(settings).effective_steps(self.spec.default_steps)
        Schedule(scheduler=self.spec.scheduler).timesteps(count)
        return min(count, self.spec.most_steps or count)

    def complete(self, settings: Settings) -> Settings:
        """Return the settings with the network's own scale where no size was asked for."""
        if self.spec.native_scale is None or settings.asks_for_size:
            return settings
        return replace(settings, scale=float(self.spec.native_scale))

    def plan(
        self,
        width: int,
        height: int,
        settings: Settings = DEFAULTS,
        *,
        channels: int = 3,
        bit_depth: int = 8,
    ) -> list[Plan]:
        """Return one plan per pass for a photo of this size in pixels.

        There is one pass up to 6 times the size, or the network's own scale, and none to make a
        photo smaller. ``channels`` and ``bit_depth`` are those of the samples, of input and output.
        Raises OutOfMemory, with the numbers, when it is predicted not to fit.
        """
        size = self.complete(settings).output_size(width, height)
        depth = working_depth(settings, bit_depth)
        passes = planned_passes(self.spec, (width, height), size, channels, depth)
        if not passes:
            cpu = hardware.probe("cpu")
            planner.check_resize_memory(width, height, cpu, self.machine.max_memory)
            return []
        device = self.model.probe(self.machine.device)
        steps = max(1, self.steps(settings))
        plans = []
        for canvas, pictures in passes:
            plan = planner.plan(
                canvas,
                self.machine,
                device,
                self.spec,
                steps=steps,
                pictures=pictures,
            )
            if settings.tiles == "official":
                plan = official_plan(plan, self.machine, self.spec)
            planner.check_memory(plan)
            plans.append(plan)
        return plans

    def upscale(
        self,
        image: ImageInput,
        settings: Settings = DEFAULTS,
        on_progress: OnProgress | None = None,
        *,
        bit_depth: int | None = None,
    ) -> Result:
        """Upscale a file, a ``Photo``, a Pillow image or an array.

        Arrays are (H, W) or (H, W, 1 to 4), of uint8, uint16, or float in [0, 1]. ``bit_depth``, 8
        or 16, is that of the result's samples; None means that of the input, and 16 for floats.

        Raises UnreadableInput for a bad file, OutOfMemory when no plan fits, UsageError for an
        impossible size.
        """
        settings = self.complete(settings)
        timer = StageTimer()
        source = as_source(image)
        if isinstance(source, AnimatedPhoto):
            size = settings.output_size(*source.size)
            settings, decision = self._decided(source.frames[0], settings)  # one for all frames
            upscale = partial(self.upscale, settings=settings, bit_depth=bit_depth)
            result = upscale_frames(source, size, upscale, on_progress)
            return replace(result, decision=decision)
        with timer.stage("plan"):  # from the header: what does not fit is refused before decoding
            width, height, channels, depth = layout_of(source)
            size = settings.output_size(width, height)
            depth = bit_depth or depth
            planned = partial(self.plan, width, height, channels=channels, bit_depth=depth)
            plans = planned(settings)
        with timer.stage("read"):
            photo = load_photo(source)
        if not plans:
            return resize_only(photo, settings, timer)
        with timer.stage("read"):
            opaque = imageio.fill_transparent(photo)
        with timer.stage("plan"):
            settings, decision = self._decided(opaque, settings)
            if decision is not None:
                plans = planned(settings)
        seeds = seeds_needed(settings, self.spec)
        context = self._context(
            settings,
            [settings.seed],
            plans,
            timer,
            part_of(on_progress, 0, seeds),
            decision,
        )
        context.warnings.extend(photo.warnings)
        output = ResultInProgress(photo, opaque, size, bit_depth, settings)
        final_plan, conditioning = run_passes(self.model, opaque, output.target, plans, context)
        if seeds > 1:
            with timer.stage("seeds"):
                first = output.target
                output.spread = spread_over_seeds(self.upscale, photo, settings, first, on_progress)
        return self._result(output, settings, final_plan, conditioning, context)

    def batch_size(
        self,
        width: int,
        height: int,
        settings: Settings = DEFAULTS,
        wanted: int | None = None,
    ) -> int:
        """Return how many photos of this size (pixels) go through the network at once.

        ``wanted`` None leaves it to the machine: 1 on a CPU, where one photo keeps every core busy.
        Photos that need tiles or several passes always go one by one.
        """
        plans = self.plan(width, height, settings)
        if len(plans) != 1:
            return 1
        if wanted is None:
            wanted = 1 if plans[0].device == "cpu" else LARGEST_BATCH
        return min(wanted, planner.batch_capacity(plans[0]))

    def upscale_batch(
        self,
        photos: Sequence[Photo],
        settings: Sequence[Settings],
        *,
        bit_depth: int | None = None,
    ) -> list[Result] | None:
        """Upscale photos of one size as one batch, each with the noise of its own seed.

        Returns None when that is not possible: sizes differ, settings differ in more than the seed,
        a photo is animated, needs tiles or several passes, memory runs out or numbers overflow.
        ``upscale`` handles each of these for single photos; ``bit_depth`` is as there. Results
        equal those of ``upscale`` up to rounding; ``seconds`` are divided evenly among the photos.
        """
        decisions = [
            self._decided(photo, self.complete(each))
            for photo, each in zip(photos, settings, strict=True)
        ]
        settings = [each for each, _ in decisions]
        common = settings[0]
        width, height = photos[0].size
        if not can_be_batched(photos, settings, self.spec):
            return None
        if self.batch_size(width, height, common, wanted=len(photos)) < len(photos):
            return None
        timer = StageTimer()
        [plan] = self.plan(width, height, common)
        size = common.output_size(width, height)
        context = self._context(
            common,
            [each.seed for each in settings],
            [plan],
            timer,
        )
        opaque = [imageio.fill_transparent(photo) for photo in photos]
        outputs = [
            ResultInProgress(photo, filled, size, bit_depth, common)
            for photo, filled in zip(photos, opaque, strict=True)
        ]
        targets = [output.target for output in outputs]
        try:
            conditioning = restore(self.model, opaque, targets, plan, context)
        except (InvalidOutput, PrecisionLoss):
            return None
        except (MemoryError, RuntimeError) as exc:
            if not hardware.is_out_of_memory(exc):
                raise
            hardware.release_memory(plan.device)
            return None
        timer.seconds = {stage: total / len(photos) for stage, total in timer.seconds.items()}
        results = []
        for output, (own, decision), cond in zip(outputs, decisions, conditioning, strict=True):
            warnings = [*context.warnings, *output.source.warnings, *cond.notes]
            own_context = replace(context, warnings=warnings, decision=decision)
            results.append(self._result(output, own, plan, cond, own_context))
        return results

    def _context(
        self,
        settings: Settings,
        seeds: Sequence[int],
        plans: Sequence[Plan],
        timer: StageTimer,
        on_progress: OnProgress | None = None,
        decision: Decision | None = None,
    ) -> RunContext:
        steps = self.steps(settings)
        guidance = self.spec.guidance if settings.guidance is None else settings.guidance
        progress = ProgressCounter(
            on_progress=on_progress,
            steps=max(1, steps),
            pass_tiles=[plan.tiles for plan in plans],
        )
        return RunContext(
            settings=self._sampling(settings),
            fidelity=settings.dial if self.spec.dials_decoder else None,
            prompt=replace(settings, guidance=guidance),
            seeds=seeds,
            steps=steps,
            progress=progress,
            timer=timer,
            warnings=ignored_settings(self.spec, settings),
            decision=decision,
        )

    def _decided(self, photo: Photo, settings: Settings) -> tuple[Settings, Decision | None]:
        """Return the settings with what ``auto`` comes to for this photo and model."""
        if not settings.is_auto:
            return settings, None
        if settings.fidelity == "auto" and self.spec.dials_decoder:
            settings = replace(settings, fidelity=None)  # a decoder keeps its own
        one_pass = self.spec.native_scale is not None
        settings, decision = decided(photo, settings, 0 if one_pass else self.spec.default_steps)
        if decision is not None:  # told are the steps that are run
            decision = replace(decision, steps=self.steps(settings) or None)
        return settings, decision

    def _sampling(self, settings: Settings) -> Settings:
        """Return the settings without a fidelity that is a dial of the model's decoder alone."""
        return replace(settings, fidelity=None) if self.spec.dials_decoder else settings

    def _result(
        self,
        output: ResultInProgress,
        settings: Settings,
        plan: Plan,
        conditioning: Conditioning,
        context: RunContext,
    ) -> Result:
        with context.timer.stage("finish"):
            photo, drift, trust = output.finish(context.warnings)
        model = self.spec.name, self.digest()
        return Result(
            photo=photo,
            drift=drift,
            trust=trust,
            decision=context.decision,
            protected=output.protected,
            plan=plan,
            settings=self._sampling(settings),
            fidelity=conditioning.fidelity,
            model=model[0],
            model_sha256=model[1],
            origin=provenance_of(
                output.source,
                settings,
                plan,
                model,
                context.steps,
                output.mask_sha256,
            ),
            steps=context.steps,
            seconds=dict(context.timer.seconds),
            peak_memory=hardware.peak_bytes(plan.device),
            tags=conditioning.tags,
            prompt=conditioning.prompt,
            warnings=tuple(context.warnings),
        )

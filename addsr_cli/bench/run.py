"""A whole benchmark: speed, and with data the quality of pictures, as one report."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from addsr_cli import hardware
from addsr_cli.bench import (
    ablation,
    dataset,
    learned,
    metrics,
    peers,
    protocol,
    quality,
    set_distance,
    speed,
)
from addsr_cli.bench.options import BenchOptions
from addsr_cli.bench.report import Report
from addsr_cli.bench.set_distance import SET_METRICS
from addsr_cli.bench.variants import Variant, default_steps, for_model, variants
from addsr_cli.engine.upscaler import Upscaler
from addsr_cli.errors import UsageError
from addsr_cli.settings import Machine
from addsr_cli.weights.loader import Located

MAX_LOAD = 0.3  # running processes per core, above which times are not reliable
SMALL_SIDE = 128  # pixels; every plan can run such a picture
MAX_SCENES = 20  # photos that a page shows
TIMING = (
    "at least {warmup} warm-up and {runs} measured runs, for at least {seconds:g} s each, "
    "taking turns; JPEG bytes in, JPEG bytes out; stages are those of the median run; "
    "flop counted by torch, matmul peak measured in the same type"
)

Progress = Callable[[int, int, str], None]  # done, total, current item


@dataclass(frozen=True, kw_only=True)
class BenchCallbacks:
    """How a benchmark reports what it does.

    ``info`` and ``warn`` take a message; ``progress`` opens a progress display of a title.
    """

    info: Callable[[str], None]
    warn: Callable[[str], None]
    progress: Callable[[str], AbstractContextManager[Progress]]


def run(
    located: Located,
    machine: Machine,
    options: BenchOptions,
    callbacks: BenchCallbacks,
    *,
    keep_pictures: bool = False,
) -> Report:
    """Measure what ``options`` ask for; ``keep_pictures`` keeps some for the report's page.

    Raises UsageError for impossible settings and OutOfMemory, both before any measurement.
    """
    chosen, ignored = for_model(options.sweep, located.spec)
    if ignored:
        callbacks.warn(f"{located.spec.name} ignores {', '.join(ignored)}")
    sweep = variants(chosen, default_steps(located.spec))
    precisions = _precision_reasons(located, machine, sweep)
    if options.ablation is None:
        callbacks.info(f"model {located.spec.name}: {located.reason}")
    report = Report(
        protocol=protocol.describe_machine(machine.device, located, options.sweep.base),
        published=options.published(),
        folder=options.data.resolve().name if options.data else "",
    )
    report.protocol["precision"] = "; ".join(precisions)
    if options.speed_sizes:
        _measure_speed(
            report,
            located,
            machine,
            sweep,
            options,
            callbacks,
        )
    if options.data is not None:
        _measure_quality(
            report,
            located,
            machine,
            sweep,
            options,
            options.data,
            callbacks,
            keep_pictures,
        )
    return report


def _precision_reasons(
    located: Located,
    machine: Machine,
    sweep: Sequence[Variant],
) -> list[str]:
    """The type that each precision means on this machine, and why."""
    reasons: dict[str, str] = {}
    for variant in sweep:
        upscaler = Upscaler(located, replace(machine, precision=variant.precision))
        upscaler.steps(variant.settings)
        if variant.precision not in reasons:
            plan = upscaler.plan(SMALL_SIDE, SMALL_SIDE)[-1]
            reasons[variant.precision] = plan.why.partition(";")[0]
    return list(reasons.values())


def _measure_speed(
    report: Report,
    located: Located,
    machine: Machine,
    sweep: Sequence[Variant],
    options: BenchOptions,
    callbacks: BenchCallbacks,
) -> None:
    if hardware.load_per_core() > MAX_LOAD:
        callbacks.warn("other programs are using this machine, so the times are too long")
    sizes = options.speed_sizes
    repeats = options.repeats
    with callbacks.progress("speed") as update:
        total = len(sweep) * len(sizes)
        report.speed = speed.measure(
            located,
            machine,
            sweep,
            sizes,
            repeats,
            lambda done, case: update(done, total, case),
        )
    report.protocol["timing"] = TIMING.format(
        runs=repeats.runs,
        warmup=repeats.warmup,
        seconds=repeats.seconds,
    )


def _measure_quality(
    report: Report,
    located: Located,
    machine: Machine,
    sweep: Sequence[Variant],
    options: BenchOptions,
    data: Path,
    callbacks: BenchCallbacks,
    keep_pictures: bool,
) -> None:
    """Add the rows of quality, their protocol, and the pictures of the first photos."""
    test_sets = dataset.find_test_sets(
        data,
        lr=options.lr,
        degradations=options.degradations,
        limit=options.limit,
        seed=options.sweep.seed,
    )
    methods = peers.with_unique_names(
        *peers.interpolation(),
        *(peers.peer_network(file, machine.device) for file in options.peers),
        *(peers.result_folder(folder) for folder in options.results),
        *_models(report, located, machine, sweep, options, callbacks),
    )
    of_sets = [SET_METRICS[name] for name in options.metrics if name in SET_METRICS]
    chosen_metrics, missing = _choose_metrics(options.metrics, machine.device)
    if missing:
        callbacks.info(missing)
    device = hardware.probe(machine.device).device
    sets = set_distance.collectors([metric.name for metric in of_sets], device, options.border)
    on_picture: list[quality.PictureCallback] = [*sets]
    if options.save:
        on_picture.append(quality.picture_saver(options.save))
    if keep_pictures:
        on_picture.append(_scene_collector(report))
    total = sum(len(test_set.photos) for test_set in test_sets)
    with callbacks.progress("quality") as update:
        report.quality = quality.measure(
            test_sets,
            methods,
            chosen_metrics,
            border=options.border,
            on_picture=on_picture,
            on_photo=lambda done, photo: update(done, total, photo),
        )
    for collector in sets:
        report.quality = _with_distances(report.quality, collector, of_sets, callbacks)
    report.metrics = [*chosen_metrics, *of_sets]
    described = protocol.describe_data(str(data), test_sets, report.metrics, options.border)
    report.protocol |= described
    if missing:
        report.protocol["left out"] = missing


def _models(
    report: Report,
    located: Located,
    machine: Machine,
    sweep: Sequence[Variant],
    options: BenchOptions,
    callbacks: BenchCallbacks,
) -> Iterator[peers.Method]:
    """The model, or in its place the trained variants of an ablation."""
    if options.ablation is None:
        yield from quality.model_methods(located, machine, sweep)
        return
    trained = ablation.find_variants(options.ablation, options.trained_folders)
    report.protocol["model"] = "; ".join(
        f"{each.label} ({each.located.file.parent})" for each in trained
    )
    report.protocol["sha256"] = "; ".join(each.located.digest() for each in trained)
    for each in trained:
        callbacks.info(f"{each.label}: {each.located.file.parent}")
    missing = ablation.missing_variants(options.ablation, trained)
    if missing:
        report.protocol["not trained"] = "; ".join(missing)
        callbacks.info(f"not trained here: {'; '.join(missing)}")
    differing = ablation.other_differences(options.ablation, trained)
    if differing:
        callbacks.warn(f"the trained models also differ in {', '.join(differing)}")
    for each in trained:
        steps = default_steps(each.located.spec)
        settings = options.sweep if each.uses_psr else replace(options.sweep, psr=(0.0,))
        yield from quality.model_methods(
            each.located,
            machine,
            variants(settings, steps),
            each.label,
        )


def _with_distances(
    rows: list[quality.Quality],
    sets: set_distance.SetDistances,
    wanted: Sequence[metrics.MetricInfo],
    callbacks: BenchCallbacks,
) -> list[quality.Quality]:
    """Return the rows with the wanted distances of their sets; warn where those are small."""
    fid, kid = sets.network.metrics
    if sets.most_patches <= sets.network.dimensions:
        callbacks.warn(
            f"{fid.name} of {sets.most_patches} patches is too high: compare it only with sets of "
            f"as many; {kid.name} does not depend on their number"
        )
    names = {metric.name for metric in wanted}
    changed = []
    for row in rows:
        values = sets.distances(row.case, row.method)
        chosen = {name: value for name, value in values.items() if name in names}
        changed.append(replace(row, means=row.means | chosen))
    return changed


def _choose_metrics(names: Sequence[str], device: str) -> tuple[list[metrics.Metric], str]:
    """The metrics of pairs to measure, and a line on those that are not installed.

    All of them without ``names``; those of sets, which may be among them, are left out. Raises
    UsageError for a named metric that is not available.
    """
    of_pairs = [name for name in names if name not in SET_METRICS]
    if names and not of_pairs:
        return [], ""
    available, missing = metrics.installed()
    if not names or set(names) & set(learned.NAMES):
        wanted = [name for name in learned.NAMES if name in names] or learned.NAMES
        networks, problem = learned.learned_metrics(hardware.probe(device).device, wanted)
        available += networks
        missing = "; ".join(line for line in (missing, problem) if line)
    by_name = {metric.name: metric for metric in available}
    if not names:
        return available, missing
    unknown = [name for name in of_pairs if name not in by_name]
    if unknown:
        raise UsageError(
            f"The metric {unknown[0]} is not available here.",
            missing or f"There are {', '.join(by_name)}.",
        )
    return [by_name[name] for name in of_pairs], ""


def _scene_collector(report: Report) -> quality.PictureCallback:
    """A callback that keeps the pictures of the first photos for the report's page."""

    def collect(
        case: str,
        method: str,
        stem: str,
        picture: metrics.Picture,
    ) -> None:
        if (case, stem) in report.scenes or len(report.scenes) < MAX_SCENES:
            report.scenes.setdefault((case, stem), []).append((method, picture))

    return collect

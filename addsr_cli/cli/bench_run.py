"""What ``addsr bench`` does between its options and its report."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from addsr_cli import hardware
from addsr_cli.bench import dataset, learned, metrics, peers, protocol, published, quality, speed
from addsr_cli.bench.published import Published
from addsr_cli.bench.variants import Sweep, Variant, usual_steps, variants
from addsr_cli.cli.bench_report import GRID, Report
from addsr_cli.cli.console import Console
from addsr_cli.cli.model_choice import chosen
from addsr_cli.engine.upscaler import Upscaler
from addsr_cli.errors import OutputRefused, UsageError
from addsr_cli.imageio import check_target
from addsr_cli.settings import Machine
from addsr_cli.weights import loader
from addsr_cli.weights.loader import Located

QUIET = 0.3  # running processes per core that a measurement can bear
SMALL = 128  # pixels of a side that every plan can take
SPEED_PROTOCOL = (
    "at least {warmup} warm-up and {runs} measured runs, for at least {seconds:g} s each, taking turns; JPEG bytes in, "
    "JPEG bytes out; "
    "stages are those of the median run; flop counted by torch, matmul peak measured in the same type"
)


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """Files to write the report into, besides stdout; ``markdown`` may be ``-``."""

    csv: Path | None
    markdown: str | None
    html: Path | None
    overwrite: bool

    def check(self) -> None:
        """Raise OutputRefused when one of them cannot be written, before anything is measured."""
        for path in (
            self.csv,
            self.html,
            Path(self.markdown) if self.markdown not in (None, "-") else None,
        ):
            if path is not None:
                check_target(path, overwrite=self.overwrite)


@dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """What the command line asks for. ``model`` None means random weights; ``pictures`` keeps some for a page."""

    model: str | None
    machine: Machine
    sweep: Sweep
    sizes: Sequence[tuple[int, int]]
    runs: int
    warmup: int
    seconds: float
    data: Path | None
    lr: Sequence[str]
    degradations: Sequence[str]
    limit: int | None
    border: int
    metrics: Sequence[str]
    results: Sequence[Path]
    peers: Sequence[Path]
    preset: str | None
    save: Path | None
    pictures: bool


def run(wish: BenchOptions, console: Console) -> Report:
    """Measure what was asked for. All refusals that can be foreseen come first."""
    table = published.preset(wish.preset) if wish.preset else None
    _check(wish, table)
    repeats = speed.Repeats(
        runs=wish.runs,
        warmup=wish.warmup,
        seconds=wish.seconds,
    )
    located = _located(wish, console)
    sweep = variants(wish.sweep, usual_steps(located.spec.scheduler, located.spec.default_steps))
    precisions = _precisions(located, wish, sweep)
    console.info(f"model {located.spec.name}: {located.reason}")
    report = Report(
        protocol=protocol.machine(wish.machine.device, located, wish.sweep.base), published=table
    )
    report.protocol["precision"] = "; ".join(precisions)
    if wish.sizes:
        if hardware.load_per_core() > QUIET:
            console.warn("other programs keep this machine busy, so the times are too long")
        with console.count_progress("speed") as count:
            cases = len(sweep) * len(wish.sizes)
            report.speed = speed.measure(
                located,
                wish.machine,
                sweep,
                wish.sizes,
                repeats,
                lambda done, what: count(done, cases, what),
            )
        report.protocol["timing"] = SPEED_PROTOCOL.format(
            runs=wish.runs,
            warmup=wish.warmup,
            seconds=wish.seconds,
        )
    if wish.data is not None:
        _quality(report, located, sweep, wish, wish.data, console)
    return report


def _precisions(located: Located, wish: BenchOptions, sweep: Sequence[Variant]) -> list[str]:
    """What each precision means here, and why. Raises UsageError for impossible steps, OutOfMemory before any work."""
    found = {}
    for variant in sweep:
        upscaler = Upscaler(located, replace(wish.machine, precision=variant.precision))
        upscaler.steps(variant.settings)
        if variant.precision not in found:
            found[variant.precision] = upscaler.plan(SMALL, SMALL)[-1].why.partition(";")[0]
    return list(found.values())


def _check(wish: BenchOptions, table: Published | None) -> None:
    if (
        wish.save
        and wish.save.exists()
        and not (wish.save.is_dir() and not any(wish.save.iterdir()))
    ):
        raise OutputRefused(
            f"{wish.save} exists and is not an empty folder.", "Give --save a new folder."
        )
    if wish.data is not None:
        return
    if table:
        raise UsageError(f"--preset {wish.preset} needs --data.", table.data)
    asked = (
        *(
            ("--results", wish.results),
            ("--peer", wish.peers),
            ("--lr", wish.lr),
            ("--degradation", wish.degradations),
        ),
        *(
            ("--metrics", wish.metrics),
            ("--save", wish.save),
            ("--limit", wish.limit),
            ("--crop-border", wish.border),
        ),
    )
    if useless := [flag for flag, given in asked if given]:
        raise UsageError(f"{useless[0]} needs --data.", "Give --data a folder with HR/ and LR/.")


def _located(wish: BenchOptions, console: Console) -> Located:
    if wish.model is None:
        return loader.random_weights()
    return loader.locate(chosen(wish.model, wish.machine.device, console, fetch=True))


def _quality(
    report: Report,
    located: Located,
    sweep: Sequence[Variant],
    wish: BenchOptions,
    data: Path,
    console: Console,
) -> None:
    """Fill in the rows of quality, the protocol's words on them, and the pictures of the first photos."""
    cases = dataset.find_cases(
        data,
        lr=wish.lr,
        degradations=wish.degradations,
        limit=wish.limit,
        seed=wish.sweep.base.seed,
    )
    methods = peers.told_apart(
        *peers.plain(),
        *(peers.network(file, wish.machine.device) for file in wish.peers),
        *(peers.results(folder) for folder in wish.results),
        *quality.models(located, wish.machine, sweep),
    )
    measured, missing = _metrics(wish)
    if missing:
        console.info(missing)
    keeps = [quality.saver(wish.save)] if wish.save else []
    if wish.pictures:
        keeps.append(_remember(report))
    with console.count_progress("quality") as count:
        photos = sum(len(case.items) for case in cases)
        report.quality = quality.measure(
            cases,
            methods,
            measured,
            border=wish.border,
            keeps=keeps,
            on_photo=lambda done, what: count(done, photos, what),
        )
    report.metrics = measured
    report.protocol |= protocol.pictures(str(data), cases, measured, wish.border)
    if missing:
        report.protocol["left out"] = missing


def _metrics(wish: BenchOptions) -> tuple[list[metrics.Metric], str]:
    """The metrics to measure, and one line on those that are not installed; naming one makes it a must."""
    plain, missing = metrics.installed()
    networks: list[metrics.Metric] = []
    if not wish.metrics or set(wish.metrics) & set(learned.NAMES):
        wanted = [name for name in learned.NAMES if name in wish.metrics] or learned.NAMES
        networks, problem = learned.learned(hardware.probe(wish.machine.device).device, wanted)
        missing = "; ".join(line for line in (missing, problem) if line)
    every = {metric.name: metric for metric in [*plain, *networks]}
    if unknown := [name for name in wish.metrics if name not in every]:
        raise UsageError(
            f"The metric {unknown[0]} cannot be had here.",
            missing or f"There are {', '.join(every)}.",
        )
    return [every[name] for name in wish.metrics] or list(
        every.values()
    ), "" if wish.metrics else missing


def _remember(report: Report) -> quality.Keep:
    """Keeps the pictures of the first photos of the report for its page."""

    def keep(
        case: str,
        method: str,
        stem: str,
        picture: metrics.Picture,
    ) -> None:
        if (case, stem) in report.scenes or len(report.scenes) < GRID:
            report.scenes.setdefault((case, stem), []).append((method, picture))

    return keep

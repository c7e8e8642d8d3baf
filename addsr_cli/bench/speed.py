"""Speed by stage of a whole upscale, from a file's bytes to a file's bytes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from time import perf_counter

import numpy as np
from torch.utils.flop_counter import FlopCounterMode

from addsr_cli import hardware, imageio
from addsr_cli.bench.options import Repeats
from addsr_cli.bench.stages import (
    NETWORK_STAGES,
    TimedOnePass,
    TimedRestorer,
    seconds_by_stage,
    timed,
)
from addsr_cli.bench.variants import Variant
from addsr_cli.engine.result import Result
from addsr_cli.engine.upscaler import Upscaler
from addsr_cli.errors import UsageError
from addsr_cli.imageio import Photo, WriteOptions
from addsr_cli.models.architecture import Network
from addsr_cli.settings import Machine, Settings
from addsr_cli.weights.loader import DTYPES, Located

JPEG = WriteOptions(format="JPEG")
MIN_SIDE, MAX_SIDE = 16, 20_000  # pixels
MIN_LOAD_SECONDS = 1e-3  # less means that the weights were in memory already


@dataclass(frozen=True, kw_only=True)
class Speed:
    """One case, in seconds per picture.

    ``stages`` are those of the median run, so they add up to ``median``. ``load`` happened once,
    before. ``flop`` is the work of the networks for one picture (0: not counted), ``rate`` the
    matmul FLOP/s of this machine in that type, ``share`` how much of it the networks reached.
    """

    label: str
    settings: Settings
    size: tuple[int, int]
    out: tuple[int, int]
    steps: int
    dtype: str
    plan: str
    tiles: int
    runs: int
    median: float
    p90: float
    stages: dict[str, float]
    load: float
    peak_memory: int
    flop: int
    rate: float

    @property
    def images_per_second(self) -> float:
        """Pictures per second at the median."""
        return 1 / self.median

    @property
    def megapixels_per_second(self) -> float:
        """Millions of output pixels per second at the median."""
        return self.out[0] * self.out[1] / self.median / 1e6

    @property
    def network_seconds(self) -> float:
        """Seconds inside the networks."""
        return sum(self.stages[name] for name in NETWORK_STAGES)

    @property
    def share(self) -> float:
        """The share of the machine's matmul FLOP/s that the networks reached, 0 to about 1."""
        return self.flop / self.network_seconds / self.rate if self.network_seconds else 0.0

    def rates(self) -> dict[str, float | None]:
        """Throughput, as data."""
        return {
            "images_per_second": self.images_per_second,
            "megapixels_per_second": self.megapixels_per_second,
            "matmul_share": self.share or None,
        }


@dataclass(frozen=True, kw_only=True)
class TimedRun:
    """One run: seconds in all and by stage, without loading, and the engine's result."""

    seconds: float
    stages: dict[str, float]
    result: Result


@dataclass(kw_only=True)
class SpeedCase:
    """One input and variant, with its warm-up and its measured runs so far."""

    size: tuple[int, int]
    data: bytes
    variant: Variant
    warmup: list[TimedRun] = field(default_factory=list)
    runs: list[TimedRun] = field(default_factory=list)


class TimedUpscaler:
    """An ``Upscaler`` whose network is timed by stage."""

    def __init__(self, located: Located, machine: Machine) -> None:
        self.timed: TimedRestorer | TimedOnePass | None = None
        self.upscaler = Upscaler(located, machine, self._wrap)

    def _wrap(self, network: Network) -> Network:
        self.timed = timed(network)
        return self.timed

    def run(self, data: bytes, variant: Variant) -> TimedRun:
        """Upscale a JPEG to a JPEG. ``load`` is left out: it does not happen for every picture."""
        if self.timed:
            self.timed.clock.seconds.clear()
        start = perf_counter()
        photo = imageio.read(data)
        read = perf_counter()
        result = self.upscaler.upscale(photo, variant.settings)
        done = perf_counter()
        imageio.encode(result.photo, JPEG)
        end = perf_counter()
        engine = dict(result.seconds)
        engine["read"] = engine.get("read", 0.0) + read - start
        engine["write"] = end - done
        network = self.timed.clock.seconds if self.timed else {}
        return TimedRun(
            seconds=end - start - engine["load"],
            stages=seconds_by_stage(engine, network),
            result=result,
        )

    def count_flop(self, data: bytes, variant: Variant) -> int:
        """FLOP of all networks for one picture: matrix products and convolutions, any precision."""
        with FlopCounterMode(display=False) as counter:
            self.run(data, variant)
        return int(counter.get_total_flops())


def measure(
    located: Located,
    machine: Machine,
    sweep: Sequence[Variant],
    sizes: Sequence[tuple[int, int]],
    repeats: Repeats,
    on_case: Callable[[int, str], None] = lambda *_: None,
) -> list[Speed]:
    """One row per precision, size and variant.

    Warm-up runs go from small to large pictures, so that peaks of memory do not hide each other;
    measured runs take turns, so that a slow moment of the machine falls on all cases and ratios
    stay true. Inputs are random pictures with the spectrum of photos, as JPEG. ``on_case`` gets the
    number of finished cases and the name of the next one.

    Raises UsageError for sizes out of range.
    """
    _check_sizes(sizes)
    rows: list[Speed] = []
    inputs = [(size, _jpeg(size)) for size in sorted(sizes, key=lambda size: size[0] * size[1])]
    for precision in dict.fromkeys(variant.precision for variant in sweep):
        upscaler = TimedUpscaler(located, replace(machine, precision=precision))
        cases = [
            SpeedCase(size=size, data=data, variant=variant)
            for size, data in inputs
            for variant in sweep
            if variant.precision == precision
        ]
        _run_cases(
            upscaler,
            cases,
            repeats,
            partial(_numbered, on_case, len(rows)),
        )
        rows += [_row(upscaler, case) for case in cases]
    if not machine.compile:  # counting breaks compiled code up
        # At the very end, because what torch loads to count with would be in every peak of memory
        flop = {
            (case.size, case.variant.settings): upscaler.count_flop(case.data, case.variant)
            for case in cases
        }
        rows = [replace(row, flop=flop[row.size, row.settings]) for row in rows]
    fastest: dict[str, float] = {}
    for row in rows:
        fastest[row.dtype] = max(row.rate, fastest.get(row.dtype, 0.0))
    return [replace(row, rate=fastest[row.dtype]) for row in rows]


def _numbered(
    on_case: Callable[[int, str], None],
    first: int,
    done: int,
    name: str,
) -> None:
    """Count the cases of earlier precisions too."""
    on_case(first + done, name)


def _run_cases(
    upscaler: TimedUpscaler,
    cases: Sequence[SpeedCase],
    repeats: Repeats,
    on_case: Callable[[int, str], None],
) -> None:
    """Warm up and measure the cases of one precision."""
    device = hardware.probe(upscaler.upscaler.machine.device).device
    for number, case in enumerate(cases):
        on_case(number, f"{case.size[0]}x{case.size[1]}, {case.variant.label}")
        hardware.reset_peak_memory(device)
        case.warmup += _repeat(
            upscaler,
            case,
            repeats.warmup,
            repeats.seconds,
        )
    for _ in range(repeats.runs):
        for case in cases:
            case.runs += _repeat(
                upscaler,
                case,
                1,
                repeats.seconds / repeats.runs,
            )


def _repeat(
    upscaler: TimedUpscaler,
    case: SpeedCase,
    least: int,
    seconds: float,
) -> list[TimedRun]:
    """At least so many runs for at least so long: the first few are slower than the others."""
    runs: list[TimedRun] = []
    until = perf_counter() + seconds
    while len(runs) < least or perf_counter() < until:
        runs.append(upscaler.run(case.data, case.variant))
    return runs


def _row(upscaler: TimedUpscaler, case: SpeedCase) -> Speed:
    machine = hardware.probe(upscaler.upscaler.machine.device)
    runs = sorted(case.runs, key=lambda run: run.seconds)
    median = runs[(len(runs) - 1) // 2]
    p90 = runs[-(-9 * len(runs) // 10) - 1]
    plan = median.result.plan
    if plan is None:
        raise ValueError("a photo that is made smaller runs no network")
    load = case.warmup[0].result.seconds["load"]
    rate = hardware.matmul_flops(
        hardware.LARGE_MATRIX[machine.kind], machine.device, DTYPES[plan.dtype]
    )
    return Speed(
        label=case.variant.label,
        settings=case.variant.settings,
        size=case.size,
        out=median.result.photo.size,
        steps=median.result.steps,
        dtype=plan.dtype,
        plan=plan.why,
        tiles=plan.tiles_per_step,
        runs=len(runs),
        median=median.seconds,
        p90=p90.seconds,
        stages=median.stages,
        load=load if load > MIN_LOAD_SECONDS else 0.0,
        peak_memory=max(run.result.peak_memory for run in case.warmup),
        flop=0,
        rate=rate,
    )


def _check_sizes(sizes: Sequence[tuple[int, int]]) -> None:
    for width, height in sizes:
        if min(width, height) < MIN_SIDE or max(width, height) > MAX_SIDE:
            raise UsageError(
                f"A picture of {width}x{height} px cannot be measured.",
                f"Use sides of {MIN_SIDE} to {MAX_SIDE}.",
            )


def _jpeg(size: tuple[int, int]) -> bytes:
    return imageio.encode(synthetic_photo(*size), replace(JPEG, quality=95))


def synthetic_photo(width: int, height: int) -> Photo:
    """A random picture with the power spectrum of photos, so that encoders work as on photos."""
    rng = np.random.default_rng(0)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = 1
    planes = [
        np.fft.irfft2(
            np.fft.rfft2(rng.standard_normal((height, width))) / frequency, (height, width)
        )
        for _ in "rgb"
    ]
    pixels = np.stack(planes, axis=2)
    pixels = 0.5 + 0.2 * (pixels - pixels.mean()) / pixels.std()
    return imageio.from_array(np.clip(pixels, 0, 1).astype(np.float32))

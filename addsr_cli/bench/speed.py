"""How fast a model runs here: every stage of a whole upscale, from a file's bytes to a file's bytes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any

import numpy as np
from torch.utils.flop_counter import FlopCounterMode

from addsr_cli import hardware, imageio
from addsr_cli.bench.stages import NETWORK, Timed, ordered
from addsr_cli.bench.variants import Variant
from addsr_cli.engine.upscaler import Upscaler
from addsr_cli.errors import UsageError
from addsr_cli.imageio import Photo, WriteOptions
from addsr_cli.models.restorer import Restorer
from addsr_cli.settings import Machine, Settings
from addsr_cli.weights.loader import DTYPES, Located

JPEG = WriteOptions(format="JPEG")
SMALLEST, LARGEST = 16, 20_000  # pixels of a side


@dataclass(frozen=True, kw_only=True)
class Repeats:
    """How often a case is run: ``warmup`` times unmeasured, then ``runs`` times, both for at least ``seconds``."""

    runs: int = 5
    warmup: int = 1
    seconds: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what measures nothing."""
        if self.runs < 1 or self.warmup < 1 or self.seconds < 0:
            raise UsageError("--runs and --warmup must be at least 1, --seconds 0 or more.")


@dataclass(frozen=True, kw_only=True)
class Speed:
    """One case. Seconds per picture; ``stages`` are those of the median run, so they add up to ``median``.

    ``load`` happened once, before; ``flop`` is what the networks were counted to do for one picture
    (0: not counted), ``rate`` what this machine multiplies in that type (FLOP/s), ``share`` how
    much of it the networks reached.
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
        """Pictures a second at the median."""
        return 1 / self.median

    @property
    def megapixels_per_second(self) -> float:
        """Output pixels, in millions, a second at the median."""
        return self.out[0] * self.out[1] / self.median / 1e6

    @property
    def network_seconds(self) -> float:
        """Time inside the networks."""
        return sum(self.stages[name] for name in NETWORK)

    @property
    def share(self) -> float:
        """What the networks reached of the machine's matrix rate, 0 to about 1."""
        return self.flop / self.network_seconds / self.rate if self.network_seconds else 0.0


Run = tuple[float, dict[str, float], Any]  # seconds in all, by stage, and the engine's result


@dataclass(kw_only=True)
class SpeedCase:
    """One size and variant, and its runs so far."""

    size: tuple[int, int]
    data: bytes
    variant: Variant
    warm: list[Run] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)


class Stopwatch:
    """An ``Upscaler`` with a stopwatch around its network."""

    def __init__(self, located: Located, machine: Machine) -> None:
        self.timed: Timed | None = None
        self.upscaler = Upscaler(located, machine, self._wrap)

    def _wrap(self, restorer: Restorer) -> Restorer:
        self.timed = Timed(restorer)
        return self.timed

    def run(self, data: bytes, variant: Variant) -> Run:
        """One picture from bytes to bytes: total seconds, seconds by stage, and the engine's result."""
        if self.timed:
            self.timed.clock.seconds.clear()
        start = perf_counter()
        photo = imageio.read(data)
        read = perf_counter()
        result = self.upscaler.upscale(photo, variant.settings)
        done = perf_counter()
        imageio.encode(result.photo, JPEG)
        end = perf_counter()
        spent = dict(result.seconds)
        spent["read"] = spent.get("read", 0.0) + read - start
        spent["write"] = end - done
        network = self.timed.clock.seconds if self.timed else {}
        return end - start - spent["load"], ordered(spent, network), result


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
    stay true. Inputs are random pictures with the spectrum of photos, as JPEG. Raises UsageError
    for sizes out of range.
    """
    if wrong := [size for size in sizes if min(size) < SMALLEST or max(size) > LARGEST]:
        sides = "x".join(map(str, wrong[0]))
        raise UsageError(
            f"A picture of {sides} px cannot be measured.", f"Use sides of {SMALLEST} to {LARGEST}."
        )
    rows: list[Speed] = []
    inputs = [(size, _jpeg(size)) for size in sorted(sizes, key=lambda size: size[0] * size[1])]
    for precision in dict.fromkeys(variant.precision for variant in sweep):
        watch = Stopwatch(located, replace(machine, precision=precision))
        chosen = [variant for variant in sweep if variant.precision == precision]
        cases = [
            SpeedCase(
                size=size,
                data=data,
                variant=variant,
            )
            for size, data in inputs
            for variant in chosen
        ]
        for number, case in enumerate(cases, len(rows)):
            on_case(number, f"{case.size[0]}x{case.size[1]}, {case.variant.label}")
            hardware.reset_peak_memory(hardware.probe(machine.device).device)
            case.warm += _repeated(watch, case, repeats.warmup, repeats.seconds)
        for _ in range(repeats.runs):
            for case in cases:
                case.runs += _repeated(watch, case, 1, repeats.seconds / repeats.runs)
        rows += [_row(watch, case) for case in cases]
    if not machine.compile:  # counting breaks compiled code up
        # at the very end, because what torch loads to count with would be in every peak of memory
        work = {
            (size, variant.settings): _work(watch, data, variant)
            for size, data in inputs
            for variant in chosen
        }
        rows = [replace(row, flop=work[row.size, row.settings]) for row in rows]
    rates = {
        row.dtype: max(other.rate for other in rows if other.dtype == row.dtype) for row in rows
    }
    return [replace(row, rate=rates[row.dtype]) for row in rows]


def _jpeg(size: tuple[int, int]) -> bytes:
    return imageio.encode(synthetic_photo(*size), replace(JPEG, quality=95))


def _work(watch: Stopwatch, data: bytes, variant: Variant) -> int:
    """FLOP of all networks for one picture, as torch counts products of matrices and convolutions; any precision."""
    with FlopCounterMode(display=False) as counter:
        watch.run(data, variant)
    return int(counter.get_total_flops())


def _repeated(
    watch: Stopwatch,
    case: SpeedCase,
    least: int,
    seconds: float,
) -> list[Run]:
    """Runs, at least so many and for at least so long: a first few small pictures are slower than all after them."""
    runs: list[Run] = []
    until = perf_counter() + seconds
    while len(runs) < least or perf_counter() < until:
        runs.append(watch.run(case.data, case.variant))
    return runs


def _row(watch: Stopwatch, case: SpeedCase) -> Speed:
    found = hardware.probe(watch.upscaler.machine.device)
    runs = sorted(case.runs, key=lambda run: run[0])
    totals = [run[0] for run in runs]
    total, stages, result = runs[(len(runs) - 1) // 2]
    plan = result.plan
    if plan is None:
        raise ValueError("a photo that is made smaller runs no network")
    load = case.warm[0][2].seconds["load"]
    return Speed(
        label=case.variant.label,
        settings=case.variant.settings,
        size=case.size,
        out=result.photo.size,
        steps=result.steps,
        dtype=plan.dtype,
        plan=plan.why,
        tiles=plan.tiles_per_step,
        runs=len(runs),
        median=total,
        p90=totals[-(-9 * len(totals) // 10) - 1],
        stages=stages,
        load=load if load > 1e-3 else 0.0,  # else it lay in memory
        peak_memory=max(run[2].peak_memory for run in case.warm),
        flop=0,
        rate=hardware.matmul_flops(
            hardware.LARGE_MATRIX[found.kind], found.device, DTYPES[plan.dtype]
        ),
    )


def synthetic_photo(width: int, height: int) -> Photo:
    """A random picture whose power falls with frequency as in photos, so that JPEG and PNG work as on photos."""
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

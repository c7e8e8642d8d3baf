"""How good the pictures are: every method on every photo of a case, scored against the references."""

import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter

from addsr_cli import imageio
from addsr_cli.bench.dataset import Item, TestSet, rounded
from addsr_cli.bench.metrics import SMALLEST, Metric, Picture, scores
from addsr_cli.bench.peers import Made, Method, Size
from addsr_cli.bench.variants import Variant
from addsr_cli.engine.upscaler import Upscaler
from addsr_cli.errors import UsageError
from addsr_cli.settings import NATIVE_SCALE, Machine
from addsr_cli.weights.loader import Located

Keep = Callable[[str, str, str, Picture], None]  # case, method, stem, picture


@dataclass(frozen=True, kw_only=True)
class Quality:
    """One row: a method on a case. ``means`` are over its photos but for NaN, ``seconds`` the median of one photo."""

    case: str
    method: str
    detail: str
    steps: int | None
    count: int
    means: dict[str, float]
    seconds: float | None
    photos: dict[str, dict[str, float]] = field(repr=False)


def models(located: Located, machine: Machine, sweep: Sequence[Variant]) -> Iterator[Method]:
    """One method per variant; those of one precision share the weights in memory."""
    held: dict[str, Upscaler] = {}
    for variant in sweep:
        if variant.precision not in held:
            held[variant.precision] = Upscaler(
                located, replace(machine, precision=variant.precision)
            )
        upscaler = held[variant.precision]

        def make(
            _: Item,
            lr: Picture,
            size: Size,
            upscaler: Upscaler = upscaler,
            variant: Variant = variant,
        ) -> Made:
            scale = size[0] / lr.shape[1]
            settings = (
                variant.settings
                if scale == NATIVE_SCALE
                else replace(variant.settings, scale=scale)
            )
            start = perf_counter()
            result = upscaler.upscale(lr, settings)
            seconds = perf_counter() - start - result.seconds.get("load", 0.0)
            return Made(picture=rounded(result.photo.rgb), seconds=seconds)

        name = f"{upscaler.spec.name}, {variant.label}"
        yield Method(
            name=name,
            make=make,
            steps=upscaler.steps(variant.settings),
            detail=located.reason,
        )


def measure(
    cases: Sequence[TestSet],
    methods: Sequence[Method],
    metrics: Sequence[Metric],
    *,
    border: int = 0,
    keeps: Sequence[Keep] = (),
    on_photo: Callable[[int, str], None] = lambda *_: None,
) -> list[Quality]:
    """One row per case and method. ``keeps`` are given every picture, the reference as a method of its own.

    Photos for which a method has no picture are left out of its row, whose count says so. Raises
    UsageError when a method has no picture at all, UnreadableInput for broken files.
    """
    rows: list[Quality] = []
    done = 0
    for case in cases:
        found = {method.name: _Found() for method in methods}
        for item, lr, hr in case.pictures():
            on_photo(done, f"{case.name} {item.stem}")
            _check_size(lr if hr is None else hr, border, item.stem)
            height, width = (
                (NATIVE_SCALE * side for side in lr.shape[:2]) if hr is None else hr.shape[:2]
            )
            pictures = {} if hr is None else {"reference": hr}
            for method in methods:
                made = method.make(item, lr, (width, height))
                if made is not None:
                    found[method.name].photos[item.stem] = scores(metrics, hr, made.picture, border)
                    found[method.name].seconds += [made.seconds] if made.seconds is not None else []
                    pictures[method.name] = made.picture
            for keep in keeps:
                for name, picture in pictures.items():
                    keep(case.name, name, item.stem, picture)
            done += 1
        rows += [_row(case, method, found[method.name]) for method in methods]
    return rows


@dataclass
class _Found:
    """What one method reached so far: scores by photo, seconds of each."""

    photos: dict[str, dict[str, float]] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)


def saver(folder: Path) -> Keep:
    """Writes every picture as ``folder/case/method/stem.png``. Raises OutputRefused, also for files that exist."""

    def keep(
        case: str,
        method: str,
        stem: str,
        picture: Picture,
    ) -> None:
        name = method.replace(", ", "_").replace(" ", "-").replace("/", "-")
        path = folder / case / name / f"{stem}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        imageio.write(imageio.from_array(picture), path, imageio.WriteOptions())

    return keep


def _row(case: TestSet, method: Method, found: _Found) -> Quality:
    if not found.photos:
        raise UsageError(
            f"{method.name} has no picture for {case.name}.", "Name its files like the references."
        )
    names = dict.fromkeys(name for values in found.photos.values() for name in values)
    return Quality(
        case=case.name,
        method=method.name,
        detail=method.detail,
        steps=method.steps,
        count=len(found.photos),
        means={
            name: _mean([values[name] for values in found.photos.values() if name in values])
            for name in names
        },
        seconds=statistics.median(found.seconds) if found.seconds else None,
        photos=found.photos,
    )


def _mean(values: Sequence[float]) -> float:
    """Mean without what is no number; infinite when a perfect picture makes it so."""
    good = [value for value in values if not math.isnan(value)]
    return statistics.fmean(good) if good else math.nan


def _check_size(picture: Picture, border: int, stem: str) -> None:
    if min(picture.shape[:2]) < SMALLEST + 2 * border:
        raise UsageError(
            f"The picture {stem} is too small to be measured.", f"Less than {SMALLEST} px remain."
        )

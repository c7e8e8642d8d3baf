"""Quality of pictures: every method on every photo of a test set, scored against the references."""

import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter

from addsr_cli import imageio
from addsr_cli.bench.dataset import TestPhoto, TestSet, to_uint8
from addsr_cli.bench.metrics import MIN_SIDE, Metric, Picture, scores
from addsr_cli.bench.peers import Method, Output, Runner, Size
from addsr_cli.bench.variants import Variant
from addsr_cli.engine.upscaler import Upscaler
from addsr_cli.errors import UsageError
from addsr_cli.settings import NATIVE_SCALE, Machine, Settings
from addsr_cli.weights.loader import Located

PictureCallback = Callable[[str, str, str, Picture], None]  # case, method, stem, picture


@dataclass(frozen=True, kw_only=True)
class Quality:
    """One row: a method on a test set (``case``).

    ``means`` are over its photos except those without a value, ``seconds`` is the median of one
    photo, ``photos`` holds the scores by stem.
    """

    case: str
    method: str
    detail: str
    steps: int | None
    count: int
    means: dict[str, float]
    seconds: float | None
    photos: dict[str, dict[str, float]] = field(repr=False)


@dataclass(kw_only=True)
class _Scores:
    """What was measured of one method: scores by stem, and the seconds of each photo."""

    photos: dict[str, dict[str, float]] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)


def model_methods(
    located: Located,
    machine: Machine,
    sweep: Sequence[Variant],
    label: str = "",
) -> Iterator[Method]:
    """One method per variant, named by the model or ``label``.

    Those of one precision share the weights in memory.
    """
    upscalers: dict[str, Upscaler] = {}
    for variant in sweep:
        if variant.precision not in upscalers:
            placed = replace(machine, precision=variant.precision)
            upscalers[variant.precision] = Upscaler(located, placed)
        upscaler = upscalers[variant.precision]
        yield Method(
            name=f"{label or upscaler.spec.name}, {variant.label}",
            run=_model_runner(upscaler, variant.settings),
            steps=upscaler.steps(variant.settings) or None,
            detail=located.reason,
        )


def _model_runner(upscaler: Upscaler, base: Settings) -> Runner:
    def run(
        _: TestPhoto,
        lr: Picture,
        size: Size,
    ) -> Output:
        scale = size[0] / lr.shape[1]
        settings = replace(base, scale=scale)
        start = perf_counter()
        result = upscaler.upscale(lr, settings)
        seconds = perf_counter() - start - result.seconds.get("load", 0.0)
        return Output(picture=to_uint8(result.photo.rgb), seconds=seconds)

    return run


def measure(
    test_sets: Sequence[TestSet],
    methods: Sequence[Method],
    metrics: Sequence[Metric],
    *,
    border: int = 0,
    on_picture: Sequence[PictureCallback] = (),
    on_photo: Callable[[int, str], None] = lambda *_: None,
) -> list[Quality]:
    """One row per test set and method.

    ``on_picture`` callbacks get every picture, the reference as a method of its own; ``on_photo``
    gets the number of finished photos and the name of the next one. A photo for which a method has
    no picture is left out of its row, whose ``count`` says so.

    Raises UsageError when a method has no picture at all, UnreadableInput for broken files.
    """
    rows: list[Quality] = []
    done = 0
    for test_set in test_sets:
        measured = {method.name: _Scores() for method in methods}
        for photo, lr, hr in test_set.pictures():
            on_photo(done, f"{test_set.name} {photo.stem}")
            _check_size(lr if hr is None else hr, border, photo.stem)
            pictures = {} if hr is None else {"reference": hr}
            for method in methods:
                output = method.run(photo, lr, _target_size(lr, hr))
                if output is None:
                    continue
                pictures[method.name] = output.picture
                entry = measured[method.name]
                entry.photos[photo.stem] = scores(metrics, hr, output.picture, border)
                if output.seconds is not None:
                    entry.seconds.append(output.seconds)
            for callback in on_picture:
                for name, picture in pictures.items():
                    callback(test_set.name, name, photo.stem, picture)
            done += 1
        rows += [_row(test_set, method, measured[method.name]) for method in methods]
    return rows


def picture_saver(folder: Path) -> PictureCallback:
    """A callback that writes every picture as ``folder/case/method/stem.png``.

    It raises OutputRefused, also for files that exist.
    """

    def save(
        case: str,
        method: str,
        stem: str,
        picture: Picture,
    ) -> None:
        name = method.replace(", ", "_").replace(" ", "-").replace("/", "-")
        path = folder / case / name / f"{stem}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        imageio.write(imageio.from_array(picture), path, imageio.WriteOptions())

    return save


def _target_size(lr: Picture, hr: Picture | None) -> Size:
    """Width and height of the reference; four times the input without one."""
    if hr is None:
        return NATIVE_SCALE * lr.shape[1], NATIVE_SCALE * lr.shape[0]
    return hr.shape[1], hr.shape[0]


def _row(
    test_set: TestSet,
    method: Method,
    measured: _Scores,
) -> Quality:
    if not measured.photos:
        raise UsageError(
            f"{method.name} has no picture for {test_set.name}.",
            "Give its files the names of the references.",
        )
    names = dict.fromkeys(name for values in measured.photos.values() for name in values)
    means = {}
    for name in names:
        means[name] = _mean([values[name] for values in measured.photos.values() if name in values])
    return Quality(
        case=test_set.name,
        method=method.name,
        detail=method.detail,
        steps=method.steps,
        count=len(measured.photos),
        means=means,
        seconds=statistics.median(measured.seconds) if measured.seconds else None,
        photos=measured.photos,
    )


def _mean(values: Sequence[float]) -> float:
    """The mean without NaN; infinite when one picture is perfect."""
    numbers = [value for value in values if not math.isnan(value)]
    return statistics.fmean(numbers) if numbers else math.nan


def _check_size(
    picture: Picture,
    border: int,
    stem: str,
) -> None:
    if min(picture.shape[:2]) < MIN_SIDE + 2 * border:
        raise UsageError(
            f"The picture {stem} is too small to be measured.", f"Less than {MIN_SIDE} px remain."
        )

"""Methods to compare with: interpolation, pictures of other programs, other networks."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from PIL import Image

from addsr_cli import hardware
from addsr_cli.bench.dataset import TestPhoto, pictures_by_stem, read_uint8, to_uint8
from addsr_cli.bench.metrics import Picture
from addsr_cli.errors import ModelUnavailable, UnreadableInput, UsageError
from addsr_cli.models.one_pass import OnePassNetwork
from addsr_cli.weights import loader

Size = tuple[int, int]  # width, height
MAX_SPARE = 4  # pixels that a result may exceed a reference that was cropped to its input


@dataclass(frozen=True, kw_only=True)
class Output:
    """A picture, and the seconds that it took; None where it existed already."""

    picture: Picture
    seconds: float | None = None


# Photo, its input and the size of the output -> the output, or None without one
Runner = Callable[[TestPhoto, Picture, Size], Output | None]


@dataclass(frozen=True, kw_only=True)
class Method:
    """One row of a table: a name, how to get its pictures, its steps if any, and its origin."""

    name: str
    run: Runner
    steps: int | None = None
    detail: str = ""


def with_unique_names(*methods: Method) -> list[Method]:
    """The methods; where several have one name, their origin is appended."""
    count = Counter(method.name for method in methods)
    unique = []
    for method in methods:
        if count[method.name] > 1:
            method = replace(method, name=f"{method.name} ({method.detail})")
        unique.append(method)
    return unique


def interpolation() -> Iterator[Method]:
    """Bicubic and Lanczos interpolation by Pillow."""
    for name in ("bicubic", "lanczos"):
        kernel = Image.Resampling[name.upper()]
        yield Method(
            name=name,
            run=_pillow_runner(kernel),
            detail="Pillow",
        )


def _pillow_runner(kernel: Image.Resampling) -> Runner:
    def run(
        _: TestPhoto,
        lr: Picture,
        size: Size,
    ) -> Output:
        start = perf_counter()
        picture = np.asarray(Image.fromarray(lr).resize(size, kernel))
        return Output(picture=picture, seconds=perf_counter() - start)

    return run


def result_folder(folder: Path) -> Method:
    """Pictures of another program, matched by stem; ``photo_x4.png`` also belongs to ``photo``.

    Raises UsageError for a folder that does not exist; running it raises UnreadableInput for a
    picture of another size.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder.", "Give --results a folder of pictures.")
    paths = pictures_by_stem(folder)
    without_scale = {stem.rsplit("_x", 1)[0]: path for stem, path in paths.items()}

    def run(
        photo: TestPhoto,
        _: Picture,
        size: Size,
    ) -> Output | None:
        path = paths.get(photo.stem) or without_scale.get(photo.stem)
        if path is None:
            return None
        picture = read_uint8(path)
        width, height = size
        spare = (picture.shape[1] - width, picture.shape[0] - height)
        if not all(0 <= side < MAX_SPARE for side in spare):
            raise UnreadableInput(
                f"{path} is {picture.shape[1]}x{picture.shape[0]} px, not {width}x{height}.",
                "Results must be as large as hr/.",
            )
        return Output(picture=picture[:height, :width])

    return Method(name=folder.name, run=run, detail=str(folder))


def peer_network(file: Path, device: str) -> Method:
    """A network that answers in one pass, as for ``--model``, run untiled in float32.

    Raises ModelUnavailable when it cannot be loaded.
    """
    placed = hardware.probe(device).device
    located = loader.locate(str(file))
    network = loader.load(located, device=placed, dtype="fp32")
    if not isinstance(network, OnePassNetwork):
        raise ModelUnavailable(
            f"{file} is a model that samples in steps.",
            "Give it as --model; --peer takes one-pass networks.",
        )

    def run(
        _: TestPhoto,
        lr: Picture,
        size: Size,
    ) -> Output:
        start = perf_counter()
        image = torch.from_numpy(lr.astype(np.float32) / 255).permute(2, 0, 1)[None]
        output = network.enlarge(image)[0].permute(1, 2, 0).cpu().numpy()
        picture = to_uint8(output)
        if (picture.shape[1], picture.shape[0]) != size:
            picture = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))
        return Output(picture=picture, seconds=perf_counter() - start)

    return Method(
        name=file.stem,
        run=run,
        detail=located.spec.title,
    )

"""What our pictures are laid beside: plain interpolation, folders of other programs' results, other networks."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from pickle import UnpicklingError
from time import perf_counter

import numpy as np
import torch
from PIL import Image

from addsr_cli import hardware
from addsr_cli.bench.dataset import Item, by_stem, eight_bit, rounded
from addsr_cli.bench.metrics import Picture
from addsr_cli.errors import ModelUnavailable, UnreadableInput, UsageError

Size = tuple[int, int]  # width, height


@dataclass(frozen=True, kw_only=True)
class Made:
    """A picture and the seconds it took; None where it was there already."""

    picture: Picture
    seconds: float | None = None


Maker = Callable[
    [Item, Picture, Size], Made | None
]  # item, input, wanted size -> picture, None when it has none


@dataclass(frozen=True, kw_only=True)
class Method:
    """One row of a table: its name, what makes its pictures, its steps if it has any, and where it comes from."""

    name: str
    make: Maker
    steps: int | None = None
    detail: str = ""


def told_apart(*methods: Method) -> list[Method]:
    """The methods, each with a name of its own: where two have the same, where they come from is added."""
    count = Counter(method.name for method in methods)
    return [replace(m, name=f"{m.name} ({m.detail})") if count[m.name] > 1 else m for m in methods]


def plain() -> Iterator[Method]:
    """Bicubic and Lanczos enlargement by Pillow."""
    for name in ("bicubic", "lanczos"):

        def make(
            _: Item,
            lr: Picture,
            size: Size,
            kind: str = name,
        ) -> Made:
            start = perf_counter()
            picture = np.asarray(Image.fromarray(lr).resize(size, Image.Resampling[kind.upper()]))
            return Made(picture=picture, seconds=perf_counter() - start)

        yield Method(
            name=name,
            make=make,
            detail="Pillow",
        )


def results(folder: Path) -> Method:
    """Pictures that another program made, matched by stem; ``photo_x4.png`` also belongs to ``photo``."""
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder.", "Give --results a folder of pictures.")
    held = by_stem(folder)
    short = {stem.rsplit("_x", 1)[0]: path for stem, path in held.items()}

    def make(item: Item, _: Picture, size: Size) -> Made | None:
        path = held.get(item.stem) or short.get(item.stem)
        if path is None:
            return None
        picture = eight_bit(path)
        spare = (picture.shape[1] - size[0], picture.shape[0] - size[1])
        if not all(
            0 <= side < 4 for side in spare
        ):  # the reference may have been cut to a multiple of its input
            found = f"{picture.shape[1]}x{picture.shape[0]}"
            raise UnreadableInput(
                f"{path} is {found} px, not {size[0]}x{size[1]}.",
                "Results must be as large as hr/.",
            )
        return Made(picture=picture[: size[1], : size[0]])

    return Method(
        name=folder.name,
        make=make,
        detail=str(folder),
    )


def network(file: Path, device: str) -> Method:
    """A super-resolution network in any file that spandrel loads, run in one piece in float32.

    Raises ModelUnavailable when spandrel is not installed or does not know the file.
    """
    try:
        from spandrel import ImageModelDescriptor, ModelLoader, UnsupportedModelError
    except ImportError as exc:
        problem = f"--peer needs spandrel ({exc})."
        raise ModelUnavailable(problem, 'pip install "addsr[peers]".') from exc
    place = hardware.probe(device).device
    try:
        model = ModelLoader(device=place).load_from_file(file)
    except (
        UnsupportedModelError,
        UnpicklingError,
        OSError,
        RuntimeError,
        ValueError,
        KeyError,
    ) as exc:
        raise ModelUnavailable(
            f"{file} cannot be loaded: {exc}", "spandrel's list tells which networks it knows."
        ) from exc
    if not isinstance(model, ImageModelDescriptor) or (
        model.input_channels,
        model.output_channels,
    ) != (3, 3):
        raise ModelUnavailable(
            f"{file} is no network from RGB to RGB.", "Give a super-resolution network."
        )
    model.eval()

    @torch.inference_mode()
    def make(_: Item, lr: Picture, size: Size) -> Made:
        start = perf_counter()
        image = torch.from_numpy(lr.astype(np.float32) / 255).permute(2, 0, 1)[None].to(place)
        output = model(image)[0].permute(1, 2, 0).float().cpu().numpy()
        picture = rounded(output)
        if (picture.shape[1], picture.shape[0]) != size:
            picture = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))
        return Made(picture=picture, seconds=perf_counter() - start)

    return Method(
        name=file.stem,
        make=make,
        detail=f"{model.architecture.name} x{model.scale}, spandrel",
    )

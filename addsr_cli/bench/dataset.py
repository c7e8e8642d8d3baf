"""Which pictures are compared: folders of references and inputs, matched by stem.

::

    SET/hr + SET/lr, SET/HR + SET/LR_anything ...   pairs, one case per input folder
    SET/hr alone, or SET full of pictures           references; the inputs are made by a named degradation
    SET/lr alone                                    inputs without references; only blind metrics apply
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import cv2
import numpy as np

from addsr_cli.bench.metrics import Picture
from addsr_cli.degradation import RECIPES, SCALE, degrade
from addsr_cli.errors import UnreadableInput, UsageError
from addsr_cli.imageio import read, readable_suffixes, resize

NAMED = {
    "bicubic": "clean",
    "blind": "strong",
}  # -> recipe; the others go by the recipes' own names
NAMED |= {name: name for name in ("mild", "camera", "sensor", "chroma", "blocks", "print")}


@dataclass(frozen=True, kw_only=True)
class Item:
    """One photo of a case: where its input and its reference are, either of them None."""

    stem: str
    lr: Path | None
    hr: Path | None


@dataclass(frozen=True, kw_only=True)
class TestSet:
    """Inputs of one kind: a folder of them, or a degradation of the references. ``seed`` fixes what is drawn."""

    name: str
    items: tuple[Item, ...]
    degradation: str = ""
    seed: int = 0

    def pictures(self) -> Iterator[tuple[Item, Picture, Picture | None]]:
        """Item, input and reference of every photo, uint8 RGB, the reference cropped to a multiple of the input.

        Raises UnreadableInput for a broken file, UsageError for sizes that do not belong together.
        """
        for item in self.items:
            hr = None if item.hr is None else eight_bit(item.hr)
            if item.lr is not None:
                lr = eight_bit(item.lr)
                yield item, lr, None if hr is None else fitting(hr, lr, item.stem)
            elif hr is not None:
                hr = hr[: hr.shape[0] // SCALE * SCALE, : hr.shape[1] // SCALE * SCALE]
                yield item, degraded(hr, self.degradation, self.seed, item.stem), hr


def find_cases(
    data: Path,
    *,
    lr: Sequence[str] = (),
    degradations: Sequence[str] = (),
    limit: int | None = None,
    seed: int = 0,
) -> list[TestSet]:
    """The cases of a data folder: those of its input folders that ``lr`` names, or all; or those of ``degradations``.

    Raises UsageError when nothing there can be compared, or a name is unknown.
    """
    if not data.is_dir():
        raise UsageError(
            f"{data} is not a folder.", "Give --data a folder with hr/ and lr/, or with references."
        )
    folders = {path.name: path for path in sorted(data.iterdir()) if path.is_dir()}
    references = next(
        (path for name, path in folders.items() if name.lower() in ("hr", "gt")), None
    )
    inputs = {name: path for name, path in folders.items() if name.lower().startswith("lr")}
    if unknown := [name for name in lr if name not in inputs]:
        raise UsageError(
            f"{data} has no folder {unknown[0]}.", f"It has {', '.join(inputs) or 'no LR folder'}."
        )
    if not inputs or degradations:
        return _made(references or data, degradations or ("bicubic",), limit, seed)
    held = {} if references is None else by_stem(references)
    cases = []
    for name in lr or inputs:
        found = {
            stem: path
            for stem, path in by_stem(inputs[name]).items()
            if references is None or stem in held
        }
        items = tuple(
            Item(
                stem=stem,
                lr=path,
                hr=held.get(stem),
            )
            for stem, path in found.items()
        )
        if not items:
            raise UsageError(
                f"No picture of {inputs[name]} has a reference of the same name.",
                "Match them by stem.",
            )
        cases.append(TestSet(name=name, items=items[:limit]))
    return cases


def by_stem(folder: Path) -> dict[str, Path]:
    """Pictures of a folder by file name without suffix, sorted."""
    known = readable_suffixes()
    paths = (
        path
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in known and path.name[0] != "."
    )
    return {path.stem: path for path in paths}


def eight_bit(path: Path) -> Picture:
    """A picture file as uint8 RGB (H, W, 3)."""
    return rounded(read(path).rgb)


def rounded(rgb: np.ndarray) -> Picture:
    """Float RGB in [0, 1] rounded to 8 bits."""
    return np.rint(np.clip(rgb, 0, 1) * 255).astype(np.uint8)


def fitting(hr: Picture, lr: Picture, stem: str) -> Picture:
    """The reference cut at the right and bottom to a whole multiple of its input, as is the custom."""
    scale = max(1, round(hr.shape[1] / lr.shape[1]))
    height, width = (side * scale for side in lr.shape[:2])
    spare = (hr.shape[0] - height, hr.shape[1] - width)
    if min(spare) < 0 or max(spare) >= scale:
        sizes = " and ".join(f"{picture.shape[1]}x{picture.shape[0]}" for picture in (hr, lr))
        raise UsageError(
            f"The pictures called {stem} do not belong together: {sizes} px.",
            "Check the two folders.",
        )
    return hr[:height, :width]


def degraded(
    hr: Picture,
    degradation: str,
    seed: int,
    stem: str,
) -> Picture:
    """A quarter-size input made of a reference: by a named recipe, or by steps such as ``blur=2,noise=20,jpeg=50``.

    Draws depend on ``seed`` and the file's stem alone. Blur is Gaussian before the shrinking (sigma
    in pixels), noise Gaussian after it (sigma in 1/255), JPEG (quality) last.
    """
    rng = np.random.default_rng((seed, int.from_bytes(sha256(stem.encode()).digest()[:8], "big")))
    image = hr.astype(np.float32) / np.float32(255)
    if degradation in NAMED:
        return rounded(degrade(image, rng, RECIPES[NAMED[degradation]]))
    steps = parse_steps(degradation)
    if "blur" in steps:
        image = cv2.GaussianBlur(
            image, (0, 0), steps["blur"], borderType=cv2.BORDER_REFLECT_101
        ).astype(np.float32)
    image = resize(image, (hr.shape[1] // SCALE, hr.shape[0] // SCALE))
    if "noise" in steps:
        image += rng.standard_normal(image.shape, dtype=np.float32) * np.float32(
            steps["noise"] / 255
        )
    small = rounded(image)
    if "jpeg" in steps:
        coded = cv2.imencode(
            ".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, round(steps["jpeg"])]
        )[1]
        small = np.ascontiguousarray(
            np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), dtype=np.uint8)[..., ::-1]
        )
    return small


def parse_steps(text: str) -> dict[str, float]:
    """``blur=2,noise=20,jpeg=50`` -> numbers by name. Raises UsageError."""
    found = {}
    for word in text.split(","):
        name, _, number = word.partition("=")
        try:
            found[name.strip()] = float(number)
        except ValueError:
            found[name.strip()] = 0.0
    limits = {"blur": 50, "noise": 255, "jpeg": 100}
    if not all(0 < found[name] <= limits.get(name, 0) for name in found):
        names = ", ".join(NAMED)
        raise UsageError(
            f"--degradation {text} is unknown.",
            f"Use {names}, or steps such as blur=2,noise=20,jpeg=50.",
        )
    return found


def _made(
    folder: Path,
    degradations: Sequence[str],
    limit: int | None,
    seed: int,
) -> list[TestSet]:
    for name in degradations:
        if name not in NAMED:
            parse_steps(name)
    items = tuple(
        Item(
            stem=stem,
            lr=None,
            hr=path,
        )
        for stem, path in by_stem(folder).items()
    )
    if not items:
        raise UnreadableInput(
            f"There is no picture in {folder}.", "Give --data a folder with hr/ and lr/."
        )
    return [
        TestSet(
            name=name,
            items=items[:limit],
            degradation=name,
            seed=seed,
        )
        for name in degradations
    ]

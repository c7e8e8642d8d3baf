"""Test sets: folders of references and inputs, matched by stem.

::

    SET/hr + SET/lr, SET/HR + SET/LR_anything ...   pairs, one test set per input folder
    SET/hr alone, or SET full of pictures           references; a named degradation makes the inputs
    SET/lr alone                                    inputs alone; only no-reference metrics apply
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import cv2
import numpy as np

from addsr_cli.bench.metrics import Picture
from addsr_cli.degradation import SCALE, degrade
from addsr_cli.degradation_recipes import RECIPES
from addsr_cli.errors import UnreadableInput, UsageError
from addsr_cli.imageio import read, readable_suffixes, resize

# Recipe of each name that --degradation takes
NAMED = {
    "bicubic": "clean",
    "blind": "strong",
    "mild": "mild",
    "camera": "camera",
    "sensor": "sensor",
    "chroma": "chroma",
    "blocks": "blocks",
    "print": "print",
}
# The four cases of AddSR v1, Table 2, whose names and amounts are lost in the text. That case 3 is
# the one with noise is in it; the rest is assumed: the usual blur, noise and JPEG around bicubic
# downscaling. Noise of 40 is more than BSRGAN was trained on, whose PSNR falls there by 7 dB.
ADDSR_CASES = {
    "addsr-case1": "bicubic",
    "addsr-case2": "blur=2",
    "addsr-case3": "noise=40",
    "addsr-case4": "blur=2,noise=20,jpeg=50",
}
STEP_LIMITS = {"blur": 50, "noise": 255, "jpeg": 100}
REFERENCE_FOLDERS = ("hr", "gt")


@dataclass(frozen=True, kw_only=True)
class TestPhoto:
    """One photo of a test set: the files of its input and its reference, either of them None."""

    __test__ = False  # not a test, whatever pytest thinks of its name

    stem: str
    lr: Path | None
    hr: Path | None


@dataclass(frozen=True, kw_only=True)
class TestSet:
    """Photos with inputs of one kind: a folder of them, or a degradation of the references.

    ``seed`` fixes the random numbers of the degradation.
    """

    __test__ = False  # not a test, whatever pytest thinks of its name

    name: str
    photos: tuple[TestPhoto, ...]
    degradation: str = ""
    seed: int = 0

    def pictures(self) -> Iterator[tuple[TestPhoto, Picture, Picture | None]]:
        """Every photo with its input and its reference, uint8 RGB.

        The reference is cropped to a multiple of the input. Raises UnreadableInput for a broken
        file, UsageError for sizes that do not match.
        """
        for photo in self.photos:
            hr = None if photo.hr is None else read_uint8(photo.hr)
            if photo.lr is not None:
                lr = read_uint8(photo.lr)
                yield photo, lr, None if hr is None else crop_to_multiple(hr, lr, photo.stem)
            elif hr is not None:
                hr = hr[: hr.shape[0] // SCALE * SCALE, : hr.shape[1] // SCALE * SCALE]
                yield photo, degraded(hr, self.degradation, self.seed, photo.stem), hr


def find_test_sets(
    data: Path,
    *,
    lr: Sequence[str] = (),
    degradations: Sequence[str] = (),
    limit: int | None = None,
    seed: int = 0,
) -> list[TestSet]:
    """The test sets of a data folder: one per input folder, or one per degradation.

    ``lr`` restricts them to the named input folders. Raises UsageError when nothing there can be
    compared, or a name is unknown.
    """
    if not data.is_dir():
        raise UsageError(
            f"{data} is not a folder.", "Give --data a folder with hr/ and lr/, or with references."
        )
    folders = {path.name: path for path in sorted(data.iterdir()) if path.is_dir()}
    reference_names = [name for name in folders if name.lower() in REFERENCE_FOLDERS]
    references = folders[reference_names[0]] if reference_names else None
    inputs = {name: path for name, path in folders.items() if name.lower().startswith("lr")}
    unknown = [name for name in lr if name not in inputs]
    if unknown:
        raise UsageError(
            f"{data} has no folder {unknown[0]}.", f"It has {', '.join(inputs) or 'no LR folder'}."
        )
    if not inputs or degradations:
        return _degraded_sets(
            references or data,
            degradations or ("bicubic",),
            limit,
            seed,
        )
    return [_paired_set(inputs[name], references, limit) for name in lr or inputs]


def _paired_set(
    inputs: Path,
    references: Path | None,
    limit: int | None,
) -> TestSet:
    """The photos of an input folder that have a reference; all of them without references."""
    hr = {} if references is None else pictures_by_stem(references)
    photos = [
        TestPhoto(stem=stem, lr=path, hr=hr.get(stem))
        for stem, path in pictures_by_stem(inputs).items()
        if references is None or stem in hr
    ]
    if not photos:
        raise UsageError(
            f"No picture of {inputs} has a reference of the same name.",
            "Give each picture the name of its reference.",
        )
    return TestSet(name=inputs.name, photos=tuple(photos[:limit]))


def _degraded_sets(
    folder: Path,
    degradations: Sequence[str],
    limit: int | None,
    seed: int,
) -> list[TestSet]:
    for name in degradations:
        if name not in NAMED and name not in ADDSR_CASES:
            parse_steps(name)
    photos = [
        TestPhoto(stem=stem, lr=None, hr=path) for stem, path in pictures_by_stem(folder).items()
    ]
    if not photos:
        raise UnreadableInput(
            f"There is no picture in {folder}.", "Give --data a folder with hr/ and lr/."
        )
    return [
        TestSet(
            name=name,
            photos=tuple(photos[:limit]),
            degradation=name,
            seed=seed,
        )
        for name in degradations
    ]


def pictures_by_stem(folder: Path) -> dict[str, Path]:
    """Readable pictures of a folder by file name without suffix, sorted."""
    suffixes = readable_suffixes()
    return {
        path.stem: path
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in suffixes and not path.name.startswith(".")
    }


def read_uint8(path: Path) -> Picture:
    """A picture file as uint8 RGB (H, W, 3)."""
    return to_uint8(read(path).rgb)


def to_uint8(rgb: np.ndarray) -> Picture:
    """Float RGB in [0, 1] rounded to 8 bits."""
    return np.rint(np.clip(rgb, 0, 1) * 255).astype(np.uint8)


def crop_to_multiple(
    hr: Picture,
    lr: Picture,
    stem: str,
) -> Picture:
    """The reference cropped at the right and bottom to a whole multiple of its input.

    Raises UsageError when the two do not match.
    """
    scale = max(1, round(hr.shape[1] / lr.shape[1]))
    height, width = (side * scale for side in lr.shape[:2])
    spare = (hr.shape[0] - height, hr.shape[1] - width)
    if min(spare) < 0 or max(spare) >= scale:
        sizes = " and ".join(f"{picture.shape[1]}x{picture.shape[0]}" for picture in (hr, lr))
        raise UsageError(
            f"The sizes of the pictures called {stem} do not match: {sizes} px.",
            "Check the two folders.",
        )
    return hr[:height, :width]


def degraded(
    hr: Picture,
    degradation: str,
    seed: int,
    stem: str,
) -> Picture:
    """A quarter-size input for a reference, by a named recipe or by steps.

    Steps are such as ``blur=2,noise=20,jpeg=50``: Gaussian blur before the downscaling (sigma in
    pixels), Gaussian noise after it (sigma in 1/255), JPEG (quality) last. Random numbers depend on
    ``seed`` and the file's stem alone.
    """
    degradation = ADDSR_CASES.get(degradation, degradation)
    rng = np.random.default_rng((seed, int.from_bytes(sha256(stem.encode()).digest()[:8], "big")))
    image = hr.astype(np.float32) / np.float32(255)
    if degradation in NAMED:
        return to_uint8(degrade(image, rng, RECIPES[NAMED[degradation]]))
    steps = parse_steps(degradation)
    if "blur" in steps:
        blurred = cv2.GaussianBlur(
            image,
            (0, 0),
            steps["blur"],
            borderType=cv2.BORDER_REFLECT_101,
        )
        image = blurred.astype(np.float32)
    image = resize(image, (hr.shape[1] // SCALE, hr.shape[0] // SCALE))
    if "noise" in steps:
        sigma = np.float32(steps["noise"] / 255)
        image += rng.standard_normal(image.shape, dtype=np.float32) * sigma
    lr = to_uint8(image)
    return _through_jpeg(lr, round(steps["jpeg"])) if "jpeg" in steps else lr


def _through_jpeg(picture: Picture, quality: int) -> Picture:
    """The picture after JPEG compression; OpenCV's channels are BGR."""
    _, encoded = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), dtype=np.uint8)
    return np.ascontiguousarray(decoded[..., ::-1])


def parse_steps(text: str) -> dict[str, float]:
    """``blur=2,noise=20,jpeg=50`` as numbers by name. Raises UsageError."""
    steps = {}
    for item in text.split(","):
        name, _, number = item.partition("=")
        try:
            steps[name.strip()] = float(number)
        except ValueError:
            steps[name.strip()] = 0.0  # out of every range
    if not all(0 < steps[name] <= STEP_LIMITS.get(name, 0) for name in steps):
        raise UsageError(
            f"--degradation {text} is unknown.",
            f"Use {', '.join([*NAMED, *ADDSR_CASES])}, or steps such as blur=2,noise=20,jpeg=50.",
        )
    return steps

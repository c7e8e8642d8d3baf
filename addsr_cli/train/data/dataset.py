"""Training pairs from photos: each is a function of (seed, position), whatever the workers do."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from addsr_cli.degradation import SCALE, degrade, usm_sharpen
from addsr_cli.degradation_recipes import RECIPES, Array
from addsr_cli.errors import UnreadableInput, UsageError
from addsr_cli.imageio import read, read_header, resize
from addsr_cli.train.config import TrainConfig
from addsr_cli.train.data.augmentation import crop, defocus, lettering, plain_crop
from addsr_cli.train.data.sources import split_count

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".avif", ".bmp")
CACHE_BYTES = 1 << 30  # decoded 8-bit photos kept per worker


@dataclass(frozen=True, kw_only=True)
class Photos:
    """The usable photos of some folders, and the others with the reason why they are skipped."""

    paths: tuple[Path, ...]
    skipped: tuple[tuple[Path, str], ...]
    folders: tuple[Path, ...] = ()

    def located(self) -> str:
        """Return the summary with the folders, and how many photos are of each."""
        if len(self.folders) < 2:
            return f"{self.summary()} in {', '.join(map(str, self.folders))}"
        count = Counter(
            next(folder for folder in self.folders if path.is_relative_to(folder))
            for path in self.paths
        )
        return f"{self.summary()}: {', '.join(f'{count[each]} in {each}' for each in self.folders)}"

    def summary(self) -> str:
        """Return one line for the log."""
        reasons = {reason: sum(r == reason for _, r in self.skipped) for _, reason in self.skipped}
        tail = "".join(f", {count} {reason}" for reason, count in sorted(reasons.items()))
        return f"{len(self.paths)} {'photo' if len(self.paths) == 1 else 'photos'}{tail}"

    def split(self, held_out: int) -> tuple[Self, Self]:
        """Return the photos to train on, and ``held_out`` others spread evenly over the list.

        Raises UsageError when none would remain to train on.
        """
        if held_out >= len(self.paths):
            raise UsageError(
                f"--validation {held_out} leaves none of {len(self.paths)} photos to train on."
            )
        chosen = {len(self.paths) * k // held_out for k in range(held_out)}
        training = tuple(path for k, path in enumerate(self.paths) if k not in chosen)
        validation = tuple(self.paths[k] for k in sorted(chosen))
        return replace(self, paths=training), replace(self, paths=validation)


def photos_of(config: TrainConfig) -> Photos:
    """Return the photos of all ``--data`` folders in their order, each file once.

    Raises UsageError and UnreadableInput.
    """
    sources = [split_count(entry) for entry in config.data]
    parts = [find_photos(folder, config.crop, config.pairs, limit) for folder, limit in sources]
    paths: dict[Path, Path] = {}
    for part in parts:
        for path in part.paths:
            paths.setdefault(path.resolve(), path)
    return Photos(
        paths=tuple(paths.values()),
        skipped=tuple(entry for part in parts for entry in part.skipped),
        folders=tuple(dict.fromkeys(folder for folder, _ in sources)),
    )


def find_photos(
    folder: Path,
    smallest: int,
    pairs: Path | None = None,
    limit: int | None = None,
) -> Photos:
    """Return every readable photo below ``folder`` with sides of at least ``smallest`` pixels.

    They are sorted by path, and no more than ``limit``. With ``pairs``, each must have an LR photo
    of the same name there, a quarter as large. Raises UsageError and UnreadableInput.
    """
    if limit == 0:
        raise UsageError(
            f"--data {folder}:0 takes no photo.", "Write how many photos to use, at least 1."
        )
    if not folder.is_dir():
        raise UsageError(
            f"{folder} is not a folder.", "Give --data a folder of sharp, large photos."
        )
    usable: list[Path] = []
    skipped: list[tuple[Path, str]] = []
    for path in sorted(folder.rglob("*")):
        if len(usable) == limit:
            break
        if path.suffix.lower() not in SUFFIXES or path.name.startswith("."):
            continue
        try:
            header = read_header(path)
        except UnreadableInput:
            skipped.append((path, "unreadable"))
            continue
        if min(header.width, header.height) < smallest:
            skipped.append((path, f"smaller than {smallest} px"))
        elif pairs and (problem := _pair_problem(header.size, lr_path(path, folder, pairs))):
            skipped.append((path, problem))
        else:
            usable.append(path)
    photos = Photos(paths=tuple(usable), skipped=tuple(skipped), folders=(folder,))
    if not usable:
        raise UnreadableInput(
            f"No photo to train on in {folder} ({photos.summary()}).",
            f"Photos need {smallest} px on the short side; a smaller --crop takes smaller photos.",
        )
    return photos


def lr_path(
    path: Path,
    folder: Path,
    pairs: Path,
) -> Path | None:
    """Return the LR photo of an HR photo: the same name below ``pairs``, with any suffix."""
    name = pairs / path.relative_to(folder)
    candidates = [name.with_suffix(suffix) for suffix in SUFFIXES]
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def _pair_problem(hr_size: tuple[int, int], lr: Path | None) -> str:
    """Return why an LR photo cannot be used, "" if it can."""
    if lr is None:
        return "without an LR of the same name"
    try:
        lr_size = read_header(lr).size
    except UnreadableInput:
        return "whose LR is unreadable"
    if lr_size != (hr_size[0] // SCALE, hr_size[1] // SCALE):
        return f"whose LR is not 1/{SCALE} as large"
    return ""


class PairDataset(Dataset[dict[str, Any]]):
    """Item ``p`` is the p-th sample of a run: epoch ``p // n``, shuffled anew each epoch.

    ``hr`` (3, crop, crop) and ``canvas`` (the LR enlarged to the same size), float32 in [0, 1];
    ``tags``, "" if none; ``position``; ``reduction``, how many times smaller than HR the LR is.
    """

    def __init__(
        self,
        photos: Photos,
        config: TrainConfig,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        self.photos = photos
        self.config = config
        self.tags = tags or {}
        self.names = [name for name, _ in config.mix]
        self.shares = np.array([share for _, share in config.mix])
        self.cache: dict[int, np.ndarray[Any, np.dtype[np.uint8]]] = {}
        self.cached = 0

    def __getitem__(self, position: int) -> dict[str, Any]:
        """Draw photo, crop, augmentation and degradation for one position."""
        epoch, place = divmod(position, len(self.photos.paths))
        order = np.random.default_rng((self.config.seed, epoch)).permutation(len(self.photos.paths))
        rng = np.random.default_rng((self.config.seed, epoch, place, 1))
        index = int(order[place])
        load = self._read_pair if self.config.pairs else self._degrade
        hr, lr = load(index, rng)
        canvas = np.clip(resize(lr, (hr.shape[1], hr.shape[0])), 0, 1)
        return {
            "hr": _tensor(hr),
            "canvas": _tensor(canvas),
            "tags": self._tags(self.photos.paths[index]),
            "position": position,
            "reduction": hr.shape[1] / lr.shape[1],
        }

    def _degrade(self, index: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """Return an HR crop and its LR, degraded on the fly."""
        side = self.config.crop
        take_crop = crop if self.config.augmentation == "varied" else plain_crop
        hr = take_crop(self._photo(index), side, rng)
        if self.config.lettering and rng.random() < self.config.lettering:
            hr = lettering(hr, rng)
        elif self.config.augmentation == "varied":
            hr = defocus(hr, rng)
        if self.config.usm:
            hr = usm_sharpen(hr)
        recipe = RECIPES[str(rng.choice(self.names, p=self.shares / self.shares.sum()))]
        small = round(side / self._factor(rng))
        return hr, degrade(hr, rng, recipe, (small, small))

    def _factor(self, rng: np.random.Generator) -> float:
        """Draw how many times smaller the LR is: 50% the most, 10% the least, else between."""
        low, high = self.config.scales
        if low == high:
            return high
        chance = rng.random()
        if chance < 0.5:
            return high
        if chance < 0.6:
            return low
        return float(rng.uniform(low, high))

    def _read_pair(self, index: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """Return the same crop of a photo and of its LR photo."""
        path = self.photos.paths[index]
        small = lr_path(path, self.config.data[0], self.config.pairs or path)
        if small is None:
            raise UnreadableInput(
                f"The LR of {path} is gone.", "Do not change the --pairs folder during training."
            )
        hr = read(path).rgb
        lr = read(small).rgb
        side = self.config.crop // SCALE
        top, left = (int(rng.integers(0, length - side + 1)) for length in lr.shape[:2])
        step = -1 if rng.random() < 0.5 else 1
        lr_crop = lr[top : top + side, left : left + side]
        hr_crop = hr[SCALE * top : SCALE * (top + side), SCALE * left : SCALE * (left + side)]
        return hr_crop[:, ::step], lr_crop[:, ::step]

    def _tags(self, path: Path) -> str:
        """Return "none", precomputed tags, those of PHOTO.txt, or "" where none are known."""
        if self.config.tags == "none":
            return "none"
        precomputed = self.tags.get(str(path))
        if precomputed is not None:
            return precomputed
        text_file = path.with_suffix(".txt")
        if text_file.is_file():
            return text_file.read_text(encoding="utf-8").strip()
        return ""

    def _photo(self, index: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
        if index not in self.cache:
            pixels = self._decode(index)
            if self.cached + pixels.nbytes > CACHE_BYTES:
                return pixels
            self.cache[index] = pixels
            self.cached += pixels.nbytes
        return self.cache[index]

    def _decode(self, index: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """Return the photo in 8 bits, or the next readable one: one bad file must not end a run."""
        paths = self.photos.paths[index:] + self.photos.paths[:index]
        for path in paths:
            try:
                return np.round(read(path).rgb * 255).astype(np.uint8)
            except UnreadableInput:
                continue
        raise UnreadableInput(
            "No photo of the training folder can be read any more.", "Check the --data folder."
        )


def _tensor(image: Array) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))

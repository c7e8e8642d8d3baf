"""Photos in, training pairs out; every pair is a function of (seed, position) alone, whatever the workers do."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from addsr_cli.degradation import RECIPES, SCALE, Array, degrade, usm_sharpen
from addsr_cli.errors import UnreadableInput, UsageError
from addsr_cli.imageio import read, read_header, resize
from addsr_cli.train.config import TrainConfig
from addsr_cli.train.data.augmentation import crop, defocus, lettering, plain_crop

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".avif", ".bmp")
CACHE_BYTES = 1 << 30  # decoded 8-bit photos kept per worker


@dataclass(frozen=True, kw_only=True)
class Photos:
    """The usable photos of a folder, and why others were left out."""

    paths: tuple[Path, ...]
    skipped: tuple[tuple[Path, str], ...]

    def summary(self) -> str:
        """One line for the log."""
        reasons = {reason: sum(r == reason for _, r in self.skipped) for _, reason in self.skipped}
        tail = "".join(f", {count} {reason}" for reason, count in sorted(reasons.items()))
        return f"{len(self.paths)} {'photo' if len(self.paths) == 1 else 'photos'}{tail}"

    def split(self, held_out: int) -> tuple[Self, Self]:
        """Those to train on and ``held_out`` spread evenly over the rest. Raises UsageError when none would be left."""
        if held_out >= len(self.paths):
            raise UsageError(
                f"--validation {held_out} leaves none of {len(self.paths)} photos to train on."
            )
        chosen = {len(self.paths) * k // held_out for k in range(held_out)}
        kept = tuple(path for k, path in enumerate(self.paths) if k not in chosen)
        return replace(self, paths=kept), replace(
            self, paths=tuple(self.paths[k] for k in sorted(chosen))
        )


def find_photos(folder: Path, smallest: int, pairs: Path | None = None) -> Photos:
    """Every readable photo below ``folder`` whose sides are at least ``smallest`` pixels, sorted by path.

    With ``pairs`` also only those whose LR, a quarter as large, lies there under the same name.
    """
    if not folder.is_dir():
        raise UsageError(
            f"{folder} is not a folder.", "Give --data a folder of sharp, large photos."
        )
    good: list[Path] = []
    skipped: list[tuple[Path, str]] = []
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in SUFFIXES or path.name.startswith("."):
            continue
        try:
            header = read_header(path)
        except UnreadableInput:
            skipped.append((path, "unreadable"))
            continue
        if min(header.width, header.height) < smallest:
            skipped.append((path, f"smaller than {smallest} px"))
        elif pairs and (problem := _no_partner(path, header.size, partner(path, folder, pairs))):
            skipped.append((path, problem))
        else:
            good.append(path)
    photos = Photos(paths=tuple(good), skipped=tuple(skipped))
    if not good:
        raise UnreadableInput(
            f"No photo to train on in {folder} ({photos.summary()}).",
            f"Photos must be at least {smallest} px on the short side; a smaller --crop accepts smaller ones.",
        )
    return photos


def partner(path: Path, folder: Path, pairs: Path) -> Path | None:
    """The LR picture that belongs to a photo: the same name below ``pairs``, whatever the suffix."""
    place = pairs / path.relative_to(folder)
    return next(
        (found for suffix in SUFFIXES if (found := place.with_suffix(suffix)).is_file()), None
    )


def _no_partner(path: Path, size: tuple[int, int], lr: Path | None) -> str:
    if lr is None:
        return "without an LR of the same name"
    try:
        found = read_header(lr).size
    except UnreadableInput:
        return "whose LR is unreadable"
    return (
        ""
        if found == (size[0] // SCALE, size[1] // SCALE)
        else f"whose LR is not 1/{SCALE} as large"
    )


class PairDataset(Dataset[dict[str, Any]]):
    """Item ``p`` is the p-th sample of an endless run: epoch ``p // n``, shuffled anew each epoch.

    ``hr`` (3, crop, crop) and ``canvas`` (the LR enlarged to the same size), float32 in [0, 1];
    ``tags``, "" if none.
    """

    def __init__(
        self, photos: Photos, config: TrainConfig, tags: Mapping[str, str] | None = None
    ) -> None:
        self.photos = photos
        self.config = config
        self.tags = tags or {}
        self.names = [name for name, _ in config.mix]
        self.shares = np.array([share for _, share in config.mix])
        self.cache: dict[int, np.ndarray[Any, np.dtype[np.uint8]]] = {}
        self.cached = 0

    def __len__(self) -> int:
        """Positions in the whole run."""
        return self.config.steps * self.config.batch_size * self.config.accumulate

    def __getitem__(self, position: int) -> dict[str, Any]:
        """Draw photo, crop, flip, recipe and degradation for one position."""
        epoch, place = divmod(position, len(self.photos.paths))
        order = np.random.default_rng((self.config.seed, epoch)).permutation(len(self.photos.paths))
        rng = np.random.default_rng((self.config.seed, epoch, place, 1))
        index = int(order[place])
        hr, lr = self._given(index, rng) if self.config.pairs else self._degraded(index, rng)
        canvas = np.clip(resize(lr, (hr.shape[1], hr.shape[0])), 0, 1)
        return {
            "hr": _tensor(hr),
            "canvas": _tensor(canvas),
            "tags": self._tags(self.photos.paths[index]),
        }

    def _degraded(self, index: int, rng: np.random.Generator) -> tuple[Array, Array]:
        side, photo = self.config.crop, self._photo(index)
        hr = (
            crop(photo, side, rng)
            if self.config.augmentation == "varied"
            else plain_crop(photo, side, rng)
        )
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
        """How many times smaller the LR is: half of the time the most, a tenth of it the least."""
        low, high = self.config.scales
        if low == high:
            return high
        chance = rng.random()
        return high if chance < 0.5 else low if chance < 0.6 else float(rng.uniform(low, high))

    def _given(self, index: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """The same place of a photo and of its ready-made LR."""
        path = self.photos.paths[index]
        lr_path = partner(path, self.config.data, self.config.pairs or path)
        if lr_path is None:
            raise UnreadableInput(
                f"The LR of {path} is gone.", "Leave the --pairs folder as it is during training."
            )
        hr, lr, side = read(path).rgb, read(lr_path).rgb, self.config.crop // SCALE
        top, left = (int(rng.integers(0, length - side + 1)) for length in lr.shape[:2])
        step = -1 if rng.random() < 0.5 else 1
        part = hr[SCALE * top : SCALE * (top + side), SCALE * left : SCALE * (left + side)]
        return part[:, ::step], lr[top : top + side, left : left + side][:, ::step]

    def _tags(self, path: Path) -> str:
        """``none``, what was read off before, or what lies beside the photo as text."""
        if self.config.tags == "none":
            return "none"
        beside = path.with_suffix(".txt")
        known = self.tags.get(str(path))
        return (
            known
            if known is not None
            else beside.read_text(encoding="utf-8").strip()
            if beside.is_file()
            else ""
        )

    def _photo(self, index: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
        if index not in self.cache:
            pixels = self._decode(index)
            if self.cached + pixels.nbytes > CACHE_BYTES:
                return pixels
            self.cache[index] = pixels
            self.cached += pixels.nbytes
        return self.cache[index]

    def _decode(self, index: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """The photo as 8 bits, or the next one that can be read: a file that breaks off must not end a long run."""
        paths = self.photos.paths[index:] + self.photos.paths[:index]
        for path in paths:
            try:
                return np.round(read(path).rgb * 255).astype(np.uint8)
            except UnreadableInput:
                continue
        raise UnreadableInput(
            "No photo of the training folder can be read any more.", "Check the --data folder."
        )


class ResumableSampler(Sampler[int]):
    """Positions from ``start`` to the end of the run, those of one process among ``world``."""

    def __init__(
        self,
        start: int,
        end: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.range = range(start + rank, end, world)

    def __iter__(self) -> Iterator[int]:
        """In order: the shuffle lies inside ``Pairs``."""
        return iter(self.range)

    def __len__(self) -> int:
        """How many are left."""
        return len(self.range)


def loader(
    pairs: PairDataset,
    first_step: int,
    rank: int = 0,
    world: int = 1,
) -> DataLoader[dict[str, Any]]:
    """Batches from step ``first_step`` on; with worker processes they are prepared ahead."""
    config = pairs.config
    start = first_step * config.batch_size * world
    return DataLoader(
        pairs,
        batch_size=config.batch_size,
        sampler=ResumableSampler(start, len(pairs) * world, rank, world),
        num_workers=config.workers,
        worker_init_fn=_one_thread,
        drop_last=True,
        prefetch_factor=4 if config.workers else None,
        # a forked child of a process whose OpenMP threads have run can wait for them for ever
        multiprocessing_context="spawn" if config.workers else None,
    )


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def _tensor(image: Array) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))

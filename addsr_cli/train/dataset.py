"""Photos in, training pairs out; every pair is a function of (seed, position) alone, whatever the workers do."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from addsr_cli.degradation import RECIPES, SCALE, Array, degrade, usm_sharpen
from addsr_cli.errors import UnreadableInput, UsageError
from addsr_cli.imageio import read, read_header, resize
from addsr_cli.train.augment import crop, defocus
from addsr_cli.train.config import TrainConfig

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
        return f"{len(self.paths)} photos{tail}"


def find_photos(folder: Path, smallest: int) -> Photos:
    """Every readable photo below ``folder`` whose sides are at least ``smallest`` pixels, sorted by path."""
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder.", "Give --data a folder of sharp, large photos.")
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
        else:
            good.append(path)
    photos = Photos(paths=tuple(good), skipped=tuple(skipped))
    if not good:
        raise UnreadableInput(
            f"No photo to train on in {folder} ({photos.summary()}).",
            f"Photos must be at least {smallest} px on the short side; a smaller --crop accepts smaller ones.",
        )
    return photos


class Pairs(Dataset[dict[str, Tensor]]):
    """Item ``p`` is the p-th sample of an endless run: epoch ``p // n``, shuffled anew each epoch.

    ``hr`` (3, crop, crop) and ``canvas`` (the LR enlarged to the same size), float32 in [0, 1].
    """

    def __init__(self, photos: Photos, config: TrainConfig) -> None:
        self.photos = photos
        self.config = config
        self.names = [name for name, _ in config.mix]
        self.shares = np.array([share for _, share in config.mix])
        self.cache: dict[int, np.ndarray[Any, np.dtype[np.uint8]]] = {}
        self.cached = 0

    def __len__(self) -> int:
        """Positions in the whole run."""
        return self.config.steps * self.config.batch_size

    def __getitem__(self, position: int) -> dict[str, Tensor]:
        """Draw photo, crop, flip, recipe and degradation for one position."""
        epoch, place = divmod(position, len(self.photos.paths))
        order = np.random.default_rng((self.config.seed, epoch)).permutation(len(self.photos.paths))
        rng = np.random.default_rng((self.config.seed, epoch, place, 1))
        hr = defocus(crop(self._photo(int(order[place])), self.config.crop, rng), rng)
        if self.config.usm:
            hr = usm_sharpen(hr)
        recipe = RECIPES[str(rng.choice(self.names, p=self.shares / self.shares.sum()))]
        lr = degrade(hr, rng, recipe)
        canvas = np.clip(resize(lr, (lr.shape[1] * SCALE, lr.shape[0] * SCALE)), 0, 1)
        return {"hr": _tensor(hr), "canvas": _tensor(canvas)}

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
        raise UnreadableInput("No photo of the training folder can be read any more.", "Check the --data folder.")


class Onwards(Sampler[int]):
    """Positions from ``start`` to the end of the run, those of one process among ``world``."""

    def __init__(self, start: int, end: int, rank: int = 0, world: int = 1) -> None:
        self.range = range(start + rank, end, world)

    def __iter__(self) -> Iterator[int]:
        """In order: the shuffle lies inside ``Pairs``."""
        return iter(self.range)

    def __len__(self) -> int:
        """How many are left."""
        return len(self.range)


def loader(pairs: Pairs, first_step: int, rank: int = 0, world: int = 1) -> DataLoader[dict[str, Tensor]]:
    """Batches from step ``first_step`` on; with worker processes they are prepared ahead."""
    config = pairs.config
    start = first_step * config.batch_size * world
    return DataLoader(
        pairs,
        batch_size=config.batch_size,
        sampler=Onwards(start, len(pairs) * world, rank, world),
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

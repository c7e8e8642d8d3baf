"""Small pictures and folders of them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from addsr_cli.bench.speed import synthetic_photo


@pytest.fixture(scope="session")
def clean():
    """A picture with the spectrum of a photo, uint8 (96, 128, 3)."""
    return synthetic_photo(128, 96).to_array(8)


@pytest.fixture(scope="session")
def noisy(clean):
    """The same under noise."""
    noise = np.random.default_rng(1).normal(0, 12, clean.shape)
    return np.clip(np.rint(clean + noise), 0, 255).astype(np.uint8)


@pytest.fixture
def save(tmp_path):
    """Write a picture as PNG and get its path."""

    def write(name: str, pixels: np.ndarray) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
        return path

    return write


@pytest.fixture
def pairs(save, clean, tmp_path):
    """A data folder with two photos under HR and LR_small."""
    for name, picture in (("a", clean), ("b", clean[:, ::-1].copy())):
        save(f"set/HR/{name}.png", picture)
        height, width = picture.shape[:2]
        small = Image.fromarray(picture).resize((width // 4, height // 4), Image.Resampling.BICUBIC)
        save(f"set/LR_small/{name}.png", np.asarray(small))
    return tmp_path / "set"

"""Three small photos, a run of few steps, and a fresh state of accelerate for every test."""

from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from distillation_samples import trainable_model

from addsr_cli.models.nano.restorer import Nano
from addsr_cli.train.config import TrainConfig
from addsr_cli.train.discriminators.base import ConvDiscriminator
from addsr_cli.train.discriminators.step import DiscriminatorStep
from addsr_cli.train.objectives.distillation import Distillation
from addsr_cli.train.recipe import preset

SIZES = ((96, 80), (64, 120), (72, 72))


def scene(seed, height, width):
    """A picture with soft ground, hard edges and fine texture, uint8 (height, width, 3)."""
    rng = np.random.default_rng(seed)
    image = cv2.resize(rng.random((4, 4, 3)), (width, height), interpolation=cv2.INTER_CUBIC)
    for (x, y), colour in zip(
        rng.integers(0, (width, height), (6, 2)).tolist(), rng.random((6, 3)), strict=True
    ):
        cv2.rectangle(image, (x, y), (x + 20, y + 12), colour.tolist(), -1)
    image += 0.05 * rng.standard_normal((height, width, 1))
    return (np.clip(image, 0, 1) * 255).round().astype(np.uint8)


@pytest.fixture(autouse=True)
def fresh_accelerate():
    """Reset the state of accelerate, which is global to the process, for every test."""
    AcceleratorState._reset_state(True)
    yield
    AcceleratorState._reset_state(True)


@pytest.fixture(autouse=True, scope="package")
def one_thread():
    """Use one thread: small networks gain nothing from more, and sums depend on their number."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def write_photos(folder):
    """Three photos, one of them in a folder below."""
    (folder / "below").mkdir(parents=True)
    for seed, (name, size) in enumerate(zip(("a.png", "b.png", "below/c.png"), SIZES, strict=True)):
        cv2.imwrite(str(folder / name), scene(seed, *size))
    return folder


def smallest(photos, output, **changes):
    """The configuration of the smallest possible run, in float32 on every machine."""
    size = {"data": (photos,), "output": output, "arch": "tiny-nano", "crop": 64, "batch_size": 2}
    quick = {
        "workers": 0,
        "device": "cpu",
        "precision": "fp32",
        "steps": 6,
        "warmup": 2,
        "log_every": 1,
    }
    chosen = {"recipe": preset("paper", "tiny-nano", changes.get("stage", "teacher"))}
    return TrainConfig(**(size | quick | chosen | changes))


@pytest.fixture
def photos(tmp_path):
    """A folder of three photos."""
    return write_photos(tmp_path / "photos")


@pytest.fixture
def configured(photos, tmp_path):
    """Makes configurations of the smallest possible run."""
    return lambda **changes: smallest(**({"photos": photos, "output": tmp_path / "run"} | changes))


@pytest.fixture(scope="module")
def configured_once(tmp_path_factory):
    """The same for runs that all tests of a module share."""
    folder = tmp_path_factory.mktemp("once")
    photos = write_photos(folder / "photos")
    return lambda **changes: smallest(**({"photos": photos, "output": folder / "run"} | changes))


@pytest.fixture
def same():
    """Whether nested dicts and lists of tensors and values are equal, bit for bit."""

    def compare(a, b):
        if isinstance(a, torch.Tensor):
            return a.dtype == b.dtype and torch.equal(a, b)
        if isinstance(a, dict):
            return a.keys() == b.keys() and all(compare(a[key], b[key]) for key in a)
        if isinstance(a, list | tuple):
            return len(a) == len(b) and all(compare(x, y) for x, y in zip(a, b, strict=True))
        return a == b

    return compare


@pytest.fixture
def mirror(monkeypatch):
    """Every nano predicts the latent of its control image."""
    monkeypatch.setattr(Nano, "denoise", lambda self, z, t, control, cond: self.encode(control))


@pytest.fixture
def falling():
    """Whether values never rise."""
    return lambda values: all(a >= b for a, b in pairwise(values))


@pytest.fixture
def make_objective(configured, monkeypatch):
    """Makes distillations of the tiny network; ``draws`` fixes those of every batch in turn."""

    def make(
        *, draws=None, precision="no", discriminator=True, seed=0, lr=1e-3, accumulate=1, **changes
    ):
        recipe = replace(preset("paper", "nano"), **changes)
        config = configured(
            stage="student", recipe=recipe, lr=lr, d_lr=lr, accumulate=accumulate, clip=100.0
        )
        AcceleratorState._reset_state(True)  # otherwise it keeps the first precision
        accelerator = Accelerator(cpu=True, mixed_precision=precision)
        torch.manual_seed(seed)
        step = None
        if discriminator:
            step = DiscriminatorStep(ConvDiscriminator(), config, accelerator)
        objective = Distillation(config, trainable_model(seed), step, accelerator)
        if draws:
            turns = iter(draws * 1000)
            monkeypatch.setattr(objective, "draw", lambda batch, generators: next(turns))
        return objective

    return make

"""An architecture is one record: this file defines a toy, and every command works with it."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from PIL import Image
from safetensors.torch import load_file, save_file
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from addsr_cli import Machine, Upscaler
from addsr_cli.cli.app import run
from addsr_cli.errors import ModelUnavailable, UsageError
from addsr_cli.models import bundle_files, registry
from addsr_cli.models.architecture import (
    Architecture,
    Footprint,
    ModelSpec,
    TrainingCost,
    TrainingSetup,
)
from addsr_cli.models.bundle import Bundle
from addsr_cli.models.checkpoint_reader import read_weights
from addsr_cli.models.checks import problem_of
from addsr_cli.models.component import Component, FileSpec
from addsr_cli.models.published import PublishedModel
from addsr_cli.models.restorer import Conditioning
from addsr_cli.schedule import Schedule
from addsr_cli.train.budget import budget
from addsr_cli.train.config import TrainConfig
from addsr_cli.train.recipe import preset, run_defaults
from addsr_cli.train.trainer import Trainer
from addsr_cli.weights import components, install, installed, loader, sources
from addsr_cli.weights.verify import verify

SPEC = ModelSpec(
    name="toy",
    arch="toy",
    title="one convolution",
    licence="none",
    footprint=Footprint(parameters=84, network=40, pictures=60, flop=200),
    reads_text=False,
    default_steps=1,
    tile=256,
    overlap=0,
    halo=8,
)


class Toy:
    """A convolution that corrects the canvas. Its latent is the picture, folded in blocks of 2."""

    factor, channels, exact_codec, halo, latent_control = 2, 12, True, 4, False

    def __init__(self):
        self.net = torch.nn.Conv2d(3, 3, 3, padding=1)
        torch.nn.init.normal_(self.net.weight, std=0.01)
        self.schedule = Schedule(prediction="sample")

    def encode(self, image, noise=None):
        return pixel_unshuffle(image, self.factor) * 2 - 1

    def decode(self, z, canvas=None, cond=None):
        return pixel_shuffle((z + 1) / 2, self.factor)

    def describe(self, photo, prompts):
        return Conditioning()

    def embed(self, image, cond):
        return cond

    def denoise(self, z, t, control, cond):
        correction = self.net(control.to(self.net.weight.dtype)).float()
        return self.encode(control + correction)


class TrainableToy:
    """The convolution, distilled from another one."""

    def __init__(self):
        self.student, self.teacher = Toy(), Toy()
        self.teacher.net.requires_grad_(False)
        self.parameters = dict(self.student.net.named_parameters())

    def encode_text(self, picture, tags, drop_text):
        return None

    def encode_image(self, picture):
        return None

    def optimizer_groups(self):
        weight, bias = self.parameters["weight"], self.parameters["bias"]
        return [{"params": [weight]}, {"params": [bias], "lr_scale": 0.0, "weight_decay": 0.0}]

    def read_tags(self, picture):
        return ""

    def to(self, device):
        self.student.net.to(device)
        self.teacher.net.to(device)

    def write(self, folder, notes):
        folder.mkdir(parents=True, exist_ok=True)
        save_file(self.student.net.state_dict(), folder / "toy.safetensors", notes)
        Bundle(name="trained toy", arch="toy", parameters=84).write(folder)


def load(file, options):
    toy = Toy()
    toy.net.load_state_dict(load_file(file))
    toy.net.to(options.device, options.dtype).requires_grad_(False)
    return toy


def cost(options, work):
    return TrainingCost(
        parameters=168, trained=84, frozen=336, copies=0, activations=1000, tflop=1e-6
    )


def problems(file):
    problem = problem_of(file)
    return (problem,) if problem else ()


CHECKPOINT = Component(
    name="toy-checkpoint",
    title="a toy's checkpoint",
    sources=(),
    files=(FileSpec(path="toy.pt"),),
    licence="MIT",
)


def convert(downloads):
    state = read_weights(downloads.file(CHECKPOINT))
    with bundle_files.new_folder(downloads.output, 0) as folder:
        save_file(
            bundle_files.cast_state(state, downloads.dtype, "toy"), folder / "toy.safetensors"
        )
        Bundle(
            name=downloads.name,
            arch="toy",
            parameters=84,
            licence=downloads.licence,
        ).write(folder)


PUBLISHED = PublishedModel(name="toy-4", components=(CHECKPOINT,), convert=convert)
TOY = Architecture(
    name="toy",
    spec=lambda file: SPEC,
    load=load,
    problems=problems,
    one_network=True,
    published=(PUBLISHED,),
    training=(
        TrainingSetup(
            name="toy",
            build=lambda options: TrainableToy(),
            cost=cost,
            defaults={"student": {"steps": 1, "batch_size": 2, "crop": 64, "workers": 0}},
            recipe={"discriminator": "conv", "adversarial": 0.001, "teacher_samples": 1},
            teacher="a toy",
        ),
    ),
)


@pytest.fixture(autouse=True)
def toy():
    """Register the toy for one test."""
    AcceleratorState._reset_state(True)
    registry.register(TOY)
    yield
    del registry.ARCHITECTURES["toy"], registry.TRAINING["toy"]
    AcceleratorState._reset_state(True)


@pytest.fixture
def photo(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 26, 3), dtype=np.uint8)
    (tmp_path / "photos").mkdir()
    Image.fromarray(pixels).resize((96, 80)).save(tmp_path / "photos" / "photo.png")
    return tmp_path / "photos" / "photo.png"


@pytest.fixture
def config(photo, tmp_path):
    """A run as ``addsr distill --arch toy`` would configure it."""
    defaults = run_defaults("toy", "student", "paper")
    return TrainConfig(
        data=(photo.parent,),
        output=tmp_path / "run",
        arch="toy",
        stage="student",
        recipe=preset("paper", "toy"),
        device="cpu",
        precision="fp32",
        **defaults,
    )


@pytest.fixture
def folder(tmp_path):
    TrainableToy().write(tmp_path / "model", {})
    return tmp_path / "model"


def test_a_photo_is_upscaled_with_it(folder, photo):
    upscaler = Upscaler(str(folder), Machine(device="cpu", precision="fp32"))
    result = upscaler.upscale(photo)
    assert (upscaler.spec, result.steps) == (SPEC, 1)
    assert result.image.size == (4 * 96, 4 * 80)


def test_it_is_trained_exported_and_used_by_the_command(config, photo, tmp_path):
    trainer = Trainer(config)
    before = {name: p.clone() for name, p in trainer.model.parameters.items()}
    export = trainer.run()
    after = trainer.model.parameters
    assert not torch.equal(after["weight"], before["weight"])
    assert torch.equal(after["bias"], before["bias"])  # its group has a learning rate of 0
    arguments = ["upscale", photo, "-o", tmp_path / "out.png", "--model", export]
    assert run([str(argument) for argument in (*arguments, "--device", "cpu")]) == 0
    with Image.open(tmp_path / "out.png") as picture:
        assert picture.size == (4 * 96, 4 * 80)
    [verified] = verify(str(export))
    assert verified.state == "intact"


def test_a_published_model_is_installed_by_its_own_conversion(photo, tmp_path, monkeypatch):
    monkeypatch.setitem(components.PUBLISHED, "toy-4", PUBLISHED)
    monkeypatch.setitem(components.MODEL_COMPONENTS, "toy-4", PUBLISHED.components)
    torch.save(Toy().net.state_dict(), tmp_path / "toy.pt")
    monkeypatch.setattr(sources, "fetch", lambda component, **_: tmp_path)
    messages = []
    folder = install.install("toy-4", dtype=torch.float16, on_message=messages.append)
    assert messages == ["a toy's checkpoint (MIT).", "converting"]
    assert load_file(folder / "toy.safetensors")["weight"].dtype == torch.float16
    assert (Bundle.read(folder).licence, installed.find_problems(folder)) == ("MIT", ())
    result = Upscaler("toy-4", Machine(device="cpu", precision="fp32")).upscale(photo)
    assert result.image.size == (4 * 96, 4 * 80)


def test_the_cost_of_training_comes_from_its_record(config):
    planned = budget(config)
    assert (planned.parameters, planned.trained) == (168, 84)
    assert planned.memory["frozen networks"] == 336


def test_unusable_weights_are_detected_by_verify(folder):
    state = load_file(folder / "toy.safetensors")
    save_file({key: value * math.nan for key, value in state.items()}, folder / "toy.safetensors")
    (folder / "bundle.json").unlink()  # whose digest would be the first problem
    [verified] = verify(str(folder))
    assert verified.state == "damaged"
    assert "NaN" in verified.problems[0]


def test_a_stage_that_the_record_lacks_is_refused(config):
    with pytest.raises(UsageError, match="already has a teacher, a toy"):
        TrainConfig(data=config.data, output=config.output, arch="toy", stage="teacher")


def test_an_unknown_name_lists_the_trainable_architectures():
    with pytest.raises(UsageError, match="addsr, tiny, nano, tiny-nano, toy, not lego"):
        registry.training_setup("lego")


def test_a_bundle_of_an_unknown_architecture_asks_for_a_newer_version(tmp_path):
    Bundle(name="future", arch="lego", parameters=1).write(tmp_path)
    with pytest.raises(ModelUnavailable, match="does not know: lego") as caught:
        loader.locate(str(tmp_path))
    assert "upgrade" in caught.value.hint


@pytest.mark.parametrize("name", ["nano", "seesr"])
def test_the_built_in_records_are_listed_under_their_names(name):
    record = registry.ARCHITECTURES[name]
    assert record.name == name
    assert Path(registry.__file__).with_name(name).is_dir()
    assert all(spec.arch == name for spec in record.bundled)


def test_bundled_models_and_the_fallback_are_on_this_machine():
    assert registry.FALLBACK in registry.BUNDLED
    assert all(loader.locate(name).file.is_file() for name in registry.BUNDLED)

"""How a run builds its student and teacher."""

import pytest
import torch

from addsr_cli.models.architecture import TrainingOptions
from addsr_cli.models.nano.restorer import NanoConfig, build_nano, save_nano
from addsr_cli.models.nano.training import TINY
from addsr_cli.models.registry import training_setup
from addsr_cli.models.single_pass.esrgan import Esrgan
from addsr_cli.models.single_pass.teacher import OnePassTeacher, save_esrgan
from addsr_cli.train.trainer import Trainer
from addsr_cli.weights import loader

OTHER = NanoConfig(groups=(1, 1), width=8, growth=4, embedding=8)


@pytest.fixture
def x4plus(tmp_path):
    torch.manual_seed(0)
    save_esrgan(Esrgan(groups=1, width=8, growth=4), tmp_path / "x4plus.safetensors", {})
    return tmp_path / "x4plus.safetensors"


@pytest.fixture
def file(tmp_path):
    save_nano(build_nano(OTHER).net, tmp_path / "begin.safetensors")
    return tmp_path / "begin.safetensors"


def trainable(arch, stage, init, teacher):
    """Student and teacher as a run builds them."""
    options = TrainingOptions(
        stage=stage,
        teacher=teacher,
        locate=lambda name: loader.locate(name).file,
        dtype=torch.float32,
        init=init,
    )
    return training_setup(arch).build(options)


def config(restorer):
    return restorer.net.config


def test_a_teacher_in_training_is_fresh_or_what_init_names(file):
    assert config(trainable("tiny-nano", "teacher", None, "").student) == TINY
    assert config(trainable("tiny-nano", "teacher", file, "").student) == OTHER


def test_a_student_begins_as_its_teacher_or_as_what_init_names(file, tmp_path):
    alike = trainable("tiny-nano", "student", None, "")
    assert config(alike.student) == config(alike.teacher) == TINY
    ours, theirs = alike.net.state_dict(), alike.frozen.state_dict()
    assert all(torch.equal(value, theirs[key]) for key, value in ours.items())
    assert alike.net is not alike.frozen
    begun = trainable("tiny-nano", "student", file, "")
    assert (config(begun.student), config(begun.teacher)) == (OTHER, TINY)


def test_a_network_of_one_pass_teaches_a_student_of_its_own(x4plus, file):
    model = trainable("nano", "student", file, str(x4plus))
    assert isinstance(model.teacher, OnePassTeacher)
    assert config(model.student) == OTHER
    assert config(trainable("tiny-nano", "student", None, str(x4plus)).student) == TINY
    assert not any(p.requires_grad for p in model.frozen.parameters())
    assert not model.frozen.training
    assert model.parameters.keys() == dict(model.net.named_parameters()).keys()


def test_new_weights_are_those_of_the_architecture():
    assert config(trainable("tiny-nano", "teacher", None, "").student) == TINY
    assert config(trainable("nano", "teacher", None, "").student) == NanoConfig()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_run_distils_a_network_of_one_pass(configured, x4plus, precision):
    trainer = Trainer(
        configured(stage="student", teacher=str(x4plus), steps=2, validation=1, precision=precision)
    )
    before = {name: p.clone() for name, p in trainer.model.frozen.state_dict().items()}
    folder = trainer.run()
    assert all(
        torch.equal(p, before[name]) for name, p in trainer.model.frozen.state_dict().items()
    )
    card = (folder / "README.md").read_text()
    assert str(x4plus.parent) not in card
    assert '"teacher": "x4plus.safetensors"' in card

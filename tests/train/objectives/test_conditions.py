"""What the paper's preset shows to which network, pinned on small weights of the full model."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from bundles import write_bundle
from discriminator_samples import official, seeded

from addsr_cli.models.seesr.restorer import SeeSR
from addsr_cli.models.seesr.training import TrainableSeeSR
from addsr_cli.schedule import STEPS
from addsr_cli.train.discriminators.step import DiscriminatorStep
from addsr_cli.train.objectives.base import Batch
from addsr_cli.train.objectives.conditions import conditions_of
from addsr_cli.train.objectives.distillation import Distillation
from addsr_cli.train.objectives.draws import draw_student
from addsr_cli.train.recipe import PAPER, parse_teacher_sees

KEEP_TEXT = torch.zeros(1, dtype=torch.bool)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Student and teacher, not changed by any test here."""
    folder = write_bundle(tmp_path_factory.mktemp("models") / "golden")
    return TrainableSeeSR(folder, dtype=torch.float32)


@pytest.fixture(scope="module")
def batch():
    """An original and a canvas of which the tagger reads different tags."""
    hr = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    return Batch(hr=hr, canvas=0.2 * hr.flip(2), tags=("",), positions=(0,))


@pytest.fixture(scope="module")
def texts(model, batch):
    """The text tokens of the original and of the canvas."""
    tags = {name: model.read_tags(getattr(batch, name)) for name in ("hr", "canvas")}
    assert tags["hr"] != tags["canvas"]
    return {
        name: model.full.text.encode(f"{found}," if found else "") for name, found in tags.items()
    }


class Call:
    """One pass of a network: which, with gradients or without, its inputs and its prediction."""

    def __init__(self, which, z, t, control, cond, output):
        self.which, self.grad = which, torch.is_grad_enabled()
        self.z, self.t, self.control, self.cond, self.output = z, t, control, cond, output


@pytest.fixture(scope="module")
def step(model, batch):
    """Every pass of one step of the paper's preset, trained at 249."""
    draws = draw_student(PAPER, [seeded(1)], (4, 8, 8))
    draws = replace(draws, index=torch.tensor([3]))
    AcceleratorState._reset_state(True)
    calls, shown = [], {}
    denoise = SeeSR.denoise

    def recorded(seesr, z, t, control, cond):
        which = "student" if seesr is model.student else "teacher"
        output = denoise(seesr, z, t, control, cond)
        calls.append(Call(which, z, t, control, cond, output))
        return output

    class Config:
        recipe, lr, d_lr, weight_decay, clip = PAPER, 1e-5, 1e-5, 0.0, 1.0
        seed, accumulate, optimizer, shard_optimizer = 0, 1, "adamw", False

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SeeSR, "denoise", recorded)
        accelerator = Accelerator(cpu=True)
        discriminator = official(raw=False)
        for name in ("condition", "features", "detached_features"):
            method = getattr(discriminator, name)
            patch.setattr(
                discriminator,
                name,
                lambda image, *more, name=name, method=method: (
                    shown.setdefault(name, image),
                    method(image, *more),
                )[1],
            )
        objective = Distillation(
            Config, model, DiscriminatorStep(discriminator, Config, accelerator), accelerator
        )
        student = objective.run_student(batch, draws)
        objective.discriminator_step.backward(batch, student.image, [seeded()], 1.0)
        objective.losses(student, [seeded()])
    return draws, calls, student, shown


def of(calls, which):
    return [call for call in calls if call.which == which]


def noisy(model, batch, draws, noise, t):
    clean = model.student.encode(batch.hr, lambda _: draws.posterior)
    return model.student.schedule.add_noise(clean, noise, t)


def test_the_student_starts_from_lr_and_then_sees_its_own_predictions(model, batch, step):
    draws, calls, _, _ = step
    passes = of(calls, "student")
    (last,) = draws.index.tolist()
    assert [int(call.t) for call in passes] == list(STEPS[: last + 1])
    assert [call.grad for call in passes] == [False] * last + [True]
    tokens = model.full.tagger.encode_image
    assert torch.equal(passes[0].control, batch.canvas)
    assert torch.allclose(passes[0].cond.image, tokens(batch.canvas))
    for before, call in pairwise(passes):
        z0 = model.student.schedule.predict_z0(before.z, before.output, before.t)
        prediction = model.student.decode(z0).clamp(0, 1)
        assert torch.allclose(call.control, prediction, atol=1e-5)
        assert torch.allclose(call.cond.image, tokens(prediction), atol=1e-4)


def test_every_latent_of_the_student_is_hrs_under_noise_of_its_own(model, batch, step):
    draws, calls, _, _ = step
    passes = of(calls, "student")
    noises = [*draws.chain[: len(passes) - 1], draws.noise]
    for call, noise in zip(passes, noises, strict=True):
        assert torch.allclose(call.z, noisy(model, batch, draws, noise, int(call.t)), atol=1e-5)
    assert len({noise.numpy().tobytes() for noise in noises}) == len(passes)


def test_the_text_of_the_student_is_that_of_lr_at_every_step(step, texts):
    _, calls, _, _ = step
    assert all(torch.equal(call.cond.text, texts["canvas"]) for call in of(calls, "student"))


def test_the_teacher_sees_hr_alone_and_answers_once_without_gradients(model, batch, step, texts):
    draws, calls, student, _ = step
    (call,) = of(calls, "teacher")
    assert not call.grad
    assert torch.equal(call.control, batch.hr)
    assert torch.equal(call.cond.text, texts["hr"])
    assert torch.allclose(call.cond.image, model.full.tagger.encode_image(batch.hr))
    assert call.t.tolist() == draws.t[0].tolist()
    schedule = model.teacher.schedule
    assert torch.allclose(
        call.z, schedule.add_noise(student.z0.detach(), draws.teacher[0], call.t), atol=1e-5
    )
    assert not torch.equal(draws.teacher[0], draws.noise)
    assert call.cond.negative is None


def test_the_discriminator_compares_hr_with_the_students_picture_and_is_told_of_lr(batch, step):
    _, _, student, shown = step
    assert torch.equal(shown["features"], batch.hr)
    assert torch.equal(shown["detached_features"], student.image)
    assert torch.equal(shown["condition"], batch.canvas)


@pytest.fixture(scope="module")
def whole(model, batch):
    """The conditions of the paper's preset."""
    return conditions_of(model, PAPER, batch, KEEP_TEXT)


@pytest.mark.parametrize("sees", ["lr", "control", "tagger", "text"])
def test_each_input_of_the_teacher_is_switched_by_itself(model, batch, texts, whole, sees):
    recipe = replace(PAPER, teacher_sees=parse_teacher_sees(sees))
    found = conditions_of(model, recipe, batch, KEEP_TEXT)
    hr = recipe.teacher_sees
    assert torch.equal(found.teacher_control, batch.hr if "control" in hr else batch.canvas)
    assert torch.equal(found.teacher.text, texts["hr" if "text" in hr else "canvas"])
    expected = (whole.teacher if "tagger" in hr else whole.student).image
    assert torch.equal(found.teacher.image, expected)
    assert torch.equal(found.student.text, whole.student.text)
    assert torch.equal(found.student.image, whole.student.image)


@pytest.mark.parametrize(
    ("student_text", "known", "student", "teacher"),
    [
        ("lr", "", "canvas", "hr"),
        ("hr", "", "hr", "hr"),
        ("lr", "a fox", "canvas", "a fox,"),
        ("hr", "a fox", "a fox,", "a fox,"),
        ("lr", "none", "", ""),
    ],
)
def test_known_tags_describe_hr_alone(model, batch, texts, student_text, known, student, teacher):
    recipe = replace(PAPER, student_text=student_text)
    found = conditions_of(model, recipe, replace(batch, tags=(known,)), KEEP_TEXT)
    for cond, name in ((found.student, student), (found.teacher, teacher)):
        expected = texts[name] if name in texts else model.full.text.encode(name)
        assert torch.equal(cond.text, expected)


def test_every_picture_and_text_is_encoded_once(model, batch, monkeypatch):
    tagger, seen = model.full.tagger, []
    for name in ("read", "encode_image"):
        method = getattr(tagger, name)
        monkeypatch.setattr(
            tagger, name, lambda image, name=name, method=method: seen.append(name) or method(image)
        )
    shared = replace(PAPER, student_text="hr", teacher_sees=parse_teacher_sees("control,text"))
    conditions_of(model, shared, batch, KEEP_TEXT)
    assert sorted(seen) == ["encode_image", "read"]

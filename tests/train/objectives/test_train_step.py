"""One whole step of the full model against the official training loop, on small weights."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator
from bundles import GOLDEN, write_bundle
from discriminator_samples import official
from safetensors.torch import load_file

from addsr_cli.models.seesr.training import TrainableSeeSR
from addsr_cli.schedule import STEPS
from addsr_cli.train.discriminators.step import DiscriminatorStep
from addsr_cli.train.objectives.base import Batch
from addsr_cli.train.objectives.distillation import Distillation
from addsr_cli.train.objectives.draws import StudentDraws
from addsr_cli.train.optim.ema import Ema
from addsr_cli.train.recipe import OFFICIAL

# the official trainer feeds the prediction of PSR in [-1, 1], which ours corrects unless asked
RECIPE = replace(OFFICIAL, psr_pixels="signed", text_dropout=0.0)
SETTINGS = {
    "recipe": RECIPE,
    "lr": 2e-5,
    "d_lr": 2e-5,
    "weight_decay": 0.01,
    "clip": 0.002,
    "seed": 0,
    "accumulate": 1,
    "optimizer": "adamw",
    "shard_optimizer": False,
}


class Case:
    """The recorded step: its tensors, and our objective set up to reproduce it."""

    def __init__(self, name, folder, monkeypatch):
        self.tensors = load_file(GOLDEN / "train_step" / f"{name}.safetensors")
        self.facts = json.loads((GOLDEN / "train_step" / f"{name}.json").read_text())
        self.model = TrainableSeeSR(write_bundle(folder), dtype=torch.float32)
        self.model.teacher = TrainableSeeSR(
            folder, dtype=torch.float32
        ).teacher  # shares no weights here, as the student's are scaled below
        with torch.no_grad():
            for net in (
                self.model.networks.values()
            ):  # the recorded student is 1.05 times the teacher, all of it
                for p in net.parameters():
                    p.mul_(1.05)
        accelerator, config = Accelerator(cpu=True), SimpleNamespace(**SETTINGS)
        self.discriminator = official()
        features = self.discriminator.features
        monkeypatch.setattr(
            self.discriminator, "features", lambda image, _=None: features(image, None)
        )  # unaltered, as recorded
        self.discriminator_step = DiscriminatorStep(self.discriminator, config, accelerator)
        self.objective = Distillation(config, self.model, self.discriminator_step, accelerator)
        self._fix_conditions(monkeypatch)
        monkeypatch.setattr(self.objective, "draw", lambda batch, generators: self.draws())

    def _fix_conditions(self, monkeypatch):
        metrics = self.model.full.text.model(self.tensors["in.input_ids"])[0]
        lr, hr, later = (self.tensors.get(f"in.ram_call.{k}") for k in range(3))
        canvas = self.batch().canvas
        monkeypatch.setattr(self.model, "encode_text", lambda *arguments: metrics)
        monkeypatch.setattr(
            self.model,
            "encode_image",
            lambda picture: lr if torch.equal(picture, canvas) else hr,
        )
        monkeypatch.setattr(
            self.model.student, "embed", lambda image, cond: replace(cond, image=later)
        )

    def draws(self):
        t = self.tensors
        chosen = t.get("in.draw.random_index")
        noise = t["in.draw.noise"]
        timesteps = t["in.draw.timesteps_tea"].long().view(4, 2)
        return StudentDraws(
            index=torch.zeros(2, dtype=torch.long) if chosen is None else self.index(),
            posterior=t["in.draw.vae_posterior_noise"],
            noise=noise,
            chain=torch.zeros(3, *noise.shape),
            psr=torch.ones(2),
            t=timesteps,
            teacher=noise.expand(4, *noise.shape),
            text_dropout=torch.zeros(2, dtype=torch.bool),
            taught=torch.ones(2, dtype=torch.bool),
            imitates=torch.zeros(2, dtype=torch.bool),
        )

    def index(self):
        return torch.tensor(
            [STEPS.index(int(s)) for s in self.tensors["out.timesteps_stu_"].tolist()]
        )

    def batch(self):
        hr, lr = self.tensors["in.pixel_values"], self.tensors["in.conditioning_pixel_values"]
        return Batch(hr=hr / 2 + 0.5, canvas=lr, tags=("", ""), positions=(0, 1))

    def near(self, ours, name, share=1e-4):
        expected = self.tensors[f"out.{name}"].squeeze()
        tolerance = share * max(1.0 if share == 1e-4 else 0.0, expected.abs().max().item())
        error = (torch.as_tensor(ours).squeeze() - expected).abs().max().item()
        assert error <= tolerance, f"{name}: {error} > {tolerance}"

    def run(self):
        """Run student and teacher, then one step; keep metrics, gradients and weight changes."""
        self.student = self.objective.run_student(self.batch(), self.draws())
        self.teacher_images = [
            picture for _, picture in self.objective.teacher_targets(self.student)
        ]
        before = {name: p.detach().clone() for name, p in self.model.parameters.items()}
        self.average = Ema(self.model.parameters, 0.99)
        self.gradients, optimiser = {}, self.objective.optimizer_step.optimizers[0]
        step = optimiser.step

        def record_gradients():
            self.gradients.update(
                {name: p.grad.clone() for name, p in self.model.parameters.items()}
            )
            step()

        optimiser.step = record_gradients
        self.metrics = self.objective.step([self.batch()], 2e-5).values
        self.moved = {name: p.detach() - before[name] for name, p in self.model.parameters.items()}
        return self


CASES = [pytest.param(name, marks=pytest.mark.slow) for name in ("single_step", "second_step")] + [
    "second_step_499"
]


@pytest.fixture(scope="module", params=CASES)
def case(request, tmp_path_factory):
    """One recorded step, run once for all tests of this module."""
    with pytest.MonkeyPatch.context() as patch:
        yield Case(request.param, tmp_path_factory.mktemp("step") / "bundle", patch).run()


def test_student_and_teacher_predict_as_the_official_ones(case):
    case.near(case.student.z0, "z0_stu")
    case.near(case.student.image * 2 - 1, "x0_stu")
    for k, picture in enumerate(case.teacher_images):
        expected = case.model.teacher.decode(case.tensors[f"out.z0_tea.{k}"]).clamp(0, 1)
        assert torch.allclose(picture, expected, atol=1e-4)


def test_a_step_equals_the_official_one(case):
    case.near(case.metrics["discriminator"], "loss_D")
    case.near(case.metrics["adversarial"], "gan_loss")
    mean = (case.tensors["out.dis_loss1"] + case.tensors["out.dis_loss2"]) / 2
    assert case.metrics["distill"] == pytest.approx(mean.item(), rel=1e-3)
    case.near(case.metrics["grad_norm"], "total_grad_norm_before_clip", 1e-3)
    case.average.updates = (
        1_000_000  # ours adapts faster in its first updates; the formula is the same
    )
    case.average.update()
    for name, expected in case.tensors.items():
        kind, _, key = name.removeprefix("out.").partition(".")
        if kind == "param_delta":
            assert (case.moved[key] - expected).abs().max() <= 0.01 * expected.abs().max() + 1e-9
        if kind == "ema_shadow":
            assert torch.allclose(case.average.shadow[key], expected, atol=1e-6)
    case.near(case.discriminator.heads[0].first[0].weight_u, "disc_after.heads.0.main.0.0.weight_u")


def test_gradients_are_the_official_ones_after_clipping(case):
    recorded = {
        k.removeprefix("out.grad_after_clip."): v
        for k, v in case.tensors.items()
        if "grad_after_clip" in k
    }
    assert len(recorded) == 3
    for name, expected in recorded.items():
        assert (case.gradients[name] - expected).abs().max() <= 1e-3 * expected.abs().max()


def test_the_trained_tensors_are_the_official_ones(case):
    counts = {
        part: sum(name.startswith(part) for name in case.model.parameters)
        for part in ("unet", "controlnet")
    }
    assert counts == case.facts["trainable_param_tensors"]

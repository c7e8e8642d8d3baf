"""Presets of recipes, and the validation of their values."""

import json
from dataclasses import asdict, replace

import pytest
from bundles import write_bundle
from discriminator_samples import official

from addsr_cli.cli.app import run
from addsr_cli.errors import UsageError
from addsr_cli.train import results
from addsr_cli.train.config import TrainConfig
from addsr_cli.train.discriminators.projected import ProjectedDiscriminator
from addsr_cli.train.losses.timestep_weights import TaWeights
from addsr_cli.train.recipe import (
    OFFICIAL,
    PAPER,
    TEACHER_INPUTS,
    Recipe,
    parse_teacher_sees,
    parse_timestep_weights,
    preset,
    psr_range,
    run_defaults,
)


def test_the_default_is_the_recipe_of_the_paper():
    assert preset("paper", "addsr") == PAPER == Recipe()
    assert (PAPER.ta.mu, PAPER.ta.nu, PAPER.adversarial, PAPER.psr, PAPER.text_dropout) == (
        0.5,
        2.1,
        0.02,
        (1.0, 1.0),
        0.0,
    )
    assert (PAPER.timesteps, PAPER.rollout, PAPER.first_latent) == ("uniform", "refined", "hr")
    assert (PAPER.student_text, PAPER.teacher_sees) == ("lr", ("control", "tagger", "text"))
    assert (PAPER.teacher_samples, PAPER.teacher_timesteps) == (1, "all")
    assert (PAPER.teacher_noise, PAPER.discriminator, PAPER.r1) == ("own", "dino", 0.0)
    assert set(PAPER.reconstruction.values()) == {0.0}


def test_the_official_preset_draws_and_weighs_as_the_released_trainer():
    assert preset("official", "addsr") == OFFICIAL
    assert OFFICIAL.ta.table() == pytest.approx((4.6305, 0.5, 1.05, 2.205))
    assert (OFFICIAL.timesteps, OFFICIAL.teacher_noise, OFFICIAL.dinov2_colors) == (
        "official",
        "student",
        "raw",
    )
    assert (OFFICIAL.teacher_samples, OFFICIAL.text_dropout) == (4, 0.5)
    assert (OFFICIAL.rollout, OFFICIAL.student_text) == ("teacher-forced", "hr")


def test_the_paper_takes_six_samples_a_step_with_adam_and_the_released_trainer_two_with_adamw():
    chosen = ("batch_size", "accumulate", "weight_decay", "lr", "steps", "crop", "decay")
    runs = [run_defaults("addsr", "student", name) for name in ("paper", "official", "lowmem")]
    assert [tuple(run.get(name) for name in chosen) for run in runs] == [
        (2, 3, 0.0, 2e-5, 50_000, 512, "constant"),
        (2, None, 0.01, 2e-5, 50_000, 512, "constant"),
        (1, 6, 0.0, 2e-5, 50_000, 512, "constant"),
    ]


def test_lowmem_is_the_paper_with_gradient_checkpointing():
    assert preset("lowmem", "addsr") == PAPER
    chosen = run_defaults("addsr", "student", "lowmem")
    assert chosen["checkpointing"]
    assert chosen["ema_on_cpu"]
    assert chosen["shard_optimizer"]
    assert run_defaults("nano", "student", "lowmem") == run_defaults("nano", "student", "paper")


@pytest.mark.parametrize("name", ["paper", "official", "lowmem"])
def test_the_smoke_test_follows_a_preset_in_all_but_sizes_and_the_discriminator(name):
    assert preset(name, "tiny-nano") == replace(preset(name, "addsr"), discriminator="conv")
    tiny, full = (run_defaults(arch, "student", name) for arch in ("tiny-nano", "addsr"))
    sizes = {"crop", "save_every", "sample_every", "batch_size", "accumulate"}
    sizes |= {"checkpointing", "ema_on_cpu", "shard_optimizer"}  # of lowmem
    assert {k: v for k, v in tiny.items() if k not in sizes} == {
        k: v for k, v in full.items() if k not in sizes
    }


@pytest.mark.parametrize("name", ["paper", "official", "lowmem"])
def test_nano_keeps_the_weights_of_a_preset_and_trains_on_what_inference_runs(name):
    recipe = preset(name, "nano")
    assert recipe.ta == preset(name, "addsr").ta
    assert (recipe.discriminator, recipe.first_latent, recipe.rollout) == ("conv", "lr", "chained")
    assert (recipe.adversarial, recipe.timesteps) == (0.0005, "official")
    assert (recipe.teacher_timesteps, recipe.psr, recipe.text_dropout) == (
        "student",
        (0.2, 0.7),
        0.0,
    )


@pytest.mark.parametrize("arch", ["nano", "tiny-nano"])
def test_a_teacher_is_trained_on_hr_alone(arch):
    recipe = preset("paper", arch, "teacher")
    assert (recipe.distill, recipe.adversarial) == (0, 0)
    assert recipe.reconstruction == {"l1": 1, "lpips": 0}
    student = preset("paper", arch)
    own = {"distill": 1.0, "adversarial": student.adversarial, "anchor_l1": 0.0}
    assert replace(recipe, **own) == student


def test_an_unknown_preset_is_refused():
    with pytest.raises(UsageError, match="--preset best"):
        preset("best", "addsr")


@pytest.mark.parametrize(
    "wrong",
    [
        {"timesteps": "all"},
        {"rollout": "free"},
        {"space": "wavelet"},
        {"discriminator": "vit"},
        {"teacher_sees": ("both",)},
        {"student_text": "gt"},
        {"psr_pixels": "all"},
        {"adversarial": -0.1},
        {"anchor_l1": float("nan")},
        {"r1": float("inf")},
        {"distill": 0.0, "adversarial": 0.0},
        {"psr": (0.6, 0.4)},
        {"timestep_weights": (1.0, 1.0, 1.0)},
        {"timestep_weights": (1.0, 1.0, 1.0, -0.1)},
        {"timestep_weights": (1.0, float("nan"), 1.0, 1.0)},
        {"anchor_lpips": -1.0},
        {"teacher_share": 0.0},
        {"teacher_share": 1.1},
        {"teacher_share": float("nan")},
        {"psr": (0.0, 1.1)},
        {"psr": (float("nan"), 1.0)},
        {"teacher_samples": 0},
        {"text_dropout": 1.5},
    ],
)
def test_invalid_recipes_are_refused(wrong):
    with pytest.raises(UsageError):
        replace(PAPER, **wrong)


def test_one_loss_is_enough():
    assert replace(PAPER, distill=0.0, adversarial=0.0, anchor_lpips=1.0).reconstruction == {
        "l1": 0,
        "lpips": 1,
    }


def test_a_recipe_survives_json():
    recipe = replace(
        OFFICIAL,
        ta=TaWeights(form="linear", gamma=0.2),
        psr=(0.4, 1.0),
        anchor_lpips=2.0,
        timestep_weights=(0.0, 1.0, 2.0, 3.0),
        teacher_share=0.5,
        teacher_sees=("control",),
        discriminator="vgg",
    )
    assert Recipe.from_json(json.loads(json.dumps(asdict(recipe)))) == recipe


@pytest.mark.parametrize(("older", "sees"), [("hr", TEACHER_INPUTS), ("lr", ())])
def test_a_recipe_of_an_older_version_read_all_text_from_hr(older, sees):
    written = json.loads(json.dumps(asdict(OFFICIAL))) | {"teacher_sees": older}
    for later in ("student_text", "psr_pixels", "teacher_noise", "dinov2_colors"):
        del written[later]
    recipe = Recipe.from_json(written | {"shared_noise": True, "raw_condition": False})
    assert (recipe.student_text, recipe.teacher_sees) == ("hr", sees)
    assert (recipe.teacher_noise, recipe.dinov2_colors) == ("student", "normal")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hr", TEACHER_INPUTS),
        ("lr", ()),
        ("control", ("control",)),
        ("text, tagger", ("tagger", "text")),
    ],
)
def test_the_inputs_of_the_teacher_that_see_hr_are_parsed(text, expected):
    assert parse_teacher_sees(text) == expected


@pytest.mark.parametrize("text", ["", "both", "control,pixels"])
def test_unknown_inputs_of_the_teacher_are_refused(text):
    with pytest.raises(UsageError, match="--teacher-sees"):
        parse_teacher_sees(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1.0", (1, 1)),
        ("0.4", (0.4, 0.4)),
        ("uniform:0.4,1.0", (0.4, 1)),
        ("0.1,0.2", (0.1, 0.2)),
        ("off", (0, 0)),
    ],
)
def test_a_weight_or_a_range_of_weights_is_parsed(text, expected):
    assert psr_range(text) == expected


@pytest.mark.parametrize("text", ["", "much", "uniform:", "uniform:0.1;0.3"])
def test_an_invalid_weight_is_refused(text):
    with pytest.raises(UsageError, match="--psr-train-weight"):
        psr_range(text)


def test_timestep_weights_are_four_numbers():
    assert parse_timestep_weights("0.1,1, 1,2") == (0.1, 1, 1, 2)
    with pytest.raises(UsageError, match="--timestep-weights"):
        parse_timestep_weights("a,1,1,1")


@pytest.mark.slow
def test_the_whole_recipe_of_the_paper_runs_on_a_cpu(photos, tmp_path, monkeypatch):
    """On small weights of the full model: text, tags, tagger, DINO, and PSR over all steps."""
    teacher = write_bundle(tmp_path / "teacher")
    monkeypatch.setattr(ProjectedDiscriminator, "load", lambda *_, raw: official(raw=raw))
    monkeypatch.setattr("addsr_cli.weights.sources.fetch", lambda component: component)
    monkeypatch.setattr(results, "GRID_PHOTOS", 1)
    monkeypatch.setattr(results, "STEP_COUNTS", (1,))
    output = tmp_path / "run"
    arguments = ["distill", "--data", photos, "--preset", "paper", "--output", output]
    arguments += ["--arch", "addsr", "--teacher", teacher, "--crop", 64, "--steps", 1]
    arguments += ["--device", "cpu", "--precision", "fp32", "--workers", 0, "--log-every", 1]
    assert run([str(argument) for argument in arguments]) == 0
    config = TrainConfig.from_json((output / "config.json").read_text())
    assert config.recipe == PAPER
    assert (config.batch_size * config.accumulate, config.weight_decay) == (6, 0.0)
    log = [json.loads(line)["values"] for line in (output / "log.jsonl").read_text().splitlines()]
    assert len(log) == 1
    losses = {"discriminator", "real", "fake", "distill", "distance", "adversarial", "grad_norm"}
    assert all(losses <= values.keys() and values["distill"] > 0 for values in log)
    assert (output / "export" / "bundle.json").is_file()

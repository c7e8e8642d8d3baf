"""Options of training: validation, parsing and JSON."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from addsr_cli.degradation_recipes import RECIPES
from addsr_cli.errors import UsageError
from addsr_cli.settings import DegradationName
from addsr_cli.train.config import TrainConfig
from addsr_cli.train.data.degradation_options import parse_mix, parse_scales
from addsr_cli.train.losses.timestep_weights import TaWeights
from addsr_cli.train.recipe import OFFICIAL

PLAIN = TrainConfig(data=(Path("photos"),), output=Path("run"))
FULL = replace(PLAIN, arch="addsr", stage="student")


@pytest.mark.parametrize(
    "config",
    [
        PLAIN,
        replace(
            PLAIN, init=Path("x.safetensors"), mix=(("clean", 1.0),), usm=True, lr=1e-5, seed=9
        ),
        replace(PLAIN, scales=(2.0, 3.0), lettering=0.5, teacher="x4plus.safetensors"),
        replace(FULL, recipe=OFFICIAL, pairs=Path("lr"), lora=8, tracker="wandb"),
        replace(
            PLAIN,
            stage="student",
            recipe=replace(OFFICIAL, ta=TaWeights(form="none"), psr=(0.1, 0.5)),
        ),
    ],
)
def test_json_and_back_is_the_same_run(config):
    assert TrainConfig.from_json(config.to_json()) == config


def test_options_of_a_later_version_are_ignored():
    assert TrainConfig.from_json(PLAIN.to_json().replace("{", '{"novelty": 3,', 1)) == PLAIN


@pytest.mark.parametrize(
    "wrong",
    [
        {"arch": "seesr"},
        {"arch": "addsr"},
        {"stage": "master"},
        {"decay": "linear"},
        {"augmentation": "wide"},
        {"tags": "a cat"},
        {"lora": 4},
        {"arch": "addsr", "stage": "student", "lora": -1},
        {"accumulate": 0},
        {"validation": -1},
        {"warmup": -1},
        {"d_lr": 0.0},
        {"crop": 48},
        {"crop": 100},
        {"steps": 0},
        {"batch_size": 0},
        {"save_every": 0},
        {"sample_every": 0},
        {"log_every": 0},
        {"keep": 0},
        {"mix": (("dirty", 1.0),)},
        {"mix": (("clean", 0.5),)},
        {"mix": (("clean", 1.5), ("mild", -0.5))},
        {"mix": ()},
        {"lettering": 1.1},
        {"lettering": float("nan")},
        {"scales": (0.5, 4.0)},
        {"scales": (1.0, 5.0)},
        {"scales": (4.0, 1.0)},
        {"scales": (float("nan"), 4.0)},
        {"ema": 1.0},
        {"workers": -1},
        {"lr": 0.0},
        {"lr": float("nan")},
        {"clip": 0.0},
        {"seed": -1},
    ],
)
def test_invalid_options_are_refused(wrong):
    with pytest.raises(UsageError):
        replace(PLAIN, **wrong)


def test_the_full_model_has_its_teacher():
    with pytest.raises(UsageError, match="SeeSR") as caught:
        replace(PLAIN, arch="addsr")
    assert "--stage student" in caught.value.hint


def test_a_mix_is_parsed_as_pairs():
    pairs = (("clean", 0.2), ("mild", 0.1), ("camera", 0.42), ("strong", 0.28))
    assert parse_mix("clean=0.2, mild=0.1,camera=0.42, strong=0.28") == pairs


@pytest.mark.parametrize("text", ["", "clean", "clean=much", "clean=0.5=0.5", "clean=0.5;mild=0.5"])
def test_an_invalid_mix_is_refused(text):
    with pytest.raises(UsageError, match="--mix"):
        parse_mix(text)


@pytest.mark.parametrize(
    ("text", "expected"), [("1:4", (1, 4)), ("4", (4, 4)), ("1.5:3", (1.5, 3))]
)
def test_scales_are_a_range_or_one_factor(text, expected):
    assert parse_scales(text) == expected


@pytest.mark.parametrize("text", ["much", ":4", "1-4", "1:2:3"])
def test_invalid_scales_are_refused(text):
    with pytest.raises(UsageError, match="--scales"):
        parse_scales(text)


def test_the_mix_may_name_every_degradation_recipe_and_no_other():
    assert set(get_args(DegradationName)) == set(RECIPES)


def test_options_of_training_are_read_without_heavy_libraries():
    script = (
        "import sys, addsr_cli.train.config;"
        "sys.exit(bool({'torch', 'numpy', 'PIL', 'cv2'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0


def test_a_file_of_an_older_version_is_read_under_the_current_names(tmp_path):
    config = TrainConfig(data=(tmp_path,), output=tmp_path / "run", augmentation="plain")
    text = config.to_json()
    for current, older in (
        ("augmentation", "framing"),
        ("timestep_weights", "perception"),
        ("text_dropout", "blank"),
    ):
        assert f'"{current}"' in text
        text = text.replace(f'"{current}"', f'"{older}"')
    assert TrainConfig.from_json(text) == config

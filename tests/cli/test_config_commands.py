import json
from pathlib import Path

import pytest

from addsr_cli.cli.config import config_paths


@pytest.fixture
def user_file(home):
    return config_paths()[0]


def test_path_prints_both_files(addsr, user_file, tmp_path):
    outcome = addsr("config", "path")
    assert outcome.out.splitlines() == [str(user_file), str(tmp_path / "addsr.toml")]


def test_what_is_set_is_what_runs(addsr, photo, user_file):
    assert addsr("config", "set", "seed", 2).code == 0
    record = json.loads(addsr("upscale", photo(), "--dry-run", "--json").out)
    assert record["seed"] == 2
    shown = json.loads(addsr("config", "show", "--json").out)
    assert (shown["option"], shown["value"], shown["source"]) == ("seed", 2, str(user_file))
    assert addsr("config", "unset", "seed").code == 0
    assert addsr("config", "show").out == ""


def test_comments_and_other_options_stay(addsr, user_file):
    user_file.parent.mkdir(parents=True, exist_ok=True)
    user_file.write_text("# mine\nseed = 9  # lucky\n\n[distill]\nworkers = 1\n")
    addsr("config", "set", "color", "lab")
    addsr("config", "set", "distill.workers", 4)
    addsr("config", "set", "bench.model", "nano")
    text = user_file.read_text()
    assert "# mine\nseed = 9  # lucky\n" in text
    assert text.index('color = "lab"') < text.index("[distill]")
    assert "workers = 4" in text
    assert '[bench]\nmodel = "nano"' in text


@pytest.mark.parametrize(
    ("key", "value"),
    [("scale", "2.5x"), ("max-memory", "2G"), ("overwrite", "true"), ("for", "web:2048")],
)
def test_values_are_what_the_option_takes(addsr, user_file, key, value):
    key = {"for": "intent"}.get(key, key)
    assert addsr("config", "set", key, value).code == 0
    assert key.replace("-", "_") in user_file.read_text()


@pytest.mark.parametrize(
    ("key", "value", "hint"),
    [
        ("stepps", "2", "Did you mean steps?"),
        ("steps", "many", "--steps auto or a number"),
        ("color", "purple", "addsr upscale --help"),
        ("draw.steps", "2", "distill"),
        ("images", "a.jpg", "no option images"),
        ("intent", "poster", "print:A3@300"),
    ],
)
def test_a_wrong_key_or_value_changes_nothing(addsr, user_file, key, value, hint):
    outcome = addsr("config", "set", key, value)
    assert (outcome.code, len(outcome.lines)) == (2, 1)
    assert hint in outcome.err
    assert not user_file.exists()


def test_local_changes_the_file_of_the_working_folder(addsr, user_file, tmp_path):
    addsr("config", "set", "--local", "steps", 1)
    assert (tmp_path / "addsr.toml").read_text() == "steps = 1\n"
    assert not user_file.exists()


def test_show_names_the_source_of_every_option(addsr, user_file, tmp_path, monkeypatch):
    addsr("config", "set", "seed", 5)
    (tmp_path / "addsr.toml").write_text("steps = 1\n")
    monkeypatch.setenv("ADDSR_COLOR", "lab")
    lines = addsr("config", "show").out.splitlines()
    assert lines == [
        'color = "lab"  # $ADDSR_COLOR',
        f"seed = 5  # {user_file}",
        f"steps = 1  # {Path('addsr.toml').absolute()}",
    ]


def test_an_option_that_is_not_set_cannot_be_removed(addsr):
    outcome = addsr("config", "unset", "steps")
    assert (outcome.code, len(outcome.lines)) == (2, 1)

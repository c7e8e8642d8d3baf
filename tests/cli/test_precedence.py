import json

import pytest


@pytest.fixture
def steps(photo, addsr):
    """Get the steps that a dry run would take."""

    def ask(*words):
        return json.loads(addsr("upscale", photo(), "--dry-run", "--json", *words).out)["steps"]

    return ask


@pytest.fixture
def user_config(home):
    from addsr_cli.cli.config import places

    path = places()[0]
    assert path.is_relative_to(home)
    path.parent.mkdir(parents=True)
    return path


def test_the_default_is_four_steps(steps):
    assert steps() == 4


def test_each_place_is_stronger_than_the_one_below(steps, user_config, tmp_path, monkeypatch):
    user_config.write_text("[upscale]\nsteps = 3\n")
    assert steps() == 3
    (tmp_path / "addsr.toml").write_text("[upscale]\nsteps = 2\n")
    assert steps() == 2
    monkeypatch.setenv("ADDSR_STEPS", "1")
    assert steps() == 1
    assert steps("--steps", 4) == 4


def test_places_are_merged_key_by_key(photo, addsr, user_config, tmp_path):
    user_config.write_text("seed = 9\nsteps = 3\n")
    (tmp_path / "addsr.toml").write_text("steps = 1\n")
    record = json.loads(addsr("upscale", photo(), "--dry-run", "--json").out)
    assert (record["seed"], record["steps"]) == (9, 1)


def test_keys_may_be_written_with_hyphens(photo, addsr, tmp_path):
    (tmp_path / "addsr.toml").write_text("[upscale]\ndry-run = true\n")
    assert "pass(es)" in addsr("upscale", photo()).out


def test_a_table_of_another_command_does_not_matter(steps, tmp_path):
    (tmp_path / "addsr.toml").write_text("[distill]\nsteps = 99999\n")
    assert steps() == 4


@pytest.mark.parametrize("text", ["steps = ", "[upscale", "\xff"])
def test_a_broken_file_is_one_line_and_exit_2(photo, addsr, tmp_path, text):
    (tmp_path / "addsr.toml").write_bytes(text.encode("latin-1"))
    outcome = addsr("upscale", photo())
    assert (outcome.code, outcome.out, len(outcome.lines)) == (2, "", 1)
    assert "addsr.toml" in outcome.err


@pytest.mark.parametrize("text", ["steps = 'many'", "steps = 7", "color = 'sepia'"])
def test_a_bad_value_in_a_file_is_one_line_and_exit_2(photo, addsr, tmp_path, text):
    (tmp_path / "addsr.toml").write_text(text)
    outcome = addsr("upscale", photo(), "--model", "nano")
    assert (outcome.code, outcome.out, len(outcome.lines)) == (2, "", 1)


def test_a_bad_value_in_the_environment_is_one_line_and_exit_2(photo, addsr, monkeypatch):
    monkeypatch.setenv("ADDSR_STEPS", "many")
    outcome = addsr("upscale", photo())
    assert (outcome.code, len(outcome.lines)) == (2, 1)


def test_an_empty_variable_counts_as_none(steps, monkeypatch):
    monkeypatch.setenv("ADDSR_STEPS", "")
    assert steps() == 4


def test_quiet_may_come_from_a_file(photo, addsr, tmp_path):
    (tmp_path / "addsr.toml").write_text("quiet = true\nsteps = 1\n")
    assert addsr("upscale", photo()).err == ""


def test_debug_may_come_from_the_environment(photo, addsr, monkeypatch):
    monkeypatch.setenv("ADDSR_DEBUG", "1")
    assert "Traceback" in addsr("upscale", photo(), "--steps", 9).err


def test_an_unknown_key_is_refused_with_the_nearest_name(photo, addsr, tmp_path):
    (tmp_path / "addsr.toml").write_text("step = 2\n")
    outcome = addsr("upscale", photo())
    assert outcome.code == 2
    assert "unknown key: step" in outcome.err
    assert "steps" in outcome.err


def test_top_level_keys_do_not_reach_training(tmp_path):
    from addsr_cli.cli import config

    (tmp_path / "addsr.toml").write_text("steps = 2\n")
    found = config.defaults({"upscale": frozenset({"steps"}), "distill": frozenset({"steps"})})
    assert found == {"upscale": {"steps": 2}, "distill": {}}

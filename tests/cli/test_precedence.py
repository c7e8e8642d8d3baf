import json

import pytest
from bundles import write_nano


@pytest.fixture
def tiny(tmp_path):
    """The folder of a small network that takes up to four steps."""
    return write_nano(tmp_path / "tiny")


@pytest.fixture
def steps(photo, addsr, tiny):
    """Return a function that returns the steps of a dry run."""

    def planned_steps(*arguments):
        words = ("--model", tiny, "--dry-run", "--json", *arguments)
        return json.loads(addsr("upscale", photo(), *words).out)["steps"]

    return planned_steps


@pytest.fixture
def user_config(home):
    from addsr_cli.cli.config import config_paths

    path = config_paths()[0]
    assert path.is_relative_to(home)
    path.parent.mkdir(parents=True)
    return path


def test_the_default_is_that_of_the_model(steps):
    assert steps() == 1


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
    assert "1 pass, 1 tile per step" in addsr("upscale", photo()).out


def test_a_table_of_another_command_does_not_matter(steps, tmp_path):
    (tmp_path / "addsr.toml").write_text("[distill]\nsteps = 99999\n")
    assert steps() == 1


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
    problems = [line for line in outcome.lines if not line.startswith("addsr.toml sets ")]
    assert (outcome.code, outcome.out, len(problems)) == (2, "", 1)


def test_a_bad_value_in_the_environment_is_one_line_and_exit_2(photo, addsr, monkeypatch):
    monkeypatch.setenv("ADDSR_STEPS", "many")
    outcome = addsr("upscale", photo())
    assert (outcome.code, len(outcome.lines)) == (2, 1)


def test_an_empty_variable_counts_as_none(steps, monkeypatch):
    monkeypatch.setenv("ADDSR_STEPS", "")
    assert steps() == 1


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
    loaded = config.load_defaults(
        {"upscale": frozenset({"steps"}), "distill": frozenset({"steps"})}
    )
    assert loaded.values == {"upscale": {"steps": 2}, "distill": {}}


@pytest.fixture
def planned(photo, addsr):
    """Return a function that returns the record of a dry run with nano."""
    return lambda *arguments: json.loads(
        addsr("upscale", "--model", "nano", photo(), "--dry-run", "--json", *arguments).out
    )


def test_a_typed_size_beats_another_kind_of_size_in_a_file(planned, tmp_path):
    (tmp_path / "addsr.toml").write_text("scale = 2\n")
    assert planned("--longest", 48)["size_out"] == [48, 36]
    assert planned("--width", 72)["size_out"] == [72, 54]
    assert planned()["size_out"] == [48, 36]


def test_each_source_of_sizes_beats_the_ones_below(planned, user_config, tmp_path, monkeypatch):
    user_config.write_text("longest = 240\n")
    assert planned()["size_out"] == [240, 180]
    (tmp_path / "addsr.toml").write_text("width = 120\n[upscale]\nscale = 3\n")
    assert planned()["size_out"] == [72, 54]
    monkeypatch.setenv("ADDSR_HEIGHT", "90")
    assert planned()["size_out"] == [120, 90]
    assert planned("--scale", 2)["size_out"] == [48, 36]


def test_two_sizes_in_one_place_still_exclude_each_other(photo, addsr, tmp_path):
    (tmp_path / "addsr.toml").write_text("scale = 2\nwidth = 50\n")
    assert addsr("upscale", photo()).code == 2


def test_a_typed_fidelity_beats_steps_in_a_file_but_not_typed_ones(steps, tmp_path):
    (tmp_path / "addsr.toml").write_text("steps = 3\n")
    assert steps() == 3
    assert steps("--fidelity", 1) == 1
    assert steps("--fidelity", 1, "--steps", 2) == 2


def test_the_name_of_a_typed_file_beats_a_format_in_a_file(planned, tmp_path):
    (tmp_path / "addsr.toml").write_text("format = 'webp'\n")
    assert planned("-o", "big.png")["output"] == "big.png"
    assert planned()["output"] == "photo_x4.webp"


def test_settings_from_the_working_folder_are_printed(photo, upscale, tmp_path):
    (tmp_path / "addsr.toml").write_text("scale = 2\nseed = 7\ncolor = 'lab'\n")
    lines = upscale(photo(), "--seed", 8).lines
    assert lines[0] == 'addsr.toml sets scale = 2, color = "lab"'


def test_settings_of_the_user_are_printed_with_verbose(photo, upscale, user_config):
    user_config.write_text("scale = 2\n")
    assert "sets scale" not in upscale(photo()).err
    assert f"{user_config} sets scale = 2" in upscale(photo(), "--verbose", "--overwrite").lines


@pytest.mark.parametrize(
    "output",
    [
        "/tmp/elsewhere/",
        "../elsewhere/",
        "a/../../b/",
        "~/elsewhere/",
        "C:\\\\elsewhere\\\\",
        "\\\\\\\\host\\\\share/",
    ],
)
@pytest.mark.parametrize("table", ["", "[upscale]\n"])
def test_a_file_in_the_working_folder_sends_nothing_outside_it(
    photo, upscale, tmp_path, table, output
):
    (tmp_path / "addsr.toml").write_text(f'{table}output = "{output}"\n')
    outcome = upscale(photo())
    assert outcome.out == "photo_x4.jpg\n"
    assert outcome.lines[0].startswith(
        "warning: ignored output from addsr.toml in the working folder, which may not set it"
    )


def test_a_file_in_the_working_folder_may_name_a_folder_in_it(photo, upscale, tmp_path):
    (tmp_path / "addsr.toml").write_text('output = "large/"\n')
    assert upscale(photo()).out == "large/photo_x4.jpg\n"


def test_a_file_in_the_working_folder_replaces_nothing(photo, upscale, tmp_path):
    (tmp_path / "addsr.toml").write_text("overwrite = true\n")
    (tmp_path / "photo_x4.jpg").write_bytes(b"precious")
    outcome = upscale(photo())
    assert outcome.code == 7
    assert "ignored overwrite from addsr.toml" in outcome.lines[0]
    assert (tmp_path / "photo_x4.jpg").read_bytes() == b"precious"


def test_the_users_own_configuration_may_set_both(photo, upscale, user_config, tmp_path):
    user_config.write_text(f'overwrite = true\noutput = "{tmp_path}/elsewhere/"\n')
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "photo_x4.jpg").write_bytes(b"old")
    outcome = upscale(photo())
    assert (outcome.code, outcome.out) == (0, f"{tmp_path}/elsewhere/photo_x4.jpg\n")
    assert "ignored" not in outcome.err

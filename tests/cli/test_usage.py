import pytest


@pytest.mark.parametrize(
    "arguments",
    [
        ["--steps", "0"],
        ["--steps", "5"],
        ["--steps", "many"],
        ["--scale", "0"],
        ["--scale=-2"],
        ["--scale", "nan"],
        ["--scale", "inf"],
        ["--scale", "big"],
        ["--scale", "4xx"],
        ["--scale", "nanx"],
        ["--scale", "1000000"],
        ["--width", "0"],
        ["--height", "1.5"],
        ["--psr", "1.1"],
        ["--fidelity=-0.1"],
        ["--seed=-1"],
        ["--samples", "0"],
        ["--quality", "0"],
        ["--quality", "101"],
        ["--bit-depth", "12"],
        ["--format", "bmp"],
        ["--format", "jpg", "--bit-depth", "16"],
        ["--lossless"],
        ["-o", "out.bmp"],
        ["--color", "sepia"],
        ["--start", "end"],
        ["--precision", "int4"],
        ["--tile", "big"],
        ["--tile", "100"],
        ["--overlap", "5"],
        ["--tile", "128", "--overlap", "128"],
        ["--max-memory", "1x"],
        ["--max-memory", "0"],
        ["--max-memory", "0.05"],
        ["--max-memory", "900k"],
        ["--device", "abacus"],
        ["--device", "cuda:99"],
        ["--bogus"],
        ["--scale"],
    ],
    ids=" ".join,
)
def test_a_bad_value_is_refused_in_one_line(photo, addsr, tree, arguments):
    outcome = addsr("upscale", "--model", "nano", photo(), *arguments)
    messages = [line for line in outcome.lines if not line.startswith("model nano")]
    assert (outcome.code, outcome.out, len(messages)) == (2, "", 1)
    assert messages[0].startswith("error: ")
    assert tree() == {"photo.jpg"}


def test_a_bad_machine_option_is_a_usage_error_for_several_photos_too(photo, upscale):
    assert upscale(photo("a.jpg"), photo("b.jpg"), "--tile", 100).code == 2


def test_the_error_for_a_forgotten_unit_of_memory_shows_the_right_form(photo, upscale):
    message = upscale(photo(), "--max-memory", "0.05").err
    assert "less than 1 MB" in message
    assert "0.05G" in message


def test_a_misspelt_option_suggests_the_right_one(photo, upscale):
    assert "--scale" in upscale(photo(), "--scael", 2).err


def test_no_photo_is_a_usage_error(addsr):
    outcome = addsr("upscale")
    assert (outcome.code, len(outcome.lines)) == (2, 1)
    assert "addsr upscale --help" in outcome.err


def test_an_unknown_command_is_a_usage_error(addsr):
    outcome = addsr("upscael", "x.jpg")
    assert (outcome.code, len(outcome.lines)) == (2, 1)


@pytest.mark.parametrize(
    ("word", "meant"), [("upscael", "upscale"), ("batc", "batch"), ("model", "models")]
)
def test_a_misspelt_command_suggests_the_right_one(addsr, word, meant):
    outcome = addsr(word, "x.jpg")
    assert outcome.code == 2
    assert f"Did you mean '{meant}'? See addsr --help." in outcome.err


@pytest.mark.parametrize(
    ("name", "meant"), [("nan", "nano"), ("seesr-tubro", "seesr-turbo"), ("adsr", "addsr")]
)
def test_a_misspelt_model_suggests_the_right_one(photo, addsr, name, meant):
    outcome = addsr("upscale", photo(), "--model", name)
    assert outcome.code == 4
    assert f"Did you mean {meant}?" in outcome.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["photo.jpg"],
        ["--model", "nano", "photo.jpg"],
        ["./photo.jpg"],
        ["-s", "4", "photo.jpg"],
        ["plain"],
    ],
)
def test_a_photo_in_place_of_a_command_is_upscaled(photo, addsr, arguments, monkeypatch):
    monkeypatch.setenv("ADDSR_STEPS", "1")
    photo().rename("plain") if arguments == ["plain"] else photo()
    outcome = addsr(*arguments)
    assert outcome.code == 0
    assert outcome.out.strip().endswith("_x4.jpg")


def test_a_missing_photo_in_place_of_a_command_is_reported_as_missing(addsr):
    outcome = addsr("photo.jpg")
    assert outcome.code == 6
    assert "'photo.jpg' does not exist" in outcome.err


def test_an_option_of_the_program_itself_stays_one(addsr):
    assert addsr("-h").out == addsr("--help").out


def test_an_unknown_option_in_place_of_a_command_is_a_usage_error(addsr):
    assert addsr("--bogus").code == 2


@pytest.mark.parametrize("name", ["bogus", "addsr", "seesr", "org/repo", ".", ""])
def test_an_unknown_model_exits_with_4(photo, addsr, tree, name):
    outcome = addsr("upscale", photo(), "--model", name)
    assert (outcome.code, len(outcome.lines)) == (4, 1)
    assert tree() == {"photo.jpg"}


def test_a_broken_model_file_exits_with_4(photo, addsr, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "nano.safetensors").write_bytes(b"no weights")
    outcome = addsr("upscale", photo(), "--model", "run")
    assert outcome.code == 4
    assert "not a nano model" in outcome.err
    assert "Traceback" not in outcome.err


def test_a_model_folder_works(photo, addsr, tmp_path):
    from addsr_cli.weights.loader import ASSETS

    (tmp_path / "run" / "export").mkdir(parents=True)
    (tmp_path / "run" / "export" / "nano.safetensors").symlink_to(ASSETS / "nano.safetensors")
    assert addsr("upscale", photo(), "--model", "run", "--steps", 1).code == 0

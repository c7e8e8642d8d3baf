import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from addsr_cli.cli import intents, open_files
from addsr_cli.cli.preview import Preview, parse_preview
from addsr_cli.errors import UsageError


@pytest.fixture
def planned(photo, addsr):
    """Return a function that returns the record and the messages of a dry run."""

    def dry_run(*arguments):
        outcome = addsr("upscale", photo(), "--model", "nano", "--dry-run", "--json", *arguments)
        assert outcome.code == 0, outcome.err
        return json.loads(outcome.out), outcome.err

    return dry_run


@pytest.mark.parametrize(
    ("text", "longest"),
    [
        ("print:A3@300", 4961),  # 420 mm / 25.4 * 300
        ("print:a4", 3508),
        ("print", 3508),
        ("print:letter@150", 1650),
        ("print:10x15cm", 1772),
        ("print:8x10in@200", 2000),
        ("web:2048", 2048),
    ],
)
def test_the_longer_side_follows_from_sheet_and_resolution(text, longest):
    assert intents.options_for(text)["longest"] == longest


def test_letters_are_protected_where_the_picture_is_text(photo, upscale):
    outcome = upscale(photo(), "--for", "text", "--json")
    record = json.loads(outcome.out)
    assert 'protect = "text"' in outcome.err
    assert (record["status"], record["protected"]) == ("ok", [])  # the photo shows no text


@pytest.mark.parametrize(
    "text",
    ["poster", "print:B9", "print:A3@none", "print:A3@0", "web:wide", "web:0", "photo:2", ""],
)
def test_an_unknown_intent_names_the_known_ones(text, upscale, photo):
    with pytest.raises(UsageError) as caught:
        intents.check(text)
    assert "print:A3@300" in caught.value.hint


def test_a_wrong_intent_is_an_error_of_usage(upscale, photo):
    outcome = upscale(photo(), "--for", "poster")
    assert (outcome.code, len(outcome.lines)) == (2, 1)


def test_an_intent_sets_ordinary_options_and_says_which(planned):
    record, messages = planned("--for", "web:96")
    assert max(record["size_out"]) == 96
    assert record["output"].endswith(".webp")
    assert "--for web:96 sets" in messages
    assert "longest = 96" in messages


@pytest.mark.parametrize(
    "explicit",
    [("--scale", 2), ("--format", "jpg"), ("-o", "out.png")],
)
def test_explicit_options_win(planned, explicit):
    plain, _ = planned(*explicit)
    record, messages = planned("--for", "web:96", *explicit)
    if explicit[0] in ("--format", "-o"):
        assert Path(record["output"]).suffix == Path(plain["output"]).suffix
    else:
        assert record["size_out"] == plain["size_out"]
        assert "longest" not in messages


def test_an_intent_is_as_strong_as_its_source(planned, tmp_path, monkeypatch):
    (tmp_path / "addsr.toml").write_text("scale = 3\n")
    assert max(planned("--for", "web:96")[0]["size_out"]) == 96
    monkeypatch.setenv("ADDSR_SCALE", "2")
    monkeypatch.setenv("ADDSR_INTENT", "web:96")
    plain, _ = planned("--scale", 2)
    assert planned()[0]["size_out"] == plain["size_out"]


def test_the_resolution_of_a_print_is_in_the_file(photo, upscale):
    outcome = upscale(photo(), "--for", "print:A6@40", "-o", "out.png", "--model", "nano")
    assert outcome.code == 0
    with Image.open("out.png") as image:
        assert image.info["dpi"] == pytest.approx((40, 40), abs=0.1)
        assert max(image.size) == 233


def test_a_preview_is_the_square_around_a_point():
    assert Preview(side=20, x=0.5, y=0.3).box(100, 100) == (40, 20, 60, 40)
    assert Preview(side=20, x=0.0, y=1.0).box(100, 50) == (0, 30, 20, 50)
    assert Preview(side=500).box(100, 50) == (0, 0, 100, 50)


@pytest.mark.parametrize(
    ("text", "preview"),
    [
        ("512", Preview(side=512)),
        ("64@0.25,1", Preview(side=64, x=0.25, y=1.0)),
        ("64@.5,0", Preview(side=64, x=0.5, y=0.0)),
    ],
)
def test_a_preview_is_written_as_side_and_shares(text, preview):
    assert parse_preview(text) == preview


@pytest.mark.parametrize("text", ["", "0", "big", "64@0.5", "64@2,0", "64@1.5,0.5", "64@50,50"])
def test_a_wrong_preview_shows_how_to_write_it(text):
    with pytest.raises(UsageError) as caught:
        parse_preview(text)
    assert "512@0.5,0.3" in caught.value.hint


def test_a_preview_upscales_only_the_square(tmp_path, upscale):
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:20, 30:] = (220, 30, 30)
    Image.fromarray(pixels).save("photo.png")
    outcome = upscale("photo.png", "--preview", "16@0.75,0.25", "--longest", 120)
    assert outcome.code == 0
    with Image.open("photo_x2_preview.png") as image:
        assert image.size == (32, 32)  # enlarged like the whole photo, from 60 to 120
        assert np.abs(np.asarray(image).mean(axis=(0, 1)) - (220, 30, 30)).max() < 12
    assert not Path("photo_x2.png").exists()


def test_the_result_is_opened_only_when_it_is_written(photo, upscale, monkeypatch):
    opened = []
    monkeypatch.setattr(open_files, "has_display", lambda: True)
    monkeypatch.setattr(open_files.typer, "launch", lambda path: opened.append(path) or 0)
    picture = photo()
    upscale(picture, "--open", "--dry-run", "-o", "out.png")
    upscale("missing.jpg", "--open")
    assert opened == []
    upscale(picture, "--open", "-o", "out.png")
    assert opened == [str(Path("out.png").absolute())]


def test_without_a_program_that_opens_files_there_is_a_warning(photo, upscale, monkeypatch):
    monkeypatch.setattr(open_files, "has_display", lambda: True)
    monkeypatch.setattr(open_files.typer, "launch", lambda _path: 1)
    outcome = upscale(photo(), "--open", "-o", "out.png")
    assert outcome.code == 0
    assert "xdg-utils" in outcome.err


def test_without_a_screen_no_program_is_started(photo, upscale, monkeypatch):
    opened = []
    monkeypatch.setattr(open_files, "has_display", lambda: False)
    monkeypatch.setattr(open_files.typer, "launch", opened.append)
    outcome = upscale(photo(), "--open", "-o", "out.png")
    assert outcome.code == 0
    assert opened == []
    assert "no screen" in outcome.err

"""``--like`` repeats the settings in a result; ``addsr verify`` says whether it came from them."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from addsr_cli.engine.provenance import read_provenance


@pytest.fixture
def repeated(upscale, addsr, photo, tmp_path):
    """Return a function that makes a result, repeats it with ``--like``, and returns both paths."""

    def make(suffix, *arguments, source="photo.png"):
        photo(source)
        first, second = tmp_path / f"first{suffix}", tmp_path / f"second{suffix}"
        assert upscale(source, "-o", first, *arguments).code == 0
        outcome = addsr("upscale", source, "--like", first, "-o", second)
        assert outcome.code == 0, outcome.err
        assert f"--like {first} sets" in outcome.err
        return first, second

    return make


@pytest.mark.parametrize(
    ("suffix", "arguments"),
    [
        (".png", ["--scale", 2, "--seed", 7, "--max-drift", 3]),
        (".jpg", ["--longest", 50, "--quality", 71, "--color", "none", "--dpi", 123]),
        (".webp", ["--width", 60, "--lossless", "--fidelity", 0.8]),
        (".tif", ["--scale", 1.5, "--bit-depth", 16]),
    ],
)
def test_the_same_photo_gives_the_same_bytes(repeated, addsr, suffix, arguments):
    first, second = repeated(suffix, *arguments)

    assert first.read_bytes() == second.read_bytes()
    outcome = addsr("verify", first, "photo.png")
    assert (outcome.code, "yes, the same bytes" in outcome.out) == (0, True), outcome


def test_explicit_options_override_what_is_embedded(upscale, addsr, photo):
    upscale(photo(), "--scale", 2, "--seed", 7, "-o", "first.png")

    outcome = addsr(
        "upscale", "photo.jpg", "--like", "first.png", "--longest", 40, "--json", "-o", "b.png"
    )

    record = json.loads(outcome.out)
    assert (max(record["size_out"]), record["seed"], record["steps"]) == (40, 7, 1)
    assert ", scale" not in next(line for line in outcome.lines if line.startswith("--like"))


def test_no_path_is_embedded(upscale, photo, tmp_path):
    upscale(photo(), "-o", tmp_path / "out.png")

    assert str(tmp_path) not in read_provenance(tmp_path / "out.png").text


def test_another_photo_is_refuted(upscale, addsr, photo):
    upscale(photo("a.png"), "-o", "out.png")
    photo("b.png", (20, 20))

    outcome = addsr("verify", "out.png", "b.png", "--json")

    assert outcome.code == 8
    assert json.loads(outcome.out)["status"] == "refuted"
    assert json.loads(outcome.out)["largest_difference"] is None


def test_a_retouched_result_is_refuted_and_a_tolerance_accepts_it(upscale, addsr, photo):
    upscale(photo("a.png"), "--scale", 2, "-o", "out.png")
    with Image.open("out.png") as image:
        pixels = np.asarray(image).copy()
        pixels[3, 4] ^= 2
        texts = PngInfo()
        texts.add_itxt("XML:com.adobe.xmp", image.info["xmp"].decode())
        Image.fromarray(pixels).save("edited.png", pnginfo=texts)
        image.save("saved.png", pnginfo=texts, compress_level=1)

    refuted = addsr("verify", "edited.png", "a.png")
    accepted = addsr("verify", "edited.png", "a.png", "--tolerance", 2)
    saved = addsr("verify", "saved.png", "a.png")

    assert (refuted.code, accepted.code, saved.code) == (8, 0, 0)
    assert "differ by up to 2 of 255" in refuted.out
    assert "the same pixels" in saved.out


def test_a_file_without_settings_is_an_error_of_usage(addsr, photo):
    for arguments in (["verify", photo("a.png"), "a.png"], ["upscale", "a.png", "--like", "a.png"]):
        outcome = addsr(*arguments)
        assert outcome.code == 2
        assert "a.png contains no settings of addsr" in outcome.err


def test_other_weights_than_those_named_are_refused(upscale, addsr, photo, monkeypatch):
    upscale(photo("a.png"), "-o", "out.png")
    monkeypatch.setattr("addsr_cli.engine.upscaler.Upscaler.digest", lambda self: "0" * 64)

    for arguments in (["verify", "out.png", "a.png"], ["upscale", "a.png", "--like", "out.png"]):
        outcome = addsr(*arguments, *(["--overwrite"] if arguments[0] == "upscale" else []))
        assert outcome.code == 4
        assert "was made with nano" in outcome.err


@pytest.fixture
def masked(upscale, photo):
    """Two masks, and a result that the first one protected."""
    for name, columns in (("mask.png", slice(8, None)), ("other.png", slice(0, 8))):
        mask = np.zeros((16, 16), np.uint8)
        mask[:, columns] = 255
        Image.fromarray(mask).save(name)
    assert upscale(photo("a.png"), "-s", 2, "--protect", "mask.png", "-o", "out.png").code == 0


def test_a_result_with_a_mask_is_repeated_with_that_mask_only(masked, addsr):
    refused = addsr("upscale", "a.png", "--like", "out.png", "-o", "b.png")
    repeated = addsr(
        "upscale", "a.png", "--like", "out.png", "--protect", "mask.png", "-o", "b.png"
    )
    without = addsr("upscale", "a.png", "--like", "out.png", "--protect", "", "-o", "c.png")

    assert refused.code == 2
    assert "out.png was protected by a mask, which is not in it" in refused.err
    assert (repeated.code, without.code) == (0, 0)
    assert Path("b.png").read_bytes() == Path("out.png").read_bytes()
    assert read_provenance(Path("c.png")).mask_sha256 == ""


@pytest.mark.parametrize(
    ("mask", "code", "answer"),
    [
        (["--protect", "mask.png"], 0, "yes, the same bytes"),
        (["--protect", "other.png"], 8, "a mask with other pixels"),
        ([], 2, "Add --protect MASK"),
    ],
)
def test_verify_asks_for_the_mask(masked, addsr, mask, code, answer):
    outcome = addsr("verify", "out.png", "a.png", *mask)

    assert outcome.code == code
    assert answer in outcome.out + outcome.err

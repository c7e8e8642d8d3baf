import json

import pytest
from PIL import Image


@pytest.mark.parametrize(
    ("arguments", "size"),
    [
        ([], (96, 72)),
        (["--scale", "4"], (96, 72)),
        (["--scale", "2"], (48, 36)),
        (["--scale", "2x"], (48, 36)),
        (["--scale", "X1.5"], (36, 27)),
        (["--scale", "1.5"], (36, 27)),
        (["--scale", "3.37"], (81, 61)),
        (["--scale", "6"], (144, 108)),
        (["--scale", "1"], (24, 18)),
        (["--scale", "0.5"], (12, 9)),
        (["--width", "100"], (100, 75)),
        (["--height", "101"], (135, 101)),
        (["--longest", "77"], (77, 58)),
        (["--shortest", "50"], (67, 50)),
    ],
)
def test_output_has_exactly_the_requested_size(photo, upscale, arguments, size):
    with Image.open(upscale(photo(), *arguments).out.strip()) as image:
        assert image.size == size


def test_longest_and_shortest_follow_the_side_of_a_portrait(photo, upscale):
    source = photo(size=(18, 24))
    with Image.open(upscale(source, "--longest", 96).out.strip()) as image:
        assert image.size == (72, 96)


@pytest.mark.parametrize(
    ("size", "large"), [((1, 1), (4, 4)), ((1, 7), (4, 28)), ((3, 5), (12, 20))]
)
def test_tiny_pictures_work(photo, upscale, size, large):
    with Image.open(upscale(photo("p.png", size)).out.strip()) as image:
        assert image.size == large


@pytest.mark.parametrize("other", ["--width", "--height", "--longest", "--shortest"])
def test_two_size_options_exclude_each_other(photo, upscale, tree, other):
    outcome = upscale(photo(), "--scale", 2, other, 50)
    assert (outcome.code, len(outcome.lines)) == (2, 1)
    assert tree() == {"photo.jpg"}


def test_a_rotated_photo_is_upright_in_its_output(photo, upscale):
    source = photo()
    with Image.open(source) as image:
        exif = image.getexif()
        exif[274] = 6
        image.save(source, exif=exif)
    with Image.open(upscale(source).out.strip()) as image:
        assert image.size == (72, 96)
        assert image.getexif().get(274, 1) == 1


@pytest.mark.parametrize("arguments", [["--scale", "0.5"], ["--longest", "12"]])
def test_a_smaller_size_is_reported_to_need_no_model(photo, upscale, arguments):
    outcome = upscale(photo("p.png"), *arguments)
    assert outcome.code == 0
    assert (
        "warning: p.png: 12x9 is smaller than the photo, so it was only resized, without the model"
        in outcome.lines
    )
    assert any(": 12x9, only resized, in " in line for line in outcome.lines)
    with Image.open(outcome.out.strip()) as image:
        assert b"addsr" not in str(image.info).encode()
    planned = upscale("p.png", *arguments, "--dry-run")
    assert "smaller than the photo: only resized, without the model" in planned.out


def test_a_smaller_size_in_json_has_no_plan_and_no_model(photo, upscale):
    for more in ([], ["--dry-run", "--overwrite"]):
        record = json.loads(upscale(photo(), "--scale", 0.5, "--json", *more).out)
        assert (record["plan"], record["model"], record["steps"]) == (None, None, 0)


def test_a_batch_makes_large_photos_smaller_and_small_ones_larger(photo, addsr):
    photo("in/large.png", (48, 36)), photo("in/small.png", (12, 9))
    outcome = addsr("batch", "in", "--longest", 24, "--model", "nano", "--steps", 1, "-o", "out")
    assert outcome.code == 0
    for path in outcome.out.split():
        with Image.open(path) as image:
            assert image.size == (24, 18)
    assert "2 done" in outcome.err

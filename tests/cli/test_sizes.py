import pytest
from PIL import Image


@pytest.mark.parametrize(
    ("words", "size"),
    [
        ([], (96, 72)),
        (["--scale", "4"], (96, 72)),
        (["--scale", "2"], (48, 36)),
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
def test_output_has_exactly_the_size_asked_for(photo, upscale, words, size):
    with Image.open(upscale(photo(), *words).out.strip()) as image:
        assert image.size == size


def test_longest_and_shortest_follow_the_side_of_a_portrait(photo, upscale):
    source = photo(size=(18, 24))
    with Image.open(upscale(source, "--longest", 96).out.strip()) as image:
        assert image.size == (72, 96)


@pytest.mark.parametrize(("size", "large"), [((1, 1), (4, 4)), ((1, 7), (4, 28)), ((3, 5), (12, 20))])
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

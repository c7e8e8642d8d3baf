import pytest
from PIL import Image


def paths(outcome):
    assert outcome.code == 0, outcome.err
    return outcome.out.split()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("photo.jpg", "photo_x4.jpg"),
        ("photo.jpeg", "photo_x4.jpeg"),
        ("photo.png", "photo_x4.png"),
        ("photo.webp", "photo_x4.webp"),
        ("photo.tiff", "photo_x4.tiff"),
        ("photo.bmp", "photo_x4.png"),
        ("in/photo.jpg", "in/photo_x4.jpg"),
        ("two.dots.jpg", "two.dots_x4.jpg"),
        ("höhe {1} äöü.jpg", "höhe {1} äöü_x4.jpg"),
    ],
)
def test_the_default_output_is_beside_the_input(photo, upscale, tree, name, expected):
    photo(name)
    assert upscale(name).out == f"{expected}\n"
    assert tree() == {name, expected}


def test_the_format_stays(photo, upscale):
    with Image.open(*paths(upscale(photo("photo.webp")))) as image:
        assert image.format == "WEBP"


@pytest.mark.parametrize("name", ["photo.jpg", "photo.jpeg"])
def test_a_jpeg_photo_written_as_jpeg_xl_is_named_so(photo, upscale, tree, name):
    pytest.importorskip("pyjpegxl")
    assert upscale(photo(name), "--format", "jxl").out == "photo_x4.jxl\n"
    assert tree() == {name, "photo_x4.jxl"}


def test_a_format_without_alpha_gives_way_to_png(photo, upscale):
    Image.new("RGBA", (8, 8), (9, 9, 9, 90)).save("glass.ico", sizes=[(8, 8)])
    with Image.open(*paths(upscale("glass.ico"))) as image:
        assert (image.format, image.mode) == ("PNG", "RGBA")


def test_alpha_survives(photo, upscale):
    with Image.open(*paths(upscale(photo("photo.png", mode="RGBA")))) as image:
        assert (image.format, image.mode) == ("PNG", "RGBA")


@pytest.mark.parametrize(
    ("word", "name"),
    [
        *(("png", "PNG"), ("jpg", "JPEG"), ("webp", "WEBP"), ("tiff", "TIFF")),
        *(("jpeg", "JPEG"), ("tif", "TIFF"), ("JPG", "JPEG")),
    ],
)
def test_format_chooses_the_format_and_the_suffix(photo, upscale, word, name):
    (path,) = paths(upscale(photo("photo.bmp"), "--format", word))
    with Image.open(path) as image:
        assert image.format == name


def test_the_suffix_of_the_output_chooses_the_format(photo, upscale):
    with Image.open(*paths(upscale(photo(), "-o", "big.png"))) as image:
        assert image.format == "PNG"


def test_missing_output_folders_are_created(photo, upscale, tree):
    assert paths(upscale(photo(), "-o", "new/deep/big.jpg")) == ["new/deep/big.jpg"]
    assert "new/deep/big.jpg" in tree()


def test_several_photos_go_into_one_folder(photo, upscale):
    assert paths(upscale(photo("a.jpg"), photo("b.png"), "-o", "out")) == [
        "out/a_x4.jpg",
        "out/b_x4.png",
    ]


@pytest.mark.parametrize("output", ["newdir/", "here"])
def test_one_photo_goes_into_a_folder_that_ends_in_a_slash_or_exists(
    photo, upscale, tmp_path, output
):
    (tmp_path / "here").mkdir()
    assert paths(upscale(photo(), "-o", output)) == [f"{output.rstrip('/')}/photo_x4.jpg"]


@pytest.mark.parametrize("more", [[], ["--format", "png"]])
def test_a_name_without_a_suffix_is_refused_with_both_readings(photo, addsr, tree, more):
    outcome = addsr("upscale", photo(), "-o", "newdir", *more)
    assert (outcome.code, outcome.out, len(outcome.lines)) == (2, "", 1)
    assert "For a folder write newdir/, for a file newdir.png" in outcome.err
    assert tree() == {"photo.jpg"}


@pytest.mark.parametrize("output", ["out", "v1.5"])
def test_several_photos_make_a_folder_of_any_name_that_is_no_picture(photo, upscale, output):
    outputs = paths(upscale(photo("a.jpg"), photo("b.jpg"), "-o", output))
    assert outputs == [f"{output}/a_x4.jpg", f"{output}/b_x4.jpg"]


@pytest.mark.parametrize(
    "arguments", [["-o", "foo.png"], ["--name", "foo.png"], ["--name", "{stem}.jpeg"]]
)
def test_two_formats_contradict_each_other(photo, addsr, tree, arguments):
    outcome = addsr("upscale", photo(), *arguments, "--format", "webp")
    assert (outcome.code, outcome.out, len(outcome.lines)) == (2, "", 1)
    assert "two formats" in outcome.err
    assert tree() == {"photo.jpg"}


def test_the_same_format_may_be_named_twice(photo, upscale):
    assert paths(upscale(photo(), "-o", "foo.tif", "--format", "tiff")) == ["foo.tif"]


@pytest.mark.parametrize("output", ["taken.jpg", "new.jpg"])
def test_several_photos_do_not_fit_into_one_file(photo, upscale, tree, output):
    first, second, existing = photo("a.jpg"), photo("b.jpg"), photo("taken.jpg")
    before = existing.read_bytes()
    outcome = upscale(first, second, "-o", output)
    assert (outcome.code, outcome.out, len(outcome.lines)) == (2, "", 1)
    assert existing.read_bytes() == before
    assert tree() == {"a.jpg", "b.jpg", "taken.jpg"}


def test_a_new_folder_may_have_a_dot_in_its_name(photo, upscale):
    assert paths(upscale(photo("a.jpg"), photo("b.jpg"), "-o", "v1.5/")) == [
        "v1.5/a_x4.jpg",
        "v1.5/b_x4.jpg",
    ]


def test_the_name_template_knows_all_its_parts(photo, upscale):
    template = "{stem}-{scale}-{model}-{steps}-{seed}-{width}x{height}{ext}"
    assert paths(upscale(photo(), "--name", template, "--seed", 3)) == [
        "photo-4-nano-1-3-96x72.jpg"
    ]


def test_the_scale_in_the_name_is_the_requested_one(photo, upscale):
    assert paths(upscale(photo(), "--scale", 3.37)) == ["photo_x3.37.jpg"]


def test_a_name_with_its_own_suffix_chooses_the_format(photo, upscale):
    with Image.open(*paths(upscale(photo(), "--name", "{stem}_big.png"))) as image:
        assert image.format == "PNG"


@pytest.mark.parametrize(
    "template",
    [
        "sub/{stem}{ext}",
        "../{stem}{ext}",
        "{bogus}{ext}",
        "{}{ext}",
        "{stem.x}",
        "{stem[a]}",
        "{stem",
        "",
    ],
)
def test_a_template_that_makes_no_file_name_is_refused(photo, upscale, tree, template):
    outcome = upscale(photo(), "--name", template)
    assert (outcome.code, outcome.out, len(outcome.lines)) == (2, "", 1)
    assert tree() == {"photo.jpg"}


def test_samples_make_different_pictures_named_by_their_seeds(photo, addsr, tmp_path):
    outputs = paths(addsr("upscale", "--model", "nano", photo(), "--samples", 3, "--seed", 7))
    assert outputs == ["photo_x4_s7.jpg", "photo_x4_s8.jpg", "photo_x4_s9.jpg"]
    assert len({(tmp_path / path).read_bytes() for path in outputs}) == 3


def test_equal_samples_are_warned_about(photo, upscale, monkeypatch):
    from addsr_cli import noise

    original = noise.placed_noise
    # As with a model that ignores the seed.
    monkeypatch.setattr(noise, "placed_noise", lambda seed, top, left: original(0, top, left))
    outcome = upscale(photo("a.png"), photo("b.png"), "--samples", 2)
    warnings = [line for line in outcome.lines if "does not depend on the seed" in line]
    assert [line.split(": ")[1] for line in warnings] == ["a.png", "b.png"]


def test_different_samples_are_not_warned_about(photo, addsr):
    outcome = addsr("upscale", "--model", "nano", photo("a.png"), "--samples", 2)
    assert "does not depend on the seed" not in outcome.err


def test_a_sample_is_the_picture_its_seed_gives_alone(photo, addsr):
    from addsr_cli.imageio import read

    source = photo("photo.png")
    addsr("upscale", "--model", "nano", source, "--samples", 2)
    addsr("upscale", "--model", "nano", source, "--seed", 1, "-o", "alone.png")
    assert (
        read(source.with_name("photo_x4_s1.png")).rgb == read(source.with_name("alone.png")).rgb
    ).all()


@pytest.mark.parametrize(
    ("names", "more"),
    [
        (["a.jpg", "a.png"], ["--format", "png"]),
        (["one/a.jpg", "two/a.jpg"], ["-o", "out"]),
        (["a.jpg", "./a.jpg"], []),
        (["a.jpg", "b.jpg"], ["--name", "same{ext}"]),
        (["a.jpg", "a_x4.jpg"], ["--overwrite"]),
        (["a.jpg"], ["--samples", "2", "--name", "same.jpg"]),
    ],
)
def test_outputs_that_collide_are_refused_before_any_work(photo, upscale, tree, names, more):
    for name in names:
        photo(name)
    before = tree()
    outcome = upscale(*names, *more)
    assert (outcome.code, outcome.out, len(outcome.lines)) == (7, "", 1)
    assert tree() == before


@pytest.mark.parametrize("name", ["photo_x4.jpg", "given.jpg"])
def test_an_existing_output_is_refused_and_untouched(photo, upscale, tmp_path, name):
    source = photo()
    (tmp_path / name).write_bytes(b"precious")
    outcome = upscale(source, *([] if name == "photo_x4.jpg" else ["-o", name]))
    assert (outcome.code, outcome.out) == (7, "")
    assert "--overwrite" in outcome.err
    assert (tmp_path / name).read_bytes() == b"precious"


def test_overwrite_replaces_the_output(photo, upscale, tmp_path):
    (tmp_path / "photo_x4.jpg").write_bytes(b"old")
    with Image.open(*paths(upscale(photo(), "--overwrite"))) as image:
        assert image.size == (96, 72)


def test_overwrite_may_replace_the_input_itself(photo, upscale):
    with Image.open(*paths(upscale(photo(), "-o", "photo.jpg", "--overwrite"))) as image:
        assert image.size == (96, 72)


def test_a_picture_too_large_for_its_format_is_refused_before_any_work(photo, upscale, tree):
    outcome = upscale(photo("wide.png", (4200, 2)), "--format", "webp")
    assert outcome.code == 7
    assert "16383" in outcome.err
    assert tree() == {"wide.png"}


def test_settings_are_embedded_with_the_note_that_it_was_upscaled(photo, upscale, tmp_path):
    data = (tmp_path / paths(upscale(photo(), "--seed", 42))[0]).read_bytes()
    assert b"AI-upscaled with addsr" in data
    assert b"seed=42" in data


def test_no_metadata_leaves_the_settings_out(photo, upscale, tmp_path):
    data = (tmp_path / paths(upscale(photo(), "--no-metadata"))[0]).read_bytes()
    assert b"addsr" not in data

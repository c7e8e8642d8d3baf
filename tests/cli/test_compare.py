import json
import re
from base64 import b64decode
from io import BytesIO
from pathlib import Path

import pytest
from cli.conftest import picture
from PIL import Image, ImageCms


@pytest.fixture
def pair(photo):
    return photo("a.jpg", (24, 18)), photo("b.png", (96, 72))


def labels(page):
    return re.findall('class="label">(.*?)<', Path(page).read_text(encoding="utf-8"))


def test_the_page_lies_beside_the_first_picture_and_its_path_is_all_of_stdout(
    pair, photo, addsr, tree
):
    first = photo("folder/c.jpg")
    outcome = addsr("compare", first, *pair)
    assert (outcome.code, outcome.out) == (0, "folder/c_compare.html\n")
    assert tree() == {"a.jpg", "b.png", "folder/c.jpg", "folder/c_compare.html"}
    assert labels("folder/c_compare.html") == ["c.jpg", "a.jpg", "b.png"]


@pytest.mark.parametrize(
    ("output", "expected"),
    [("page.html", "page.html"), ("P.HTM", "P.HTM"), ("out/", "out/a_compare.html")],
)
def test_the_output_may_be_a_file_or_a_folder(pair, addsr, output, expected):
    assert addsr("compare", *pair, "-o", output).out == f"{expected}\n"
    assert Path(expected).is_file()


def test_json_describes_the_page(pair, addsr):
    record = json.loads(addsr("compare", *pair, "--json").out)
    assert record["output"] == "a_compare.html"
    assert record["bytes"] == Path("a_compare.html").stat().st_size
    assert [(p["input"], p["size"]) for p in record["pictures"]] == [
        ("a.jpg", [24, 18]),
        ("b.png", [96, 72]),
    ]


def test_labels_and_title_are_as_given(pair, addsr):
    assert addsr("compare", *pair, "--label", "one <b>", "--title", "x & y").code == 0
    assert labels("a_compare.html") == ["one &lt;b&gt;", "b.png"]
    assert "<title>x &amp; y</title>" in Path("a_compare.html").read_text(encoding="utf-8")


def test_equal_file_names_are_distinguished_by_their_folders(photo, addsr):
    addsr("compare", photo("x/a.jpg"), photo("y/a.jpg"), "-o", "page.html")
    assert labels("page.html") == ["x/a.jpg", "y/a.jpg"]


def test_quiet_prints_nothing_and_the_default_writes_to_stderr(pair, addsr):
    assert "2 pictures -> a_compare.html" in addsr("compare", *pair).err
    assert addsr("compare", *pair, "--overwrite", "--quiet").err == ""


def test_a_reduced_picture_is_reported(pair, addsr):
    assert "b.png: reduced to 50 px" in addsr("compare", *pair, "--max-side", 50).err


def test_an_existing_page_is_replaced_only_with_overwrite(pair, addsr):
    Path("a_compare.html").write_text("mine")
    outcome = addsr("compare", *pair)
    assert (outcome.code, Path("a_compare.html").read_text()) == (7, "mine")
    assert "--overwrite" in outcome.err
    assert addsr("compare", *pair, "--overwrite").code == 0
    assert len(labels("a_compare.html")) == 2


@pytest.mark.parametrize("content", [b"", b"no picture"])
def test_bad_input_is_6_and_writes_nothing(pair, addsr, tree, content):
    Path("bad.png").write_bytes(content)
    assert addsr("compare", *pair, "bad.png").code == 6
    assert tree() == {"a.jpg", "b.png", "bad.png"}
    assert addsr("compare", pair[0], "missing.png").code == 6


@pytest.mark.parametrize(
    "arguments",
    [
        ["a.jpg"],
        ["a.jpg"] * 9,
        [],
        ["a.jpg", "tall.jpg"],
        ["a.jpg", "b.png", *["--label", "x"] * 3],
        ["a.jpg", "b.png", "-o", "a.jpg", "--overwrite"],
        ["a.jpg", "b.png", "-o", "-"],
        ["a.jpg", "b.png", "--quality", "0"],
        ["a.jpg", "b.png", "--max-side", "99999"],
    ],
    ids=" ".join,
)
def test_invalid_arguments_are_one_line_and_exit_2(pair, photo, addsr, tree, arguments):
    photo("tall.jpg", (18, 24))
    outcome = addsr("compare", *arguments)
    assert (outcome.code, outcome.out, len(outcome.lines)) == (2, "", 1)
    assert tree() == {"a.jpg", "b.png", "tall.jpg"}


def test_upscale_writes_before_and_after_beside_the_output(photo, upscale, tree):
    record = json.loads(upscale(photo(), "--compare", "-o", "out/big.png", "--json").out)
    assert record["compare"] == "out/big_compare.html"
    assert tree() == {"photo.jpg", "out/big.png", "out/big_compare.html"}
    assert labels(record["compare"]) == ["Before", "After: nano, 1 step, seed 0"]
    page = Path(record["compare"]).read_text(encoding="utf-8")
    assert re.findall('class="size">(.*?)<', page) == ["24 &times; 18", "96 &times; 72"]


def test_upscale_reports_null_without_a_page(photo, upscale):
    assert json.loads(upscale(photo(), "--json").out)["compare"] is None


def test_every_sample_gets_its_page(photo, upscale, tree):
    upscale(photo(), "--compare", "--samples", 2)
    assert {name for name in tree() if name.endswith(".html")} == {
        "photo_x4_s0_compare.html",
        "photo_x4_s1_compare.html",
    }


def test_upscale_refuses_an_existing_page_before_any_work(photo, upscale, tree, denoise):
    denoise(lambda *_: pytest.fail("the network ran"))
    Path("photo_x4_compare.html").write_text("mine")
    assert upscale(photo(), "--compare").code == 7
    assert tree() == {"photo.jpg", "photo_x4_compare.html"}


def test_upscale_replaces_a_page_with_overwrite(photo, upscale):
    Path("photo_x4_compare.html").write_text("mine")
    assert upscale(photo(), "--compare", "--overwrite").code == 0
    assert labels("photo_x4_compare.html")[0] == "Before"


def test_two_photos_that_would_share_a_page_are_refused(photo, upscale, tree):
    outcome = upscale(photo("a.jpg"), photo("a.png"), "--compare")
    assert (outcome.code, tree()) == (7, {"a.jpg", "a.png"})
    assert "a_x4_compare.html" in outcome.err


def test_a_page_has_no_place_in_stdout(photo, upscale, tree):
    outcome = upscale(photo(), "--compare", "-o", "-")
    assert (outcome.code, outcome.out, tree()) == (2, "", {"photo.jpg"})


def test_a_dry_run_names_the_page_and_writes_none(photo, upscale, tree):
    assert (
        json.loads(upscale(photo(), "--compare", "--dry-run", "--json").out)["compare"]
        == "photo_x4_compare.html"
    )
    assert tree() == {"photo.jpg"}


@pytest.mark.parametrize("arguments", [["--scale", 0.3], ["--width", 7], ["--longest", 5]], ids=str)
def test_rounded_sizes_are_no_other_shape(photo, upscale, arguments):
    assert upscale(photo(size=(37, 5)), "--compare", *arguments).code == 0


def test_transparency_and_profile_come_into_the_page(upscale):
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture(mode="RGBA").save("p.png", icc_profile=icc)
    assert upscale("p.png", "--compare").code == 0
    page = Path("p_x4_compare.html").read_text(encoding="utf-8")
    before, after = (
        Image.open(BytesIO(b64decode(data))) for data in re.findall('png;base64,([^"]+)', page)
    )
    assert (before.mode, before.size, after.mode, after.size) == (
        "RGBA",
        (24, 18),
        "RGBA",
        (96, 72),
    )
    assert before.info["icc_profile"] == after.info["icc_profile"] == icc

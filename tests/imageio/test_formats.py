from dataclasses import replace
from pathlib import Path

import pytest

from addsr_cli.errors import UsageError
from addsr_cli.imageio import Header, choose_format, suffix_for
from addsr_cli.imageio.formats import FORMATS, require_format


def header(fmt, alpha=False):
    return Header(format=fmt, width=4, height=4, mode="RGB", bit_depth=8, has_alpha=alpha, frames=1)


@pytest.mark.parametrize(
    ("source", "chosen"),
    [
        (header("JPEG"), "JPEG"),
        (header("WEBP", alpha=True), "WEBP"),
        (header("JPEG", alpha=True), "PNG"),
        (header("GIF"), "PNG"),
        (header("BMP"), "PNG"),
    ],
)
def test_the_input_format_is_kept_where_it_can_be(source, chosen):
    assert choose_format(source) == chosen


def test_wishes_win_over_the_suffix_and_the_suffix_over_the_input():
    assert choose_format(header("JPEG"), suffix=".webp", explicit="tif") == "TIFF"
    assert choose_format(header("JPEG"), suffix=".webp") == "WEBP"


@pytest.mark.parametrize(
    ("name", "suffix"), [("JPEG", ".jpg"), ("jpg", ".jpg"), ("TIFF", ".tif"), ("AVIF", ".avif")]
)
def test_every_format_has_a_suffix(name, suffix):
    assert suffix_for(name) == suffix


@pytest.mark.parametrize("name", ["photo", "photo.bmp", "photo.x4"])
def test_unknown_suffixes_are_usage_errors(name):
    with pytest.raises(UsageError):
        require_format(Path(name))


def test_the_size_of_a_batch_is_estimated_for_every_format():
    from addsr_cli.batch.output_folder import COMPRESSION

    assert COMPRESSION.keys() == FORMATS.keys()


def test_heic_becomes_jpeg_where_that_holds_all_of_it():
    assert choose_format(header("HEIF")) == "JPEG"
    assert choose_format(header("HEIF", alpha=True)) == "PNG"
    assert choose_format(replace(header("HEIF"), bit_depth=16)) == "PNG"

"""IPTC data and comments, from and into every format."""

import struct
import time
from dataclasses import replace
from functools import partial
from io import BytesIO
from timeit import timeit

import pytest
from imageio_samples import noise, saved, smooth
from PIL import Image, IptcImagePlugin, PngImagePlugin

from addsr_cli.imageio import WriteOptions, encode, iptc, read, read_settings

CAPTION, CITY = b"\x1c\x02\x78\0\x05Hello", b"\x1c\x02\x5a\0\x04Rome"
IIM = CAPTION + CITY
SETTINGS = {"Software": "addsr", "Comment": "AI-upscaled with addsr"}


def block(number, data, name=b"\0\0"):
    return (
        b"8BIM"
        + struct.pack(">H", number)
        + name
        + struct.pack(">I", len(data))
        + data
        + b"\0" * (len(data) % 2)
    )


BLOCKS = block(1028, IIM)
ALL = (
    block(1036, b"thumbnail of the old picture")
    + block(1034, b"\1", b"\3abc")
    + BLOCKS
    + block(1005, bytes(16))
)


def segment(marker, data):
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(data) + 2) + data


def jpeg(*segments):
    return saved(Image.fromarray(smooth(6, 8)), "JPEG", extra=b"".join(segments))


@pytest.fixture
def photo():
    """A JPEG with IPTC data and two comments, one of them Latin-1."""
    comments = (b"a comment", "caf\u00e9".encode("latin-1"))
    data = jpeg(
        segment(0xED, b"Photoshop 3.0\0" + ALL), *(segment(0xFE, each) for each in comments)
    )
    return read(data)


def written(photo, fmt, settings=SETTINGS):
    warnings = []
    return encode(photo, WriteOptions(format=fmt), settings, warn=warnings.append), warnings


@pytest.mark.parametrize("fmt", ["JPEG", "TIFF"])
def test_other_programs_find_the_iptc_data(photo, fmt, tmp_path):
    data, warnings = written(photo, fmt)
    (tmp_path / "x").write_bytes(data)
    with Image.open(tmp_path / "x") as image:
        assert IptcImagePlugin.getiptcinfo(image) == {(2, 120): b"Hello", (2, 90): b"Rome"}
    assert b"thumbnail" not in data
    assert not [each for each in warnings if "IPTC" in each]


@pytest.mark.parametrize("fmt", ["JPEG", "TIFF", "PNG"])
def test_iptc_data_survives_each_format(photo, fmt):
    back = read(written(photo, fmt)[0])
    assert back.iptc == photo.iptc == BLOCKS + block(1034, b"\1")


def test_png_holds_it_as_imagemagick_does(photo):
    lines = iptc.as_raw_profile(photo.iptc).split("\n")
    assert lines[:3] == ["", "iptc", f"{len(photo.iptc):8}"]
    assert bytes.fromhex("".join(lines[3:])) == photo.iptc
    assert iptc.from_raw_profile(f"\niptc\n  {len(IIM)}\n{IIM.hex()}\n") == BLOCKS
    assert iptc.from_raw_profile("nonsense\n\n\nxyz") is None


def test_a_tiff_with_bare_iptc_data_is_understood():
    data = saved(Image.fromarray(smooth(6, 8)), "TIFF", tiffinfo={33723: IIM})
    assert read(data).iptc == BLOCKS


@pytest.mark.parametrize("fmt", ["WEBP", "AVIF"])
def test_metadata_without_a_place_in_the_format_is_a_warning(photo, fmt):
    _, warnings = written(photo, fmt)
    assert f"{fmt} has no place for IPTC data, which was left out" in warnings
    assert f"{fmt} has no place for the text of Comment, which was left out" in warnings


def test_comments_of_a_jpeg_stay_byte_for_byte(photo):
    data, warnings = written(photo, "JPEG")
    with Image.open(BytesIO(data)) as image:
        assert [value for name, value in image.applist if name == "COM"] == [
            b"a comment",
            b"caf\xe9",
        ]
    assert warnings == []


def test_comments_become_texts_of_a_png_and_ours_are_not_taken_for_them(photo):
    once = read(written(photo, "PNG")[0])
    assert once.texts == (
        ("Comment", "caf\u00e9"),
    )  # of two texts with one keyword readers show the last
    twice, warnings = written(once, "PNG")
    assert read(twice).texts == once.texts
    assert read_settings(twice) == SETTINGS
    assert warnings == []


def test_texts_of_a_png_stay_and_are_a_warning_where_there_is_no_place():
    info = PngImagePlugin.PngInfo()
    info.add_text("Title", "a title")
    info.add_text("Author", "somebody", zip=True)
    info.add_itxt("Description", "\u65e5", "ja", "\u8aac")
    photo = read(saved(Image.fromarray(noise(6, 8, 3)), "PNG", pnginfo=info))
    texts = (("Title", "a title"), ("Author", "somebody"), ("Description", "\u65e5"))
    assert photo.texts == texts
    assert read(written(photo, "PNG")[0]).texts == texts
    expected = "JPEG has no place for the text of Title, Author, Description, which was left out"
    assert written(photo, "JPEG")[1] == [expected]


def test_texts_of_addsr_are_not_stored_twice():
    photo = read(saved(Image.fromarray(noise(6, 8, 3)), "PNG"))
    once = read(written(photo, "PNG", SETTINGS | {"seed": "7"})[0])
    assert once.texts == ()
    data, _ = written(once, "PNG", {"Software": "addsr 2", "seed": "8"})
    assert data.count(b"Software") == 2  # one text, and one in the XMP


def test_without_metadata_nothing_stays(photo):
    for fmt in ("JPEG", "PNG", "TIFF"):
        warnings = []
        data = encode(
            photo, WriteOptions(format=fmt, metadata=False), SETTINGS, warn=warnings.append
        )
        back = read(data)
        assert (back.iptc, back.texts, warnings) == (None, (), [])


def test_metadata_too_long_for_a_jpeg_is_a_warning():
    photo = read(jpeg(segment(0xED, b"Photoshop 3.0\0" + block(1028, IIM))))
    long = replace(
        photo, iptc=block(1028, bytes(70_000)), texts=(("Comment", "x" * 70_000), ("Comment", "y"))
    )
    data, warnings = written(long, "JPEG")
    assert len(warnings) == 2
    assert read(data).texts == (("Comment", "y"),)


CUT = [b"", b"8BIM", b"8BIM\x04\x04", ALL[:40], b"8BIM\x04\x04\0\0\xff\xff\xff\xff", b"x" * 99]


@pytest.mark.parametrize("blocks", CUT)
def test_damaged_blocks_are_no_blocks(blocks):
    assert iptc.photo_blocks(blocks) is None


def test_a_photo_with_damaged_blocks_is_read():
    assert read(jpeg(segment(0xED, b"Photoshop 3.0\0" + ALL[:40]))).iptc is None


@pytest.mark.parametrize("blocks", [b"8BIM" + bytes(8), block(1028, b""), b"8BIM\x04\x04\xff\0"])
def test_a_megabyte_of_blocks_takes_a_tenth_of_a_second(blocks):
    look = partial(iptc.photo_blocks, blocks * (1_000_000 // len(blocks)))
    assert timeit(look, timer=time.process_time, number=1) < 0.1

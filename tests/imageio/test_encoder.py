from dataclasses import replace
from io import BytesIO

import cv2
import numpy as np
import pytest
import tifffile
from imageio_samples import MAKER_NOTE, make_exif, noise, pil_exif, smooth, srgb_profile
from PIL import Image

from addsr_cli.errors import OutputRefused, UsageError
from addsr_cli.imageio import WriteOptions, encode, from_array, read, read_settings

FORMATS = ["PNG", "JPEG", "WEBP", "TIFF", "AVIF"]
SHAPES = [(19, 23), (19, 23, 2), (19, 23, 3), (19, 23, 4)]
SETTINGS = {"Software": "addsr 0.1.0", "addsr": '{"seed": 7, "prompt": "a <b> & \\"c\\" é"}'}
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/">'
    b'<rdf:RDF><rdf:Description dc:x="1"/></rdf:RDF></x:xmpmeta>'
)


def written(photo, fmt, settings=None, warn=None, **options):
    return encode(photo, WriteOptions(format=fmt, **options), settings, warn=warn)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("fmt", ["PNG", "TIFF"])
def test_round_trips_are_exact(fmt, shape, dtype):
    array = noise(*shape, dtype=dtype)
    photo = read(written(from_array(array), fmt))
    assert photo.bit_depth == array.itemsize * 8
    if (fmt, array.itemsize, shape[2:]) == ("TIFF", 2, (2,)):
        array = array[
            :, :, [0, 0, 0, 1]
        ]  # written as colour: no common reader takes 16-bit grey with alpha
    np.testing.assert_array_equal(photo.to_array(), array)


@pytest.mark.parametrize("shape", [(19, 23), (19, 23, 2), (19, 23, 3), (19, 23, 4)])
def test_a_lossless_webp_is_exact_under_transparency_too(shape):
    array = noise(*shape)
    photo = read(written(from_array(array), "WEBP", lossless=True))
    np.testing.assert_array_equal(
        photo.to_array()[..., -1], array if array.ndim == 2 else array[..., -1]
    )


@pytest.mark.parametrize("exif", [None, make_exif(1, endian="<"), make_exif(1, endian=">")])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(700, 600), (700, 600, 3), (700, 600, 4)])
def test_tifffile_agrees_on_our_tiffs(shape, dtype, exif):
    array = noise(*shape, dtype=dtype)
    data = written(
        replace(from_array(array), exif=exif, icc=srgb_profile(), dpi=(300.0, 300.0)), "TIFF"
    )
    with tifffile.TiffFile(BytesIO(data)) as file:
        np.testing.assert_array_equal(file.pages[0].asarray(), array)
        assert file.pages[0].tags[34675].value == srgb_profile()
        assert file.pages[0].tags[282].value == (300, 1)


@pytest.mark.parametrize("shape", [(700, 600), (700, 600, 3)])
def test_opencv_agrees_on_our_sixteen_bit_pngs(shape):
    array = (smooth(700, 600).astype(np.uint16) * 257 + noise(700, 600, 3) % 9)[
        : shape[0], : shape[1]
    ]
    array = array[:, :, 0] if len(shape) == 2 else array
    decoded = cv2.imdecode(
        np.frombuffer(written(from_array(array), "PNG"), np.uint8), cv2.IMREAD_UNCHANGED
    )
    np.testing.assert_array_equal(decoded[..., ::-1] if decoded.ndim == 3 else decoded, array)


@pytest.mark.parametrize("fmt", FORMATS)
def test_settings_come_back_and_say_that_it_was_upscaled(fmt, photo):
    data = written(photo, fmt, SETTINGS)
    assert read_settings(data) == SETTINGS
    assert b"compositeWithTrainedAlgorithmicMedia" in data


def test_png_settings_are_plain_text_chunks_too(photo):
    with Image.open(BytesIO(written(photo, "PNG", SETTINGS))) as image:
        image.load()
        assert image.text.items() >= SETTINGS.items()


@pytest.mark.parametrize("fmt", FORMATS)
def test_everything_embedded_survives_together(fmt, photo):
    full = replace(photo, icc=srgb_profile(), exif=make_exif(1), xmp=XMP, dpi=(300.0, 300.0))
    back = read(written(full, fmt, SETTINGS))
    assert back.icc == full.icc
    assert b'dc:x="1"' in back.xmp
    exif = pil_exif(back.exif)
    assert exif[0x010F].rstrip("\0") == "Camera1"
    assert exif.get_ifd(0x8769)[0x927C] == MAKER_NOTE
    if fmt in ("PNG", "JPEG", "TIFF"):
        assert back.dpi == pytest.approx((300, 300), abs=0.1)


@pytest.mark.parametrize("fmt", FORMATS)
def test_sizes_in_exif_follow_the_output(fmt):
    photo = replace(from_array(smooth(60, 80)), exif=make_exif(1, width=40, height=30))
    sub = pil_exif(read(written(photo, fmt)).exif).get_ifd(0x8769)
    assert (sub[0xA002], sub[0xA003]) == (80, 60)


def test_a_size_too_large_for_a_short_becomes_a_long():
    photo = replace(from_array(np.zeros((1, 70000), np.uint8)), exif=make_exif(1))
    assert pil_exif(read(written(photo, "PNG")).exif).get_ifd(0x8769)[0xA002] == 70000


@pytest.mark.parametrize("fmt", FORMATS)
def test_without_metadata_only_the_profile_goes_in(fmt, photo):
    full = replace(photo, icc=srgb_profile(), exif=make_exif(1), xmp=XMP, dpi=(300.0, 300.0))
    data = written(full, fmt, SETTINGS, metadata=False)
    back = read(data)
    assert (back.icc, back.exif, back.xmp, read_settings(data)) == (full.icc, None, None, {})


@pytest.mark.parametrize(
    ("fmt", "gray"), [("PNG", True), ("TIFF", True), ("JPEG", True), ("WEBP", False)]
)
def test_gray_stays_gray_where_the_format_has_it(fmt, gray):
    assert read(written(from_array(smooth(30, 40, 1)), fmt)).gray is gray


@pytest.mark.parametrize("fmt", ["JPEG", "WEBP", "AVIF"])
def test_lossy_formats_stay_close(fmt, photo):
    back = read(written(photo, fmt))
    assert back.bit_depth == 8
    assert np.abs(back.rgb - photo.rgb).mean() < 0.01


@pytest.mark.parametrize("fmt", ["PNG", "WEBP", "TIFF", "AVIF"])
def test_alpha_is_kept(fmt, rgba):
    np.testing.assert_allclose(read(written(rgba, fmt)).alpha, rgba.alpha, atol=0.02)


def test_jpeg_puts_transparency_on_white_and_says_so(rgba):
    warnings = []
    clear = replace(rgba, samples=rgba.samples * np.uint8([1, 1, 1, 0]))
    assert read(written(clear, "JPEG", warn=warnings.append)).rgb.min() > 0.99
    assert "white" in warnings[0]


def test_jpeg_colour_is_not_subsampled(photo):
    with Image.open(BytesIO(written(photo, "JPEG"))) as image:
        assert [layer[1:3] for layer in image.layer] == [(1, 1)] * 3


def test_quality_makes_a_difference():
    photo = from_array(noise(64, 64, 3))
    assert len(written(photo, "JPEG", quality=30)) < len(written(photo, "JPEG", quality=95))


def test_oversize_metadata_is_dropped_from_jpeg_with_a_warning(photo):
    warnings = []
    huge = XMP.replace(b'"1"', b'"' + b"x" * 70000 + b'"')
    full = replace(photo, xmp=huge, exif=make_exif(1) + bytes(70000))
    data = written(full, "JPEG", SETTINGS, warn=warnings.append)
    assert len(warnings) == 2
    assert read_settings(data) == SETTINGS
    assert len(read(data).xmp) < 70000


def test_large_profiles_are_split_and_joined(photo):
    profile = srgb_profile() + bytes(150_000)
    assert read(written(replace(photo, icc=profile), "JPEG")).icc == profile


CONTRADICTIONS = [("JPEG", {"lossless": True}), ("WEBP", {"bit_depth": 16})]


@pytest.mark.parametrize(("fmt", "options"), CONTRADICTIONS)
def test_options_that_contradict_the_format_are_usage_errors(fmt, options):
    with pytest.raises(UsageError):
        WriteOptions(format=fmt, **options)


@pytest.mark.parametrize(("fmt", "options"), CONTRADICTIONS)
def test_options_that_contradict_the_photos_own_format_are_usage_errors(fmt, options, photo):
    with pytest.raises(UsageError):
        encode(replace(photo, format=fmt), WriteOptions(**options))


@pytest.mark.parametrize(
    "choices", [{"quality": 0}, {"quality": 101}, {"bit_depth": 12}, {"format": "bmp"}]
)
def test_impossible_options_are_usage_errors(choices):
    with pytest.raises(UsageError):
        WriteOptions(**choices)


@pytest.mark.parametrize(("fmt", "width"), [("JPEG", 65501), ("WEBP", 16384), ("AVIF", 32769)])
def test_format_limits_are_refused(fmt, width):
    with pytest.raises(OutputRefused, match="fit"):
        written(from_array(np.zeros((1, width), np.uint8)), fmt)


@pytest.mark.parametrize(("fmt", "width"), [("JPEG", 65500), ("WEBP", 16383)])
def test_pictures_at_the_limit_are_written(fmt, width):
    assert read(written(from_array(np.zeros((1, width), np.uint8)), fmt)).width == width

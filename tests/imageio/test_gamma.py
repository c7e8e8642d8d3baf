"""PNG files of another gamma or other primaries than sRGB's."""

import struct

import numpy as np
import pytest
from imageio_samples import insert_chunks, noise, saved, srgb_profile
from PIL import Image

from addsr_cli.imageio import encode, gamma, photo, read
from addsr_cli.imageio import png as png_file
from addsr_cli.imageio.formats import WriteOptions
from addsr_cli.imageio.png import chunk

ADOBE = (0.3127, 0.3290, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
ADOBE_TO_SRGB = [[1.39836, -0.39836, 0], [0, 1, 0], [0, -0.04293, 1.04293]]  # Lindbloom's, D65
LINEAR = chunk(b"gAMA", struct.pack(">I", 100_000))
USUAL = chunk(b"gAMA", struct.pack(">I", 45_455))
SRGB = chunk(b"sRGB", b"\0")


def chromaticities(values):
    return chunk(b"cHRM", struct.pack(">8I", *(round(value * 100_000) for value in values)))


def png(array, *chunks):
    return b"".join(png_file.encode(array, chunks))


def encoded(light):
    """IEC 61966-2-1."""
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.power(light, 1 / 2.4) - 0.055)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(7, 9), (7, 9, 3), (7, 9, 4)])
def test_linear_samples_become_srgb(shape, dtype):
    array = noise(*shape, dtype=dtype)
    picture = read(png(array, LINEAR))
    colour = array[..., :3] if array.ndim == 3 else array[..., None]
    expected = encoded(colour / np.iinfo(dtype).max)
    np.testing.assert_allclose(picture.rgb, np.broadcast_to(expected, picture.rgb.shape), atol=1e-5)
    assert len(picture.warnings) == 1
    assert "converted to sRGB" in picture.warnings[0]
    assert picture.has_alpha == (shape[-1] == 4)
    if picture.has_alpha:
        np.testing.assert_array_equal(picture.to_array()[..., 3], array[..., 3])


def test_a_linear_middle_grey_is_shown_as_188():
    picture = read(png(np.full((4, 4, 3), 128, np.uint8), LINEAR))
    assert set(picture.to_array().flat) == {188}
    again = read(encode(picture, WriteOptions(format="PNG")))
    assert set(again.to_array().flat) == {188}
    assert again.warnings == ()


@pytest.mark.parametrize(
    "chunks",
    [
        (),
        (USUAL,),
        (SRGB, LINEAR),
        (USUAL, chromaticities(gamma.SRGB)),
        (chunk(b"gAMA", struct.pack(">I", 0)),),
    ],
    ids=["nothing", "sRGB gamma", "srgb wins", "sRGB's own", "senseless"],
)
def test_srgb_photos_are_unchanged(chunks):
    array = noise(7, 9, 3)
    picture = read(png(array, *chunks))
    np.testing.assert_array_equal(picture.to_array(), array)
    assert picture.warnings == ()


def test_a_profile_wins_over_gamma():
    array = noise(7, 9, 3)
    data = insert_chunks(saved(Image.fromarray(array), "PNG", icc_profile=srgb_profile()), [LINEAR])
    picture = read(data)
    np.testing.assert_array_equal(picture.to_array(), array)
    assert picture.icc == srgb_profile()


def test_other_primaries_become_those_of_srgb():
    light = np.random.default_rng(0).random((5, 6, 3)) * 0.5 + 0.3
    samples = np.rint(light * 65535).astype(np.uint16)
    picture = read(png(samples, LINEAR, chromaticities(ADOBE)))
    expected = encoded(np.clip(samples / 65535 @ np.array(ADOBE_TO_SRGB).T, 0, 1))
    np.testing.assert_allclose(picture.rgb, expected, atol=2e-4)


def test_another_white_stays_white():
    other = (0.3457, 0.3585, *ADOBE[2:])  # D50
    picture = read(png(np.full((4, 4, 3), 255, np.uint8), chromaticities(other)))
    np.testing.assert_allclose(picture.rgb, 1, atol=1e-4)


@pytest.mark.parametrize(
    "values", [(0,) * 8, (0.3,) * 8, (0.3127, 0.329, 0.64, 0, 0.3, 0.6, 0.15, 0.06)]
)
def test_primaries_that_make_no_sense_are_passed_over(values):
    array = noise(7, 9, 3)
    np.testing.assert_array_equal(read(png(array, chromaticities(values))).to_array(), array)


def test_large_pictures_are_converted_in_bands(monkeypatch):
    array = noise(40, 9, 3)
    whole = read(png(array, LINEAR)).rgb
    monkeypatch.setattr(photo, "_BAND_PIXELS", 20)
    np.testing.assert_array_equal(read(png(array, LINEAR)).rgb, whole)

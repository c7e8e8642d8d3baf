"""HEIC files that pillow-heif writes; its own reading of them is not used as the reference."""

from io import BytesIO

import numpy as np
import pillow_heif
import pytest
from imageio_samples import make_exif, noise, pil_exif, saved, smooth, srgb_profile
from PIL import Image

from addsr_cli.errors import UnreadableInput
from addsr_cli.imageio import exif, extras, read, read_header, readable_suffixes
from addsr_cli.imageio.heif_file import full_range

TOLERANCE = 2 / 255
LOSSLESS = {"quality": -1, "chroma": 444, "matrix_coefficients": 0}


def heic(array, mode="RGB", **arguments):
    """A HEIC file of one picture, without loss."""
    file = pillow_heif.from_bytes(mode, (array.shape[1], array.shape[0]), array.tobytes())
    with BytesIO() as out:
        file.save(out, **LOSSLESS | arguments)
        return out.getvalue()


def test_colours_and_profile_of_a_heic_file_are_read():
    array = smooth(30, 40)
    photo = read(heic(array, icc_profile=srgb_profile()))
    assert np.abs(photo.rgb - array / np.float32(255)).max() <= TOLERANCE
    assert (photo.icc, photo.format, photo.bit_depth) == (srgb_profile(), "HEIF", 8)


def test_a_turned_heic_file_is_upright_and_its_exif_too():
    array = smooth(30, 40)
    data = heic(array, exif=b"Exif\0\0" + make_exif(orientation=6))  # turned by the file itself
    photo = read(data)
    upright = np.rot90(array, 3) / np.float32(255)
    assert photo.rgb.shape == upright.shape
    assert np.abs(photo.rgb - upright).max() <= TOLERANCE
    assert exif.orientation(photo.exif) in (None, 1)
    assert pil_exif(photo.exif)[271] == "Camera1"
    assert read_header(data).size == photo.size


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_ten_bits_fill_the_range_of_sixteen(mode):
    channels = len(mode)
    array = noise(32, 48, channels, dtype=np.uint16) // 64 * 64
    array[0] = 1023 * 64  # white
    data = heic(array, f"{mode};16", matrix_coefficients=0)
    photo, header = read(data), read_header(data)
    assert (photo.bit_depth, header.bit_depth) == (16, 16)
    assert (photo.has_alpha, photo.gray) == (header.has_alpha, header.mode == "L")
    assert photo.rgb[0].min() > 1 - TOLERANCE
    colours = array[:, :, :3].astype(np.float32) / (1023 * 64)
    assert np.abs(photo.rgb - colours).max() <= TOLERANCE


def test_integers_are_scaled_to_the_nearest_level():
    levels = np.arange(1024, dtype=np.uint16)
    exact = np.rint(levels / 1023 * 65535)
    assert np.array_equal(full_range(levels, 10), exact)


def test_the_primary_picture_of_a_burst_is_read_with_a_note():
    dark, bright = (Image.fromarray(np.full((32, 32, 3), value, np.uint8)) for value in (20, 220))
    file = pillow_heif.from_pillow(dark)
    file.add_from_pillow(bright)
    with BytesIO() as out:
        file.save(out, primary_index=1)
        photo = read(out.getvalue())
    assert photo.rgb.mean() > 0.8
    assert "2 pictures" in photo.warnings[0]


@pytest.mark.parametrize("part", [0.2, 0.7])
def test_a_truncated_heic_file_is_refused(part):
    data = heic(smooth(64, 64))
    with pytest.raises(UnreadableInput, match="damaged"):
        read(data[: int(len(data) * part)])


def test_avif_stays_with_pillow():
    assert read(saved(Image.fromarray(smooth(30, 40)), "AVIF")).format == "AVIF"


def test_without_its_library_the_message_says_how_to_install_it(monkeypatch):
    data = heic(smooth(30, 40))
    monkeypatch.setattr(extras.Extra, "installed", False)
    with pytest.raises(UnreadableInput) as caught:
        read(data)
    assert "pip install pillow-heif" in caught.value.hint
    assert ".heic" not in readable_suffixes()

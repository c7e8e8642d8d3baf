import numpy as np
import pytest
from imageio_samples import pil_exif
from raw_samples import HEIGHT, PATCHES, WIDTH, make_dng

from addsr_cli.errors import UnreadableInput
from addsr_cli.imageio import extras, gamma, read, read_header

pytest.importorskip("rawpy")


@pytest.mark.parametrize("orientation", [1, 6])
def test_raw_data_are_developed_upright_to_the_colours_of_the_scene(orientation):
    data = make_dng(orientation)
    photo = read(data)
    stored = photo.rgb if orientation == 1 else np.rot90(photo.rgb)
    assert stored.shape == (HEIGHT, WIDTH, 3)
    for (row, column), light in PATCHES.items():
        expected = gamma._encoded(np.array(light))
        assert np.abs(stored[row, column] - expected).max() <= 2 / 255
    header = read_header(data)
    assert (header.size, header.bit_depth) == (photo.size, photo.bit_depth)
    assert (photo.bit_depth, photo.format) == (16, "RAW")


def test_the_camera_is_kept_and_the_development_is_told():
    photo = read(make_dng(6))
    exif = pil_exif(photo.exif)
    assert (exif[271], exif[272], exif.get(274)) == ("Acme", "Acme One", None)
    assert "white balance" in photo.warnings[0]


def test_a_truncated_raw_file_is_refused(capfd):
    data = make_dng()
    with pytest.raises(UnreadableInput, match="raw"):
        read(data[: len(data) // 2])


def test_a_raw_file_without_picture_data_is_refused():
    with pytest.raises(UnreadableInput, match="without picture data"):
        read(make_dng(brightness=0))


def test_without_the_extra_the_message_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(extras.Extra, "installed", False)
    canon = b"II*\0\x10\0\0\0CR\x02\0" + bytes(20)
    with pytest.raises(UnreadableInput) as caught:
        read_header(canon)
    assert "rawpy" in caught.value.message
    assert "addsr[raw]" in caught.value.hint

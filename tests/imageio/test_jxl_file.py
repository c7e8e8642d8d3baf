from base64 import b64decode
from io import BytesIO

import numpy as np
import pytest
from imageio_samples import make_exif, noise, pil_exif, smooth, srgb_profile
from PIL import Image

from addsr_cli.errors import UnreadableInput, UsageError
from addsr_cli.imageio import (
    WriteOptions,
    encode,
    extras,
    from_array,
    read,
    read_header,
    read_settings,
)

pyjpegxl = pytest.importorskip("pyjpegxl")
# smooth(8, 16), stored with orientation 6 in the codestream, which no library here can write
TURNED = (
    "/wrBLRATCAABACAESyg0uBwPsTWNh9w8eKjNgwcXjmhhRUEBEQUjFsTIyOjo6BjGQHQMVmwZo4lzDI5ADMRgGAMRAA4xxqj"
    "osDFEFmMQY4xRYQxjjI6KsqkXiDygHDICIGx74ik97yfRz8dEnfrzAjb/EmYvZ+TmDB+GPtE/TwrJc5nsM22E+ISAUjCRrp"
    "Zc+Hy+47RldtCM6LqUtVjMZBap6JRhOJnlZZllN5lWzSqFro3g2RmhCSXLo3l2rNPEfe5n/h4Zsk85vHcC5jTNWj3FB+vgI"
    "7/7MHu+AGPuEPcIjHANk1sLMkjJ8X3R0PuMyKOL8RFxDRP0Z/pyD0GnzWi5BUMVBqisMD1wiWIpgMECbGAe"
)
LOSSLESS = WriteOptions(format="JXL", lossless=True)
SHAPES = [(20, 30), (20, 30, 2), (20, 30, 3), (20, 30, 4)]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_layout_survives_lossless_jpeg_xl(shape, dtype):
    array = noise(*shape, dtype=dtype)
    data = encode(from_array(array), LOSSLESS)
    photo, header = read(data), read_header(data)
    assert np.array_equal(photo.to_array(), array)
    assert (photo.format, photo.bit_depth) == ("JXL", array.itemsize * 8)
    assert (header.size, header.bit_depth) == (photo.size, photo.bit_depth)
    assert (header.has_alpha, header.mode.startswith("L")) == (photo.has_alpha, photo.gray)


def test_another_decoder_of_the_codestream_sees_the_same_picture():
    array = smooth(30, 40)
    _, decoded = pyjpegxl.decode_to_numpy(encode(from_array(array), LOSSLESS))
    assert np.array_equal(decoded, array)


def test_lossy_files_stay_close_and_shrink_with_the_quality():
    array = smooth(64, 96)
    files = [encode(from_array(array), WriteOptions(format="jxl", quality=q)) for q in (95, 20)]
    assert np.abs(read(files[0]).to_array().astype(int) - array).max() <= 4
    assert len(files[1]) < len(files[0])


def test_profile_exif_and_settings_are_kept():
    with BytesIO() as out:
        image = Image.fromarray(smooth(30, 40))
        exif = b"Exif\0\0" + make_exif(orientation=1)
        image.save(out, "JPEG", exif=exif, icc_profile=srgb_profile())
        photo = read(out.getvalue())
    data = encode(photo, LOSSLESS, {"Software": "addsr", "Comment": "made by a test"})
    again = read(data)
    assert again.icc == srgb_profile()
    assert pil_exif(again.exif)[271] == "Camera1"
    assert pyjpegxl.probe(data).exif.startswith(bytes(4) + b"II*")  # as ISO/IEC 18181-2 has it
    assert read_settings(data)["Software"] == "addsr"


def test_a_turned_jpeg_xl_file_is_upright():
    data = b64decode(TURNED)
    photo = read(data)
    assert np.array_equal(photo.to_array(), np.rot90(smooth(8, 16), 3))
    assert read_header(data).size == photo.size


@pytest.mark.parametrize("part", [0.1, 0.7])
def test_a_truncated_jpeg_xl_file_is_refused(part):
    data = encode(from_array(noise(40, 60, 3)), LOSSLESS)
    with pytest.raises(UnreadableInput, match="damaged"):
        read(data[: int(len(data) * part)])


def test_without_the_extra_reading_and_writing_say_how_to_install_it(monkeypatch):
    monkeypatch.setattr(extras.Extra, "installed", False)
    with pytest.raises(UnreadableInput) as unreadable:
        read(b"\xff\x0a" + bytes(20))
    with pytest.raises(UsageError) as unwritable:
        WriteOptions(format="jxl")
    assert "addsr[jxl]" in unreadable.value.hint
    assert "addsr[jxl]" in unwritable.value.hint

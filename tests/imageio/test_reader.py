import struct
import time
import tracemalloc
from functools import partial
from io import BytesIO
from timeit import timeit

import cv2
import numpy as np
import pytest
import tifffile
from imageio_samples import (
    MAKER_NOTE,
    insert_chunks,
    make_exif,
    noise,
    pil_exif,
    saved,
    smooth,
    srgb_profile,
)
from PIL import Image

from addsr_cli.errors import OutOfMemory, UnreadableInput
from addsr_cli.imageio import (
    exif,
    from_pil,
    pillow_file,
    read,
    read_header,
    read_reduced,
    resize_photo,
)
from addsr_cli.imageio import photo as photo_module

# Where the upright picture's rows come from, independently of the code: Pillow's
# transpositions per EXIF value.
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def as_stored(array, orientation):
    image = Image.fromarray(array)
    return image if STORED[orientation] is None else image.transpose(STORED[orientation])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("fmt", ["PNG", "TIFF", "WEBP", "JPEG", "AVIF"])
def test_every_orientation_comes_out_upright(fmt, orientation):
    upright = smooth(32, 48)
    exif = b"Exif\0\0" + make_exif(orientation)
    data = saved(
        as_stored(upright, orientation),
        fmt,
        exif=exif,
        **({"lossless": True} if fmt == "WEBP" else {}),
    )
    photo, header = read(data), read_header(data)
    assert header.size == photo.size == (48, 32)
    assert np.abs(photo.to_array().astype(int) - upright).max() <= (
        0 if fmt in ("PNG", "TIFF", "WEBP") else 12
    )
    assert photo.exif is None or pil_exif(photo.exif).get(0x0112, 1) == 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_sixteen_bit_tiffs_come_out_upright(orientation):
    upright = noise(6, 9, 3, dtype=np.uint16)
    turns = {1: (0, 0), 2: (1, 0), 3: (0, 2), 4: (1, 2), 5: (1, 1), 6: (0, 1), 7: (1, 3), 8: (0, 3)}
    mirror, quarters = turns[orientation]
    stored = np.rot90(upright[:, ::-1] if mirror else upright, quarters)
    data = tiff(
        np.ascontiguousarray(stored), photometric="rgb", extratags=[(274, 3, 1, orientation, True)]
    )
    photo = read(data)
    assert (photo.bit_depth, photo.size, read_header(data).size) == (16, (9, 6), (9, 6))
    np.testing.assert_array_equal(photo.to_array(), upright)


def test_orientation_in_xmp_counts_when_exif_has_none():
    xmp = b'<x:xmpmeta><rdf:RDF><rdf:Description tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
    photo = read(saved(Image.fromarray(smooth(30, 40)), "JPEG", xmp=xmp))
    assert photo.size == (30, 40)
    assert photo.xmp == xmp.replace(b'"6"', b'"1"')


@pytest.mark.parametrize("endian", ["<", ">"])
def test_exif_is_kept_without_orientation_and_thumbnail(endian):
    data = saved(
        Image.fromarray(smooth(30, 40)), "JPEG", exif=b"Exif\0\0" + make_exif(6, endian=endian)
    )
    exif = read(data).exif
    assert b"thumb" not in exif
    assert b"thumb" in data
    parsed = pil_exif(exif)
    assert (parsed[0x010F], parsed[0x0112]) == ("Camera1", 1)
    assert parsed.get_ifd(0x8769)[0x927C] == MAKER_NOTE
    assert not parsed.get_ifd(1)


@pytest.mark.parametrize("endian", ["<", ">"])
def test_a_directory_as_large_as_can_be_takes_a_tenth_of_a_second(endian):
    entries = b"".join(struct.pack(f"{endian}HHII", tag, 4, 1, 8) for tag in range(65535))
    head = (b"II*\0" if endian == "<" else b"MM\0*") + struct.pack(f"{endian}IH", 8, 65535)
    blob = head + entries + struct.pack(f"{endian}I", 8)
    for step in (exif.orientation, exif.upright, lambda each: exif.resized(each, 160, 120)):
        assert timeit(partial(step, blob), timer=time.process_time, number=1) < 0.1


def test_xmp_that_is_none_costs_a_warning_and_turns_nothing():
    packet = b'<!DOCTYPE x [<!ENTITY a "b">]><x:xmpmeta tiff:Orientation="6"/>'
    data = saved(Image.fromarray(smooth(30, 40)), "JPEG", xmp=packet)
    photo = read(data)
    assert (photo.size, photo.xmp) == ((40, 30), None)
    assert photo.warnings == ("the XMP data is damaged and was left out",)
    assert read_header(data).size == (40, 30)


@pytest.mark.parametrize(
    "blob", [b"garbage", b"II*\0\xff\xff\xff\xff", make_exif()[:40], b"MM\0*\0\0\0\x08\xff\xff"]
)
def test_damaged_exif_costs_a_warning_not_the_photo(blob):
    photo = read(saved(Image.fromarray(smooth(30, 40)), "PNG", exif=blob))
    assert photo.exif is None
    assert any("EXIF" in warning for warning in photo.warnings)


@pytest.mark.parametrize("fmt", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_the_profile_is_kept_byte_for_byte(fmt):
    profile = srgb_profile()
    assert read(saved(Image.fromarray(smooth(30, 40)), fmt, icc_profile=profile)).icc == profile


@pytest.mark.parametrize("mode", ["1", "L", "LA"])
def test_gray_stays_gray(mode):
    photo = read(saved(Image.fromarray(noise(9, 7)).convert(mode), "PNG"))
    assert photo.gray
    assert (photo.alpha is not None) == (mode == "LA")


def png16(array):
    return cv2.imencode(
        ".png", array[..., ::-1] if array.ndim == 3 and array.shape[2] == 3 else array
    )[1].tobytes()


def tiff(array, **arguments):
    out = BytesIO()
    tifffile.imwrite(out, array, **arguments)
    return out.getvalue()


@pytest.mark.parametrize("shape", [(9, 13), (9, 13, 3)])
def test_sixteen_bit_png_is_read_exactly(shape):
    array = noise(*shape, dtype=np.uint16)
    photo = read(png16(array))
    assert (photo.bit_depth, photo.gray, photo.warnings) == (16, len(shape) == 2, ())
    np.testing.assert_array_equal(photo.to_array(), array)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("packing", [{}, {"compression": "zlib", "predictor": True}])
@pytest.mark.parametrize("shape", [(9, 13), (9, 13, 3), (9, 13, 4)])
def test_sixteen_bit_tiff_is_read_exactly_in_both_byte_orders(shape, packing, order):
    array = noise(*shape, dtype=np.uint16)
    layout = {"photometric": "rgb"} if len(shape) == 3 else {}
    photo = read(
        tiff(
            array,
            byteorder=order,
            **layout,
            **packing,
            extrasamples=[2] if shape[-1] == 4 else None,
        )
    )
    assert (photo.bit_depth, photo.warnings) == (16, ())
    np.testing.assert_array_equal(photo.to_array(), array)


@pytest.mark.parametrize("channels", [3, 4])
def test_sixteen_bits_are_read_in_the_memory_of_file_and_picture(channels, monkeypatch):
    monkeypatch.setattr(photo_module, "_BAND_PIXELS", 2000)
    array = noise(200, 300, channels, dtype=np.uint16)
    file = tiff(array, photometric="rgb", extrasamples=[2] if channels == 4 else None)
    read(file)  # imports what it needs
    tracemalloc.start()
    photo = read(file)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    np.testing.assert_array_equal(photo.samples, array)
    assert peak < 2.3 * array.nbytes


def test_white_is_zero_tiff_is_inverted():
    array = noise(9, 13, dtype=np.uint16)
    np.testing.assert_array_equal(
        read(tiff(array, photometric="miniswhite")).to_array(), 65535 - array
    )


def test_sixteen_bit_planes_are_refused_because_nothing_here_decodes_them_rightly():
    with pytest.raises(UnreadableInput, match="planes"):
        read(tiff(noise(3, 9, 13, dtype=np.uint16), photometric="rgb", planarconfig="separate"))


def test_premultiplied_sixteen_bit_tiffs_come_out_straight_with_eight_and_a_warning():
    array = np.full((4, 5, 4), 0x8000, np.uint16)
    array[:, :, 0] = 0x4000
    photo = read(tiff(array, photometric="rgb", extrasamples=["assocalpha"]))
    assert photo.bit_depth == 8
    assert "8 bits" in photo.warnings[0]
    np.testing.assert_allclose(photo.rgb[0, 0], [0.5, 1, 1], atol=0.01)


@pytest.mark.parametrize(
    "array", [np.ones((4, 5), np.float32), np.ones((4, 5, 3), np.float32), np.ones((4, 5), "u4")]
)
def test_float_and_32_bit_tiffs_are_refused_with_advice(array):
    with pytest.raises(UnreadableInput, match="not supported") as caught:
        read(tiff(array, photometric="rgb" if array.ndim == 3 else None))
    assert "TIFF" in caught.value.hint


def test_palette_becomes_colour():
    source = Image.fromarray(smooth(30, 40)).quantize(32)
    np.testing.assert_array_equal(
        read(saved(source, "PNG")).to_array(), np.asarray(source.convert("RGB"))
    )


@pytest.mark.parametrize("fmt", ["PNG", "GIF"])
def test_palette_transparency_becomes_alpha(fmt):
    source = Image.fromarray(noise(9, 7) // 64).convert("P")
    indices = np.asarray(source)
    key = int(indices[0, 0])
    photo = read(saved(source, fmt, transparency=key))
    np.testing.assert_array_equal(photo.alpha == 0, indices == key)


def test_a_transparent_colour_becomes_alpha_in_eight_and_sixteen_bits():
    array = smooth(9, 7)
    photo = read(
        saved(Image.fromarray(array), "PNG", transparency=tuple(int(v) for v in array[0, 0]))
    )
    assert photo.alpha[0, 0] == 0
    assert photo.alpha[-1, -1] == 1
    deep = noise(9, 7, 3, dtype=np.uint16)
    from addsr_cli.imageio.png import chunk

    key = chunk(b"tRNS", struct.pack(">3H", *(int(v) for v in deep[2, 3])))
    keyed = read(insert_chunks(png16(deep), [key]))
    assert (keyed.bit_depth, keyed.alpha[2, 3], keyed.alpha.sum()) == (16, 0, 62)


def test_cmyk_is_converted_and_its_profile_dropped():
    source = Image.fromarray(smooth(30, 40)).convert("CMYK")
    photo = read(saved(source, "JPEG", quality=100))
    assert photo.icc is None
    assert "CMYK" in photo.warnings[0]
    assert np.abs(photo.to_array().astype(int) - smooth(30, 40)).mean() < 6


def test_a_damaged_cmyk_profile_does_not_stop_the_conversion():
    bad = b"\0" * 16 + b"CMYK" + b"\0" * 200
    photo = read(saved(Image.fromarray(smooth(30, 40)).convert("CMYK"), "TIFF", icc_profile=bad))
    assert photo.icc is None
    assert "damaged" in photo.warnings[0]


def test_lab_is_converted():
    from PIL import ImageCms

    colours = smooth(8, 8)
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    lab = ImageCms.profileToProfile(Image.fromarray(colours), *profiles, outputMode="LAB")
    assert np.abs(from_pil(lab).to_array().astype(int) - colours).max() < 16


@pytest.mark.parametrize("fmt", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_several_frames_the_first_is_used_with_a_warning(fmt):
    frames = [Image.fromarray(np.full((8, 9, 3), v, np.uint8)) for v in (0, 90, 200)]
    data = saved(frames[0], fmt, save_all=True, append_images=frames[1:])
    photo = read(data)
    assert read_header(data).frames == 3
    assert "first of 3" in photo.warnings[0]
    assert photo.rgb.max() < 0.02


def test_the_header_has_format_size_and_depth_of_the_photo():
    header = read_header(saved(Image.fromarray(smooth(30, 40, 4)), "PNG"))
    assert (header.format, header.size, header.bit_depth, header.has_alpha, header.frames) == (
        "PNG",
        (40, 30),
        8,
        True,
        1,
    )


def test_damaged_profiles_are_left_out():
    assert read(saved(Image.fromarray(smooth(8, 8)), "PNG", icc_profile=b"short")).icc is None


def test_bad_pillow_modes_are_named():
    with pytest.raises(UnreadableInput, match="mode F"):
        from_pil(Image.new("F", (4, 4)))


def test_memory_that_runs_out_while_reading_is_an_error_of_its_own(tmp_path, monkeypatch):
    def no_memory(*_):
        raise MemoryError

    path = tmp_path / "photo.png"
    path.write_bytes(saved(Image.fromarray(smooth(30, 40)), "PNG"))
    monkeypatch.setattr(pillow_file, "decode", no_memory)
    with pytest.raises(OutOfMemory, match=r"to read .*photo\.png"):
        read(path)
    with pytest.raises(OutOfMemory, match="to read the input"):
        read(path.read_bytes())


@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_a_reduced_photo_is_upright_and_jpeg_is_decoded_at_a_fraction(format, monkeypatch):
    image = Image.fromarray(smooth(300, 400))
    data = saved(image, format, exif=b"Exif\0\0" + make_exif(orientation=6))
    decoded = []
    original = pillow_file.decode

    def decode(image, stream):
        decoded.append(image.size)
        return original(image, stream)

    monkeypatch.setattr(pillow_file, "decode", decode)
    photo = read_reduced(data, 100)
    assert photo.size == (75, 100)
    assert decoded == [(100, 75) if format == "JPEG" else (400, 300)]
    assert np.abs(photo.rgb - resize_photo(read(data), (75, 100)).rgb).max() < 4 / 255


def test_a_photo_that_is_small_already_is_read_as_it_is():
    data = saved(Image.fromarray(smooth(30, 40)), "JPEG")
    assert np.array_equal(read_reduced(data, 100).samples, read(data).samples)

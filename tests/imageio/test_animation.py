from io import BytesIO

import numpy as np
import pytest
import tifffile
from imageio_samples import noise, saved, smooth
from PIL import Image

from addsr_cli.errors import OutputRefused
from addsr_cli.imageio import (
    AnimatedPhoto,
    WriteOptions,
    animate,
    choose_format,
    crop,
    encode,
    from_array,
    read,
    read_header,
)

LEVELS = (0, 90, 200)
DURATIONS = [40, 120, 500]


def animation(fmt, loop=3, **arguments):
    frames = [Image.fromarray(np.full((8, 9, 3), level, np.uint8)) for level in LEVELS]
    return saved(
        frames[0],
        fmt,
        save_all=True,
        append_images=frames[1:],
        duration=DURATIONS,
        loop=loop,
        **arguments,
    )


@pytest.mark.parametrize("fmt", ["GIF", "WEBP", "PNG", "AVIF"])
def test_every_frame_is_read_with_its_duration(fmt):
    photo = read(animation(fmt), frames="all")
    assert isinstance(photo, AnimatedPhoto)
    means = [frame.rgb.mean() * 255 for frame in photo.frames]
    assert np.allclose(means, LEVELS, atol=2)
    assert photo.durations == tuple(DURATIONS)
    assert photo.warnings == ()


@pytest.mark.parametrize("fmt", ["GIF", "WEBP"])
@pytest.mark.parametrize("loop", [0, 1, 3])
def test_an_animation_keeps_frames_durations_and_loops(fmt, loop):
    frames = [from_array(np.full((8, 9, 3), level, np.uint8)) for level in LEVELS]
    data = encode(animate(frames, DURATIONS, loop), WriteOptions(format=fmt))
    again = read(data, frames="all")
    assert (again.durations, again.loops) == (tuple(DURATIONS), loop)
    assert len(again.frames) == 3
    for frame, level in zip(again.frames, LEVELS, strict=True):
        assert np.abs(frame.to_array().astype(int) - level).max() <= 2


def test_frames_with_holes_do_not_shine_through():
    first = np.zeros((8, 8, 4), np.uint8)
    first[:, :4] = (250, 0, 0, 255)
    second = np.roll(first, 4, axis=1)
    photo = animate([from_array(first), from_array(second)], [50, 50])
    for fmt in ("GIF", "WEBP"):
        frames = read(encode(photo, WriteOptions(format=fmt)), frames="all").frames
        assert frames[1].alpha[:, :4].max() == 0
        assert frames[1].alpha[:, 4:].min() == 1


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
def test_pages_of_a_tiff_survive_bit_by_bit(dtype, channels):
    pages = [noise(12, 10 + n, channels, dtype=dtype, seed=n).squeeze() for n in range(3)]
    data = encode(animate([from_array(page) for page in pages]), WriteOptions(format="TIFF"))
    with tifffile.TiffFile(BytesIO(data)) as file:
        assert all(
            np.array_equal(page.asarray(), array)
            for page, array in zip(file.pages, pages, strict=True)
        )
    again = read(data, frames="all")
    assert again.durations == ()
    for frame, page in zip(again.frames, pages, strict=True):
        assert np.array_equal(frame.to_array(), page)


def test_one_picture_is_read_as_one_picture():
    photo = read(saved(Image.fromarray(smooth(8, 9)), "PNG"), frames="all")
    assert not isinstance(photo, AnimatedPhoto)


@pytest.mark.parametrize(
    ("fmt", "chosen"),
    [("GIF", "GIF"), ("WEBP", "WEBP"), ("PNG", "WEBP"), ("TIFF", "TIFF"), ("AVIF", "AVIF")],
)
def test_the_format_of_an_animation_is_its_own_where_that_holds_frames(fmt, chosen):
    header = read_header(animation(fmt))
    assert choose_format(header, frames="all") == chosen
    assert choose_format(header) == ("PNG" if fmt == "GIF" else fmt)


def test_a_format_of_single_pictures_is_refused_for_several():
    header = read_header(animation("GIF"))
    assert choose_format(header, explicit="jpg") == "JPEG"
    with pytest.raises(OutputRefused, match="one picture"):
        choose_format(header, explicit="jpg", frames="all")


def test_every_frame_is_cropped():
    photo = read(animation("GIF"), frames="all")
    part = crop(photo, (1, 2, 5, 6))
    assert {frame.size for frame in part.frames} == {(4, 4)}
    assert part.durations == photo.durations


def test_a_gif_says_that_it_was_upscaled():
    frames = [from_array(smooth(8, 9)), from_array(smooth(8, 9)[::-1].copy())]
    settings = {"Software": "addsr", "Comment": "AI-upscaled with addsr"}
    data = encode(animate(frames, [50, 50]), WriteOptions(format="GIF"), settings)
    assert dict(read(data).texts)["Comment"] == "AI-upscaled with addsr"


def test_a_truncated_animation_is_refused():
    from addsr_cli.errors import UnreadableInput

    data = animation("WEBP", lossless=True)
    with pytest.raises(UnreadableInput):
        read(data[: len(data) - 30], frames="all")

import os
import struct
import threading
import zlib
from pathlib import Path

import pytest
from imageio_samples import SHARED, noise, saved, smooth
from PIL import Image

from addsr_cli.errors import UnreadableInput
from addsr_cli.imageio import MAX_PIXELS, buffer_pipe, read, read_header
from addsr_cli.imageio.png import SIGNATURE, chunk

BAD = [
    "bomb_60000x60000.png",
    "bomb_65500x65500.jpg",
    "corrupt_idat.png",
    "corrupt_middle.jpg",
    "header_only.jpg",
]
BAD += ["text_renamed.png", "truncated.gif", "truncated.jpg", "zero_byte.jpg"]


def refusal(source):
    with pytest.raises(UnreadableInput) as caught:
        read(source)
    assert "\n" not in caught.value.message
    assert caught.value.hint
    return caught.value.message


@pytest.mark.parametrize("name", BAD)
def test_the_shared_broken_files_are_refused_in_one_line(name):
    path = SHARED / "bad" / name
    if not path.exists():
        pytest.skip("../shared/data/bad is not here")
    assert name in refusal(path)


@pytest.mark.parametrize("fmt", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "AVIF", "BMP"])
@pytest.mark.parametrize("part", [0.3, 0.7])
def test_truncated_files_are_refused(fmt, part):
    data = saved(Image.fromarray(smooth(60, 80)), fmt)
    refusal(data[: int(len(data) * part)])


def test_a_jpeg_whose_end_is_only_zeros_is_refused():
    data = saved(Image.fromarray(noise(60, 80, 3)), "JPEG")
    assert "truncated" in refusal(data[: len(data) * 3 // 4] + bytes(5000))


def test_zeros_after_a_whole_jpeg_do_no_harm():
    assert read(saved(Image.fromarray(smooth(60, 80)), "JPEG") + bytes(5000)).size == (80, 60)


def test_corrupt_png_data_is_refused():
    data = bytearray(saved(Image.fromarray(smooth(60, 80)), "PNG"))
    data[len(data) // 2] ^= 0xFF
    assert "damaged" in refusal(bytes(data))


def claiming(width, height):
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        SIGNATURE
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


def test_bombs_are_refused_before_decoding():
    assert "megapixels" in refusal(claiming(60000, 60000))
    with pytest.raises(UnreadableInput, match="megapixels"):
        read_header(claiming(60000, 60000))


def test_two_hundred_megapixels_are_welcome_and_pillows_limit_comes_back():
    before = Image.MAX_IMAGE_PIXELS
    assert read_header(claiming(20000, 10000)).width * 10000 < MAX_PIXELS
    assert before == Image.MAX_IMAGE_PIXELS


def test_threads_leave_pillows_limit_as_it_was():
    before, data = Image.MAX_IMAGE_PIXELS, saved(Image.fromarray(smooth(60, 80)), "PNG")
    threads = [threading.Thread(target=read, args=(data,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert before == Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b"hello, I am a text", "not a picture"),
        (b"\0\0\0\x18ftypheic" + bytes(20), "HEIC"),
        (b"\0\0\0\x0cJXL \r\n" + bytes(20), "JPEG XL"),
        (b"II*\0\x10\0\0\0CR\x02\0" + bytes(20), "raw"),
        (b"%PDF-1.7", "PDF"),
        (b"<svg xmlns=''>", "SVG"),
        (b"\xff\xd8\xff\xe0", "damaged"),
    ],
)
def test_the_message_names_the_detected_format(data, message):
    assert message in refusal(data)


def test_a_missing_file_and_a_folder_have_messages_of_their_own(tmp_path):
    assert "does not exist" in refusal(tmp_path / "none.png")
    assert "folder" in refusal(tmp_path)


def test_an_unreadable_file_is_an_error_that_says_so(tmp_path, monkeypatch):
    def denied(*_args, **_kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    assert "may not be read" in refusal(tmp_path / "secret.png")


def test_a_wrong_suffix_does_not_matter(tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(saved(Image.fromarray(smooth(6, 8)), "PNG"))
    assert read(path).format == "PNG"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_can_be_read(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    data = saved(Image.fromarray(smooth(6, 8)), "PNG")
    thread = threading.Thread(target=pipe.write_bytes, args=(data,))
    thread.start()
    assert read(pipe).size == (8, 6)
    thread.join()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_held_and_a_file_is_not(tmp_path):
    pipe, file = tmp_path / "pipe", tmp_path / "file"
    os.mkfifo(pipe)
    file.write_bytes(b"data")
    thread = threading.Thread(target=pipe.write_bytes, args=(b"data",))
    thread.start()
    assert buffer_pipe(pipe) == b"data"
    thread.join()
    assert (buffer_pipe(file), buffer_pipe(tmp_path / "none")) == (file, tmp_path / "none")

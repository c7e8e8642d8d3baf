"""Opens files that may be anything; every failure becomes an `UnreadableInput`."""

import re
import stat
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image, UnidentifiedImageError

from addsr_cli.errors import UnreadableInput

MAX_PIXELS = 300_000_000
"""Larger pictures are rejected before decoding: 300 megapixels are 3.6 GB of floats."""

# Raised by Pillow's decoders on damaged files. Anything else is a bug and should surface as one.
DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    struct.error,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    zlib.error,
    RuntimeError,  # libavif
)

# Raster photos only: no PostScript interpreter, no formats without a signature of their own.
_READABLE = (
    "JPEG",
    "PNG",
    "WEBP",
    "TIFF",
    "AVIF",
    "GIF",
    "BMP",
    "DIB",
    "PPM",
    "ICO",
    "JPEG2000",
    "QOI",
    "PCX",
    "SGI",
    "PSD",
)
_CONVERT = "Convert it to JPEG or PNG first."
_FETCH = "Get a complete copy of the file."
_DEVELOP = "Develop it to TIFF, PNG or JPEG first."
# Beginnings of files that cannot be read: pattern, name, hint.
_UNSUPPORTED = (
    (rb"....ftyp(hei|hev|mif|msf)", "a HEIC/HEIF file", _CONVERT),
    (rb"\xff\x0a|\0\0\0\x0cJXL ", "a JPEG XL file", _CONVERT),
    (rb"IIU\0|FUJIFILMCCD-RAW|....ftypcrx", "a camera raw file", _DEVELOP),
    (rb"%PDF", "a PDF document", "Export the page as PNG first."),
    (rb"\s*<(\?xml|svg)", "an SVG or XML file", "Export it as PNG first."),
    (
        rb"II[*+]\0|MM\0[*+]",
        "a TIFF of a kind that is not supported",
        "Save it as 8-bit or 16-bit RGB TIFF or PNG first.",
    ),
)
_GRAY16 = {"I;16", "I;16L", "I;16B", "I;16N"}
_MODES = {
    *_GRAY16,
    "1",
    "L",
    "LA",
    "La",
    "P",
    "PA",
    "RGB",
    "RGBA",
    "RGBa",
    "RGBX",
    "CMYK",
    "YCbCr",
    "LAB",
    "HSV",
}
# TIFF tags
_NEW_SUBFILE_TYPE, _BITS_PER_SAMPLE, _PLANAR_CONFIGURATION, _DNG_VERSION = 254, 258, 284, 50706
_CANON_RAW = re.compile(rb"II\*\0....CR", re.DOTALL)

_lock = threading.Lock()
_users = 0
_saved: "tuple[int | None, warnings.catch_warnings[None]] | None" = None


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Disable Pillow's warnings and its size limit; `MAX_PIXELS` is checked at the header instead.

    Both are global state: the first thread to enter changes them, the last one to leave restores
    them.
    """
    global _users, _saved
    with _lock:
        if _users == 0:
            quiet = warnings.catch_warnings()
            quiet.__enter__()
            warnings.simplefilter("ignore")
            _saved = (Image.MAX_IMAGE_PIXELS, quiet)
            Image.MAX_IMAGE_PIXELS = None
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0 and _saved is not None:
                Image.MAX_IMAGE_PIXELS, quiet = _saved
                quiet.__exit__(None, None, None)
                _saved = None


def readable_suffixes() -> frozenset[str]:
    """Return the suffixes of readable files, in lower case with their dot."""
    Image.init()
    return frozenset(suffix for suffix, name in Image.EXTENSION.items() if name in _READABLE)


def display_name(source: Path | bytes) -> str:
    """Return the input's name at the start of a message."""
    return "The input" if isinstance(source, bytes) else f"{str(source)!r}"


def buffer_pipe(path: Path) -> Path | bytes:
    """Return the path, or for a pipe, which can be read only once, its bytes.

    Raises UnreadableInput.
    """
    try:
        is_pipe = stat.S_ISFIFO(path.stat().st_mode)
    except (OSError, ValueError):
        return path  # opening it reports the reason
    if not is_pipe:
        return path
    name = display_name(path)
    with _file(path, name) as file, translate_damage(name):
        return file.read()


def name_in_sentence(source: Path | bytes) -> str:
    """Return the input's name within a sentence."""
    return "the input" if isinstance(source, bytes) else display_name(source)


@contextmanager
def open_image(source: Path | bytes) -> Iterator[tuple[Image.Image, BinaryIO]]:
    """Open a picture and check its header; yields the image, not decoded yet, and its file.

    ``source`` is a path or the file's bytes. Raises UnreadableInput, also for damage that shows
    inside the block.
    """
    name = display_name(source)
    stream = BytesIO(source) if isinstance(source, bytes) else _file(source, name)
    with stream, quiet_pillow(), translate_damage(name), _identified(stream, name) as image:
        check_header(image, name)
        yield image, stream


@contextmanager
def translate_damage(name: str) -> Iterator[None]:
    """Translate Pillow's errors on damaged pictures into UnreadableInput."""
    try:
        yield
    except DAMAGE as exc:
        raise UnreadableInput(f"{name} is damaged: {_reason(exc)}.", _FETCH) from exc


def check_header(image: Image.Image, name: str) -> None:
    """Raise UnreadableInput for a picture that is too large or of an unsupported kind."""
    width, height = image.size
    if width * height > MAX_PIXELS:
        limit = f"{MAX_PIXELS // 1_000_000} megapixels"
        raise UnreadableInput(
            f"{name} claims {width}x{height} pixels, more than the limit of {limit}.",
            "Use a smaller picture or crop it.",
        )
    if image.mode not in _MODES and not (image.mode == "I" and image.format == "PPM"):
        kind = {"F": "32-bit float (HDR)", "I": "32-bit integer"}.get(image.mode, "unusual")
        raise UnreadableInput(
            f"{name} has {kind} pixels (mode {image.mode}), which are not supported.",
            "Convert it to 8-bit or 16-bit PNG or TIFF first.",
        )
    _check_tiff(getattr(image, "tag_v2", {}), name)


def _check_tiff(tags: Mapping[int, Any], name: str) -> None:
    """Raise UnreadableInput for TIFF files that Pillow would decode into something else."""
    is_preview = int(tags.get(_NEW_SUBFILE_TYPE, 0)) & 1
    if is_preview or _DNG_VERSION in tags:
        raise UnreadableInput(
            f"{name} is a camera raw file (only its small preview can be read).", _DEVELOP
        )
    separate_planes = tags.get(_PLANAR_CONFIGURATION) == 2
    if separate_planes and max(tags.get(_BITS_PER_SAMPLE, (8,))) > 8:
        raise UnreadableInput(
            f"{name} is a 16-bit TIFF with separate colour planes, which is not supported.",
            "Save it with interleaved channels, or as PNG.",
        )


def _file(path: Path, name: str) -> BinaryIO:
    """Open a file for reading and seeking; a pipe is read to its end. Raises UnreadableInput."""
    try:
        file = path.open("rb")
        if file.seekable():
            return file
        with file:
            return BytesIO(file.read())
    except FileNotFoundError as exc:
        raise UnreadableInput(
            f"{name} does not exist.", "Check the spelling and the folder."
        ) from exc
    except IsADirectoryError as exc:
        raise UnreadableInput(
            f"{name} is a folder, not a picture.",
            "Name the files in it, as in: addsr upscale FOLDER/*",
        ) from exc
    except PermissionError as exc:
        raise UnreadableInput(
            f"{name} may not be read.", "Check its permissions (chmod +r)."
        ) from exc
    except (OSError, ValueError) as exc:
        raise UnreadableInput(
            f"{name} cannot be read: {_reason(exc)}.", "Check the path and the disk."
        ) from exc


@contextmanager
def _identified(stream: BinaryIO, name: str) -> Iterator[Image.Image]:
    """Open the image in one of the readable formats. Raises UnreadableInput."""
    head = stream.read(64)
    stream.seek(0)
    if not head:
        raise UnreadableInput(f"{name} is empty (0 bytes).", _FETCH)
    if _CANON_RAW.match(head):  # Pillow would open the preview as a TIFF
        raise UnreadableInput(f"{name} is a camera raw file.", _DEVELOP)
    try:
        image = Image.open(stream, formats=_READABLE)
    except UnidentifiedImageError as exc:
        kind, hint = _sniff(head)
        raise UnreadableInput(f"{name} is {kind}.", hint) from exc
    with image:
        yield image


def _sniff(head: bytes) -> tuple[str, str]:
    """Return what kind of file this seems to be, and a hint, for a file that Pillow rejects."""
    for pattern, kind, hint in _UNSUPPORTED:
        if re.match(pattern, head, re.DOTALL):
            return kind, hint
    known = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"RIFF", b"BM")
    if head.startswith(known) or head[4:12] == b"ftypavif":
        return "damaged: its header is incomplete", _FETCH
    return "not a picture in a format that can be read", _CONVERT


def _reason(exc: BaseException) -> str:
    """Return the first line of an error's message, to end a sentence with."""
    text = str(exc) or type(exc).__name__
    if isinstance(exc, OSError) and exc.strerror:
        text = exc.strerror
    return text.splitlines()[0].rstrip(".")

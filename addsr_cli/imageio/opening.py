"""Opening files that may be anything: every reason why a picture cannot be had becomes one `UnreadableInput`."""

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
"""Larger pictures are refused before they are decoded: 300 megapixels are 3.6 GB of floats."""

# What Pillow's decoders raise on damaged files; anything else is a bug and should surface as one.
DAMAGE = (
    *(
        OSError,
        SyntaxError,
        ValueError,
        struct.error,
        EOFError,
        IndexError,
        KeyError,
        TypeError,
        zlib.error,
    ),
    RuntimeError,  # libavif
)

# Raster photos only: no PostScript interpreter, no formats without a signature of their own.
_READABLE = (
    *(
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
    ),
)
_CONVERT = "Convert it to JPEG or PNG first."
_FETCH = "Get a complete copy of the file."
_DEVELOP = "Develop it to TIFF, PNG or JPEG first."
_NOT_OURS = (
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
    *(
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
    ),
    *_GRAY16,
}
_CANON_RAW = re.compile(rb"II\*\0....CR", re.DOTALL)

_lock = threading.Lock()
_users = 0
_saved: "tuple[int | None, warnings.catch_warnings[None]] | None" = None


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Within it Pillow neither warns nor applies its own size limit: `MAX_PIXELS` is ours, checked at the header.

    Both are global state, so the first thread in switches them, the last one out restores them.
    """
    global _users, _saved
    with _lock:
        if _users == 0:
            quiet = warnings.catch_warnings()
            quiet.__enter__()
            warnings.simplefilter("ignore")
            _saved, Image.MAX_IMAGE_PIXELS = (Image.MAX_IMAGE_PIXELS, quiet), None
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
    """Suffixes, with their dot and in lower case, of the files that can be read."""
    Image.init()
    return frozenset(suffix for suffix, name in Image.EXTENSION.items() if name in _READABLE)


def display_name(source: Path | bytes) -> str:
    """Name the input as messages call it."""
    return "The input" if isinstance(source, bytes) else f"{str(source)!r}"


def buffer_pipe(path: Path) -> Path | bytes:
    """The path of a file; of a pipe all its bytes, since they come only once. Raises UnreadableInput."""
    try:
        is_pipe = stat.S_ISFIFO(path.stat().st_mode)
    except (OSError, ValueError):
        return path  # whoever opens it says why
    if not is_pipe:
        return path
    name = display_name(path)
    with _file(path, name) as file, translate_damage(name):
        return file.read()


def name_in_sentence(source: Path | bytes) -> str:
    """As `name_of`, but not at the beginning."""
    return "the input" if isinstance(source, bytes) else display_name(source)


@contextmanager
def open_image(source: Path | bytes) -> Iterator[tuple[Image.Image, BinaryIO]]:
    """Open a picture, read and check its header: (the picture, its pixels not yet decoded; the file).

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
    """Translate what Pillow raises on damaged pictures into UnreadableInput."""
    try:
        yield
    except DAMAGE as exc:
        raise UnreadableInput(f"{name} is damaged: {_reason(exc)}.", _FETCH) from exc


def check_header(image: Image.Image, name: str) -> None:
    """Raise UnreadableInput for a picture that is too large, of a mode we cannot show, or only a raw file's preview."""
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
    """Raise UnreadableInput for TIFF files of which Pillow would show something else than the photo."""
    if (
        int(tags.get(254, 0)) & 1 or 50706 in tags
    ):  # NewSubfileType "reduced resolution", DNGVersion
        raise UnreadableInput(
            f"{name} is a camera raw file (only its small preview can be read).", _DEVELOP
        )
    if (
        tags.get(284) == 2 and max(tags.get(258, (8,))) > 8
    ):  # PlanarConfiguration, BitsPerSample: decoded to garbage
        raise UnreadableInput(
            f"{name} is a 16-bit TIFF with separate colour planes, which is not supported.",
            "Save it with interleaved channels, or as PNG.",
        )


def _file(path: Path, name: str) -> BinaryIO:
    """Open for reading and seeking; a pipe is read to its end."""
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
    head = stream.read(64)
    stream.seek(0)
    if not head:
        raise UnreadableInput(f"{name} is empty (0 bytes).", _FETCH)
    if _CANON_RAW.match(head):  # Pillow takes it for a TIFF and shows the preview
        raise UnreadableInput(f"{name} is a camera raw file.", _DEVELOP)
    try:
        image = Image.open(stream, formats=_READABLE)
    except UnidentifiedImageError as exc:
        what, hint = _sniff(head)
        raise UnreadableInput(f"{name} is {what}.", hint) from exc
    with image:
        yield image


def _sniff(head: bytes) -> tuple[str, str]:
    """Guess what a file nobody recognises is, and what to do."""
    for pattern, what, hint in _NOT_OURS:
        if re.match(pattern, head, re.DOTALL):
            return what, hint
    known = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"RIFF", b"BM")
    if head.startswith(known) or head[4:12] == b"ftypavif":
        return "damaged: its header is incomplete", _FETCH
    return "not a picture in a format that can be read", _CONVERT


def _reason(exc: BaseException) -> str:
    """Make a third-party message the end of our sentence."""
    text = (exc.strerror if isinstance(exc, OSError) else None) or str(exc) or type(exc).__name__
    return text.splitlines()[0].rstrip(".")

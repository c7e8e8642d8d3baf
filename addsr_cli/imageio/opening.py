"""Opens files that may be anything; every failure becomes an `UnreadableInput`."""

import stat
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

from addsr_cli.errors import UnreadableInput
from addsr_cli.imageio import extras, signatures
from addsr_cli.imageio.picture_file import PictureFile
from addsr_cli.imageio.pillow_file import PillowFile, check_image, is_raw_preview

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
# JPEG XR and high dynamic range
_UNREADABLE_PHOTOS = frozenset({".jxr", ".wdp", ".hdp", ".exr", ".hdr"})
_FETCH = "Get a complete copy of the file."

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
    """Return the suffixes of files that can be read here, in lower case with their dot."""
    Image.init()
    pillow = {suffix for suffix, name in Image.EXTENSION.items() if name in _READABLE}
    return frozenset(pillow).union(
        *(extra.suffixes for extra in extras.EXTRAS if extra.installed),
    )


def photo_suffixes() -> frozenset[str]:
    """Return the suffixes of photos, even of those that cannot be read here.

    In a batch, these fail with a reason instead of being skipped.
    """
    suffixes = (extra.suffixes for extra in extras.EXTRAS)
    return readable_suffixes().union(*suffixes, _UNREADABLE_PHOTOS)


def readable_formats() -> list[str]:
    """Return the names of the formats that can be read here."""
    Image.init()
    pillow = [name for name in _READABLE if name in Image.OPEN]
    return pillow + [extra.title for extra in extras.EXTRAS if extra.installed]


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
def open_picture(source: Path | bytes) -> Iterator[tuple[PictureFile, BinaryIO]]:
    """Open a picture and check its header; yields it, not decoded yet, and its file.

    ``source`` is a path or the file's bytes. Raises UnreadableInput, also for damage that shows
    inside the block.
    """
    name = display_name(source)
    stream = BytesIO(source) if isinstance(source, bytes) else _file(source, name)
    with (
        stream,
        quiet_pillow(),
        translate_damage(name),
        closing(_identify(stream, name)) as file,
    ):
        yield file, stream


@contextmanager
def translate_damage(name: str, kind: str = "") -> Iterator[None]:
    """Translate errors of decoders on damaged files into UnreadableInput.

    ``name`` begins the message; ``kind`` is the kind of file, if it is worth naming.
    """
    try:
        yield
    except DAMAGE as exc:
        damaged = f"a damaged {kind} file" if kind else "damaged"
        raise UnreadableInput(f"{name} is {damaged}: {_reason(exc)}.", _FETCH) from exc


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


def _identify(stream: BinaryIO, name: str) -> PictureFile:
    """Open the picture with the library for its kind. Raises UnreadableInput."""
    head = stream.read(signatures.HEAD_BYTES)
    stream.seek(0)
    if not head:
        raise UnreadableInput(f"{name} is empty (0 bytes).", _FETCH)
    if signatures.is_heif(head):
        return _open_heif(stream, name)
    if signatures.is_jxl(head):
        return _open_jxl(stream, name)
    if signatures.is_camera_raw(head):
        return _open_raw(stream, name)
    try:
        image = Image.open(stream, formats=_READABLE)
    except UnidentifiedImageError as exc:
        if signatures.is_tiff(head) and extras.RAW.installed:
            with suppress(UnreadableInput):  # then it is no camera raw file either
                return _open_raw(stream, name)
        kind, hint = signatures.describe_unreadable(head)
        raise UnreadableInput(f"{name} is {kind}.", hint) from exc
    if is_raw_preview(image):
        return _open_raw(stream, name)
    try:
        check_image(image, name)
    except UnreadableInput:
        image.close()
        raise
    return PillowFile(image, stream)


def _open_heif(stream: BinaryIO, name: str) -> PictureFile:
    extras.HEIF.require(name)
    from addsr_cli.imageio.heif_file import HeifFile

    with translate_damage(name, extras.HEIF.title):
        return HeifFile(stream, name)


def _open_jxl(stream: BinaryIO, name: str) -> PictureFile:
    extras.JXL.require(name)
    from addsr_cli.imageio.jxl_file import JxlFile

    with translate_damage(name, extras.JXL.title):
        return JxlFile(stream, name)


def _open_raw(stream: BinaryIO, name: str) -> PictureFile:
    extras.RAW.require(name)
    from addsr_cli.imageio.raw_file import RawFile

    stream.seek(0)
    return RawFile(stream, name)


def _reason(exc: BaseException) -> str:
    """Return the first line of an error's message, to end a sentence with."""
    text = str(exc) or type(exc).__name__
    if isinstance(exc, OSError) and exc.strerror:
        text = exc.strerror
    return text.splitlines()[0].rstrip(".")

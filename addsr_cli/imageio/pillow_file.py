"""Files that Pillow opens: JPEG, PNG, WebP, TIFF, AVIF, GIF, BMP and others."""

import math
from collections.abc import Mapping
from contextlib import suppress
from io import SEEK_END
from typing import Any, BinaryIO

from PIL import Image

from addsr_cli.errors import UnreadableInput
from addsr_cli.imageio import exif as exif_blob
from addsr_cli.imageio import gamma, iptc
from addsr_cli.imageio import xmp as xmp_packet
from addsr_cli.imageio.animation import AnimatedPhoto, animate
from addsr_cli.imageio.decode import bit_depth, decode, has_alpha
from addsr_cli.imageio.photo import Header, IntArray, Photo
from addsr_cli.imageio.picture_file import check_size, sound_icc, sound_xmp, upright_exif

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
_FORMAT_NAMES = {"MPO": "JPEG", "DIB": "BMP"}
# IFD0 tags of a TIFF file that describe the photo; the others describe the file's layout.
_DESCRIPTION, _MAKE, _MODEL = 270, 271, 272
_RESOLUTION = {282, 283, 296}
_SOFTWARE, _DATE, _ARTIST, _HOST, _COPYRIGHT = 305, 306, 315, 316, 33432
_WINDOWS = {18246, 18249, *range(40091, 40096)}  # rating, title, comment, author, keywords, subject
_DESCRIPTIVE = {
    _DESCRIPTION,
    _MAKE,
    _MODEL,
    _SOFTWARE,
    _DATE,
    _ARTIST,
    _HOST,
    _COPYRIGHT,
    *_RESOLUTION,
    *_WINDOWS,
}
_EXIF_IFD, _GPS_IFD, _MAKER_NOTE = 34665, 34853, 37500
_PHOTOSHOP, _IPTC = 34377, 33723
# Names of PNG texts by which ImageMagick stores EXIF and IPTC.
_RAW_EXIF = "Raw profile type exif"
_RAW_IPTC = ("Raw profile type iptc", "Raw profile type 8bim")


class PillowFile:
    """An image that Pillow has opened; ``stream`` is its file, None for an image in memory."""

    def __init__(self, image: Image.Image, stream: BinaryIO | None) -> None:
        self.image = image
        self.stream = stream

    def header(self) -> Header:
        """Return what the file declares about its first picture."""
        image = self.image
        width, height = image.size
        if _orientation(image, _raw_exif(image), self.xmp()) >= 5:
            width, height = height, width
        return Header(
            format=_format(image),
            width=width,
            height=height,
            mode=image.mode,
            bit_depth=bit_depth(image),
            has_alpha=has_alpha(image),
            frames=1 if image.format == "MPO" else _frames(image),
        )

    def xmp(self) -> bytes | None:
        """Return the XMP packet; None when there is none, or a damaged one."""
        return sound_xmp(self.image.info.get("xmp"))

    def decode_reduced(self, max_side: int) -> None:
        """Let JPEG be decoded at the smallest of its fractions that is at least ``max_side``."""
        width, height = self.image.size
        factor = max_side / max(width, height)
        if factor < 1:
            self.image.draft(None, (math.ceil(width * factor), math.ceil(height * factor)))

    def close(self) -> None:
        """Release the image; the stream stays open."""
        self.image.close()

    def photo(self) -> Photo:
        """Decode the first picture. Raises one of `opening.DAMAGE`."""
        frames = _frames(self.image)
        notes = [_frames_note(self.image, frames)] if frames > 1 else []
        return self._frame(notes)

    def animation(self) -> AnimatedPhoto | None:
        """Decode all pictures of a file that holds several; None for other files."""
        image = self.image
        count = self.header().frames
        if count == 1:
            return None
        frames = []
        durations = []
        for number in range(count):
            image.seek(number)
            check_image(image, f"Picture {number + 1} of the file")
            frames.append(self._frame([]))
            durations.append(float(image.info.get("duration", 0)))
        once = image.format == "GIF" and "loop" not in image.info
        return animate(
            frames,
            durations=() if image.format == "TIFF" else durations,
            loops=1 if once else int(image.info.get("loop", 0)),
        )

    def _frame(self, notes: list[str]) -> Photo:
        """Decode the current picture; ``notes`` become the first of its warnings."""
        image = self.image
        format = _format(image)
        if self.stream is not None:
            _check_end(format, self.stream)
        raw_exif = _raw_exif(image)
        raw_xmp = sound_xmp(image.info.get("xmp"), notes)
        dpi = _dpi(image)
        orientation = _orientation(image, raw_exif, raw_xmp)
        exif = upright_exif(raw_exif, notes)
        pixels = decode(image, self.stream)
        samples = pixels.upright(orientation)
        return Photo(
            samples=_in_srgb(image, samples, notes),
            bit_depth=8 * samples.itemsize,
            icc=sound_icc(pixels.icc, notes),
            exif=exif,
            xmp=xmp_packet.upright(raw_xmp) if raw_xmp else None,
            iptc=_iptc(image),
            texts=_texts(image, raw_xmp),
            format=format,
            warnings=(*notes, *pixels.warnings),
            dpi=dpi,
            jpeg_table=_jpeg_table(image),
        )


def _jpeg_table(image: Image.Image) -> tuple[int, ...] | None:
    """Return the steps by which a JPEG file quantizes luminance; None for other formats."""
    tables: Mapping[int, Any] = getattr(image, "quantization", None) or {}
    return tuple(tables[0]) if 0 in tables else None


def check_image(image: Image.Image, name: str) -> None:
    """Raise UnreadableInput for a picture that is too large or of an unsupported kind."""
    check_size(*image.size, name)
    if image.mode not in _MODES and not (image.mode == "I" and image.format == "PPM"):
        kind = {"F": "32-bit float (HDR)", "I": "32-bit integer"}.get(image.mode, "unusual")
        raise UnreadableInput(
            f"{name} has {kind} pixels (mode {image.mode}), which are not supported.",
            "Convert it to 8-bit or 16-bit PNG or TIFF first.",
        )
    tags: Mapping[int, Any] = getattr(image, "tag_v2", {})
    separate_planes = tags.get(_PLANAR_CONFIGURATION) == 2
    if separate_planes and max(tags.get(_BITS_PER_SAMPLE, (8,))) > 8:
        raise UnreadableInput(
            f"{name} is a 16-bit TIFF with separate colour planes, which is not supported.",
            "Save it with interleaved channels, or as PNG.",
        )


def is_raw_preview(image: Image.Image) -> bool:
    """Return whether what Pillow sees of a TIFF file is only the preview of camera raw data."""
    tags: Mapping[int, Any] = getattr(image, "tag_v2", {})
    return bool(int(tags.get(_NEW_SUBFILE_TYPE, 0)) & 1) or _DNG_VERSION in tags


def _check_end(format: str, stream: BinaryIO) -> None:
    """Raise EOFError for truncated files that decoders accept, filling the rest with one colour.

    These are a GIF without its end mark, and a JPEG that ends in zeros: a download that reserved
    its space and was interrupted.
    """
    stream.seek(-min(1024, stream.seek(0, SEEK_END)), SEEK_END)
    tail = stream.read()
    if format == "GIF" and not tail.rstrip(b"\0").endswith(b";"):
        raise EOFError("the GIF is truncated: its end mark is missing")
    if format == "JPEG" and not tail.strip(b"\0"):
        stream.seek(0)
        if not stream.read().rstrip(b"\0").endswith(b"\xff\xd9"):
            raise EOFError("it is truncated: its end is empty")


def _format(image: Image.Image) -> str:
    name = image.format or "PNG"
    return _FORMAT_NAMES.get(name, name)


def _frames(image: Image.Image) -> int:
    return 1 if image.format in ("PSD", "ICO") else int(getattr(image, "n_frames", 1))


def _frames_note(image: Image.Image, frames: int) -> str:
    if image.format == "MPO":
        return (
            f"the file holds {frames} pictures (a preview, depth or gain map): "
            "only the first was used"
        )
    hint = "--frames all uses all of them"
    if image.format == "TIFF":
        return f"multi-page file: only the first of {frames} pages was used ({hint})"
    return f"animated file: only the first of {frames} frames was used ({hint})"


def _raw_exif(image: Image.Image) -> bytes | None:
    """Return the EXIF bytes of the file; for TIFF, whose tags are spread, the descriptive ones."""
    if image.format == "TIFF":
        return descriptive_exif(image.getexif())
    raw = image.info.get("exif")
    text = image.info.get(_RAW_EXIF)
    if raw is None and isinstance(text, str):
        try:
            raw = bytes.fromhex("".join(text.split("\n")[3:]))
        except ValueError:
            raw = text.encode("utf-8", "replace")  # reported as damaged later
    if not isinstance(raw, bytes) or not raw:
        return None
    return exif_blob.strip_prefix(raw)


def descriptive_exif(exif: Image.Exif, *, maker_note: bool = True) -> bytes | None:
    """Return the tags of a TIFF file that describe the photo, not the layout of the file."""
    copy = Image.Exif()  # Pillow still needs the orientation in the original
    for tag in _DESCRIPTIVE & exif.keys():
        copy[tag] = exif[tag]
    for tag in (_EXIF_IFD, _GPS_IFD):
        directory = dict(exif.get_ifd(tag))
        if not maker_note:
            directory.pop(_MAKER_NOTE, None)
        if directory:
            copy[tag] = directory
    if not len(copy):
        return None
    return exif_blob.strip_prefix(copy.tobytes())


def _in_srgb(
    image: Image.Image,
    samples: IntArray,
    notes: list[str],
) -> IntArray:
    """Return the samples of a PNG in sRGB where its gAMA or cHRM chunk declares something else."""
    info = image.info
    if image.format != "PNG" or "icc_profile" in info or "srgb" in info:
        return samples
    file_gamma = info.get("gamma")
    primaries = info.get("chromaticity")
    if not gamma.differs(file_gamma, primaries):
        return samples
    notes.append(
        "the colours were converted to sRGB from the gamma and primaries that the file names"
    )
    return gamma.to_srgb(samples, file_gamma, primaries)


def _iptc(image: Image.Image) -> bytes | None:
    """Return IPTC data in Photoshop's blocks, from where the format stores it."""
    blocks = b""
    if image.format in ("JPEG", "MPO"):
        segments = [data for name, data in getattr(image, "applist", ()) if name == "APP13"]
        blocks = b"".join(data.removeprefix(iptc.JPEG_PREFIX) for data in segments)
    elif image.format == "TIFF":
        tags = getattr(image, "tag_v2", {})
        photoshop = tags.get(_PHOTOSHOP)
        iim = tags.get(_IPTC)
        if isinstance(photoshop, bytes):
            blocks = photoshop
        if isinstance(iim, bytes) and iptc.extract_iim(blocks) is None:
            blocks = iptc.wrap_iim(iim)
    elif image.format == "PNG":
        texts = getattr(image, "text", {})
        profile = next((texts[name] for name in _RAW_IPTC if name in texts), None)
        if profile:
            blocks = iptc.from_raw_profile(profile) or b""
    return iptc.photo_blocks(blocks)


def _texts(image: Image.Image, xmp: bytes | None) -> tuple[tuple[str, str], ...]:
    """Return comments, or a PNG's texts without other metadata and without those of addsr."""
    if image.format in ("JPEG", "MPO"):
        comments = [data for name, data in getattr(image, "applist", ()) if name == "COM"]
        return tuple(
            ("Comment", data.rstrip(b"\0").decode("utf-8", "surrogateescape")) for data in comments
        )
    if image.format == "PNG":
        embedded = xmp_packet.settings_in(xmp) if xmp else {}
        texts = getattr(image, "text", {}).items()
        return tuple(
            (str(key), str(text))
            for key, text in texts
            if embedded.get(key) != text and not key.startswith(("Raw profile type", "XML:"))
        )
    comment = image.info.get("comment")
    if isinstance(comment, bytes):
        comment = comment.decode("utf-8", "surrogateescape")
    if not isinstance(comment, str) or not comment:
        return ()
    return (("Comment", comment),)


def _orientation(
    image: Image.Image,
    exif: bytes | None,
    xmp: bytes | None,
) -> int:
    """Return the orientation, 1..8, of EXIF or else XMP; 1 for TIFF, which Pillow turns itself."""
    if image.format == "TIFF":
        return 1
    orientation = None
    if exif:
        with suppress(*exif_blob.BROKEN):  # reported by `_upright_exif`
            orientation = exif_blob.orientation(exif)
    if orientation is None and xmp:
        orientation = xmp_packet.orientation(xmp)
    return orientation or 1


def _dpi(image: Image.Image) -> tuple[float, float] | None:
    try:
        x, y = (float(value) for value in image.info.get("dpi", ()))
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    if not (1 <= x <= 65535 and 1 <= y <= 65535):
        return None
    return x, y

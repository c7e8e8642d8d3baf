"""Files, bytes and Pillow images -> `Photo`, upright, with all that is worth keeping set aside."""

from dataclasses import replace
from io import SEEK_END, BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image

from addsr_cli.errors import OutOfMemory
from addsr_cli.imageio import exif as exif_blob
from addsr_cli.imageio import gamma, iptc
from addsr_cli.imageio import xmp as xmp_packet
from addsr_cli.imageio.access import Access
from addsr_cli.imageio.decode import bit_depth, decode, has_alpha
from addsr_cli.imageio.opening import (
    check_header,
    name_in_sentence,
    open_image,
    quiet_pillow,
    translate_damage,
)
from addsr_cli.imageio.photo import FloatArray, Header, Photo

_FORMAT_NAMES = {"MPO": "JPEG", "DIB": "BMP"}
# IFD0 tags of a TIFF file that describe the photo; the others describe the file's own layout.
_DESCRIPTIVE = {
    270,
    271,
    272,
    282,
    283,
    296,
    305,
    306,
    315,
    316,
    18246,
    18249,
    33432,
    *range(40091, 40096),
}
_EXIF_IFD, _GPS_IFD = 34665, 34853
_PHOTOSHOP, _IPTC = 34377, 33723
_RAW_IPTC = ("Raw profile type iptc", "Raw profile type 8bim")


def read_header(source: Path | bytes) -> Header:
    """Read what the file says about its picture, with the upright size, without decoding pixels.

    Raises UnreadableInput when it is missing, not a picture, of an unsupported kind, or beyond
    `MAX_PIXELS`.
    """
    with open_image(source) as (image, _):
        width, height = image.size
        if _orientation(image, _raw_exif(image), _raw_xmp(image)) >= 5:
            width, height = height, width
        return Header(
            format=_format(image),
            width=width,
            height=height,
            mode=image.mode,
            bit_depth=bit_depth(image),
            has_alpha=has_alpha(image),
            frames=_frames(image),
        )


def read(source: Path | bytes) -> Photo:
    """Read the first frame of a file (path or bytes).

    Raises UnreadableInput when it is missing, damaged, not a picture, of an unsupported kind, or
    beyond `MAX_PIXELS`; OutOfMemory when there is no room for its pixels.
    """
    try:
        with open_image(source) as (image, stream):
            access = None if isinstance(stream, BytesIO) else Access.of(stream.fileno())
            return replace(_photo(image, stream), access=access)
    except MemoryError as exc:
        raise OutOfMemory(
            f"There is not enough memory to read {name_in_sentence(source)}.",
            "Close other programs, or take a smaller picture.",
        ) from exc


def from_pil(image: Image.Image) -> Photo:
    """Make a photo from a Pillow image of any supported mode; its EXIF orientation is applied.

    Raises UnreadableInput for unsupported modes and sizes.
    """
    check_header(image, "The image")
    with quiet_pillow(), translate_damage("The image"):
        return _photo(image, None)


def read_settings(source: Path | bytes) -> dict[str, str]:
    """Read back the settings that `encode` embedded, from any format we write; empty when there are none.

    Raises UnreadableInput when the file cannot be opened as a picture.
    """
    with open_image(source) as (image, _):
        packet = _raw_xmp(image)
    return xmp_packet.settings_in(packet) if packet else {}


def _photo(image: Image.Image, stream: BinaryIO | None) -> Photo:
    notes: list[str] = []
    frames, fmt = _frames(image), _format(image)
    if frames > 1:
        notes.append(_frames_note(image, frames))
    if stream is not None:
        _check_end(fmt, stream)
    raw_exif, raw_xmp, dpi = _raw_exif(image), _raw_xmp(image, notes), _dpi(image)
    orientation = _orientation(image, raw_exif, raw_xmp)
    exif = _upright_exif(raw_exif, notes)
    pixels = decode(image, stream)
    rgb, alpha = pixels.upright(orientation)
    _apply_gamma(image, rgb, notes)
    return Photo(
        rgb=rgb,
        alpha=alpha,
        gray=pixels.gray,
        bit_depth=pixels.bit_depth,
        icc=_sound_icc(pixels.icc, notes),
        exif=exif,
        xmp=xmp_packet.upright(raw_xmp) if raw_xmp else None,
        iptc=_iptc(image),
        texts=_texts(image, raw_xmp),
        format=fmt,
        warnings=(*notes, *pixels.warnings),
        dpi=dpi,
    )


def _check_end(fmt: str, stream: BinaryIO) -> None:
    """Raise EOFError for cut files that decoders accept, filling what is missing with one colour.

    That is a GIF without its end mark, and a JPEG of which only zeros follow: a download that
    reserved space and broke.
    """
    stream.seek(-min(1024, stream.seek(0, SEEK_END)), SEEK_END)
    tail = stream.read()
    if fmt == "GIF" and not tail.rstrip(b"\0").endswith(b";"):
        raise EOFError("the GIF ends before its end mark, it is truncated")
    if fmt == "JPEG" and not tail.strip(b"\0"):
        stream.seek(0)
        if not stream.read().rstrip(b"\0").endswith(b"\xff\xd9"):
            raise EOFError("its end is empty, it is truncated")


def _format(image: Image.Image) -> str:
    name = image.format or "PNG"
    return _FORMAT_NAMES.get(name, name)


def _frames(image: Image.Image) -> int:
    return 1 if image.format in ("PSD", "ICO") else int(getattr(image, "n_frames", 1))


def _frames_note(image: Image.Image, frames: int) -> str:
    if image.format == "MPO":
        return f"the file holds {frames} pictures (a preview, depth or gain map): only the first was used"
    if image.format == "TIFF":
        return f"multi-page file: only the first of {frames} pages was used"
    return f"animated file: only the first of {frames} frames was used"


def _raw_exif(image: Image.Image) -> bytes | None:
    """Get the EXIF bytes as they lie in the file; for TIFF, which spreads them over the file, the descriptive tags."""
    if image.format == "TIFF":
        return _tiff_exif(image)
    raw = image.info.get("exif")
    if raw is None and isinstance(text := image.info.get("Raw profile type exif"), str):
        try:
            raw = bytes.fromhex(
                "".join(text.split("\n")[3:])
            )  # ImageMagick's older way to put EXIF into PNG
        except ValueError:
            raw = text.encode("utf-8", "replace")
    return exif_blob.strip_prefix(raw) if isinstance(raw, bytes) and raw else None


def _tiff_exif(image: Image.Image) -> bytes | None:
    found = image.getexif()
    kept = Image.Exif()  # a new one: Pillow still needs the orientation in the one it found
    for tag in _DESCRIPTIVE & found.keys():
        kept[tag] = found[tag]
    for tag in (_EXIF_IFD, _GPS_IFD):
        if directory := found.get_ifd(tag):
            kept[tag] = dict(directory)
    return exif_blob.strip_prefix(kept.tobytes()) if len(kept) else None


def _raw_xmp(image: Image.Image, notes: list[str] | None = None) -> bytes | None:
    """The XMP packet, if it is one; ``notes`` get a word when it is not."""
    raw: Any = image.info.get("xmp")
    if isinstance(raw, str):
        raw = raw.encode()
    if not isinstance(raw, bytes) or not raw.strip(b"\0 "):
        return None
    packet = raw.rstrip(b"\0")
    if xmp_packet.is_sound(packet):
        return packet
    if notes is not None:
        notes.append("the XMP data is damaged and was left out")
    return None


def _apply_gamma(image: Image.Image, rgb: FloatArray, notes: list[str]) -> None:
    """Make sRGB of a PNG that says by gAMA or cHRM that it is not; the samples change in place."""
    info = image.info
    if image.format != "PNG" or "icc_profile" in info or "srgb" in info:
        return
    told = info.get("gamma"), info.get("chromaticity")
    if gamma.differs(*told):
        gamma.to_srgb(rgb, *told)
        notes.append(
            "the colours were converted to sRGB from the gamma and primaries that the file names"
        )


def _iptc(image: Image.Image) -> bytes | None:
    """IPTC data in Photoshop's blocks, from wherever the format keeps it."""
    found = b""
    if image.format in ("JPEG", "MPO"):
        segments = [data for name, data in getattr(image, "applist", ()) if name == "APP13"]
        found = b"".join(data.removeprefix(iptc.JPEG_PREFIX) for data in segments)
    elif image.format == "TIFF":
        tags = getattr(image, "tag_v2", {})
        blocks, plain = (tags.get(tag) for tag in (_PHOTOSHOP, _IPTC))
        found = blocks if isinstance(blocks, bytes) else b""
        if isinstance(plain, bytes) and iptc.extract_iim(found) is None:
            found = iptc.wrap_iim(plain)
    elif image.format == "PNG":
        texts = getattr(image, "text", {})
        raw = next((texts[name] for name in _RAW_IPTC if name in texts), None)
        found = (raw and iptc.from_raw_profile(raw)) or b""
    return iptc.photo_blocks(found)


def _texts(image: Image.Image, xmp: bytes | None) -> tuple[tuple[str, str], ...]:
    """Comments, and the texts of a PNG less those that hold other data and those that addsr wrote."""
    if image.format in ("JPEG", "MPO"):
        comments = [data for name, data in getattr(image, "applist", ()) if name == "COM"]
        return tuple(
            ("Comment", data.rstrip(b"\0").decode("utf-8", "surrogateescape")) for data in comments
        )
    if image.format == "PNG":
        ours = xmp_packet.settings_in(xmp) if xmp else {}
        texts = getattr(image, "text", {}).items()
        return tuple(
            (str(key), str(text))
            for key, text in texts
            if ours.get(key) != text and not key.startswith(("Raw profile type", "XML:"))
        )
    comment = image.info.get("comment")
    if isinstance(comment, bytes):
        comment = comment.decode("utf-8", "surrogateescape")
    return (("Comment", comment),) if isinstance(comment, str) and comment else ()


def _orientation(image: Image.Image, exif: bytes | None, xmp: bytes | None) -> int:
    """1..8, from EXIF or else from XMP; 1 for TIFF, which Pillow turns while loading."""
    if image.format == "TIFF":
        return 1
    found = None
    if exif:
        try:
            found = exif_blob.orientation(exif)
        except exif_blob.BROKEN:
            found = None  # `_upright_exif` tells the user
    if found is None and xmp:
        found = xmp_packet.orientation(xmp)
    return found or 1


def _upright_exif(raw: bytes | None, notes: list[str]) -> bytes | None:
    if raw is None:
        return None
    try:
        return exif_blob.upright(raw)
    except exif_blob.BROKEN:
        notes.append("the EXIF data is damaged and was left out")
        return None


def _sound_icc(icc: bytes | None, notes: list[str]) -> bytes | None:
    if icc and (len(icc) < 128 or icc[36:40] != b"acsp"):
        notes.append("the colour profile is damaged and was left out")
        return None
    return icc or None


def _dpi(image: Image.Image) -> tuple[float, float] | None:
    try:
        x, y = (float(value) for value in image.info.get("dpi", ()))
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return (x, y) if 1 <= x <= 65535 and 1 <= y <= 65535 else None

"""Decodes Pillow images of every supported mode, with all 16 bits of 16-bit files."""

from dataclasses import dataclass
from io import BytesIO
from typing import Any, BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from addsr_cli.imageio.photo import IntArray, bands

_BITS_PER_SAMPLE, _PHOTOMETRIC = 258, 262  # TIFF tags
_WHITE_IS_ZERO = 0
# Channels of OpenCV (BGR, BGRA) in our order, by number of channels.
_OPENCV_CHANNELS = {1: [0], 2: [0, 3], 3: [2, 1, 0], 4: [2, 1, 0, 3]}
# What makes pixels upright, by EXIF orientation: (mirror left-right, counter-clockwise quarter
# turns).
_TURNS = {
    1: (False, 0),
    2: (True, 0),
    3: (False, 2),
    4: (True, 2),
    5: (True, 1),
    6: (False, 3),
    7: (True, 3),
    8: (False, 1),
}


@dataclass(frozen=True, kw_only=True)
class Pixels:
    """Decoded pixels of a file.

    ``samples``: uint8 or uint16 (H, W, 1..4) of the file's depth, as ``Photo`` holds them.
    """

    samples: IntArray
    icc: bytes | None
    warnings: tuple[str, ...] = ()

    def upright(self, orientation: int) -> IntArray:
        """Return the samples turned by EXIF orientation, C-contiguous."""
        mirror, quarters = _TURNS[orientation]
        samples = self.samples[:, ::-1] if mirror else self.samples
        turned: Any = np.ascontiguousarray(np.rot90(samples, quarters))
        upright: IntArray = turned
        return upright


def bit_depth(image: Image.Image) -> int:
    """Return the bits per sample in the file, 8 or 16; the image must not be decoded yet."""
    if image.mode.startswith("I"):
        return 16
    if ";16" in _raw_mode(image):
        return 16
    bits_per_sample = getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, ())
    return 16 if bits_per_sample and max(bits_per_sample) == 16 else 8


def _raw_mode(image: Image.Image) -> str:
    """Return Pillow's name of the sample layout in the file; empty once it is decoded."""
    tile = getattr(image, "tile", None)
    return str(tile[0][3]) if tile else ""


def has_alpha(image: Image.Image) -> bool:
    """Return whether the picture has an alpha channel or a transparent colour."""
    return image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info


def decode(image: Image.Image, stream: BinaryIO | None) -> Pixels:
    """Decode the current frame. ``stream`` is the whole file, from which 16-bit colour is read.

    Raises the errors of Pillow's decoders (see `opening.DAMAGE`).
    """
    depth = bit_depth(image)
    page = image.tell() if image.format == "TIFF" else 0
    icc = image.info.get("icc_profile")
    transparency = image.info.get("transparency")
    gray_alpha = _raw_mode(image).startswith("LA;16")
    image.load()
    if image.mode.startswith("I"):
        return _gray16(image, transparency, icc)
    notes: list[str] = []
    if image.mode in ("CMYK", "LAB"):
        image, icc, notes = _to_srgb(image, icc)
    if gray_alpha:
        image = image.convert("LA")  # Pillow widens this one layout to RGBA
    if depth == 16 and stream is not None:
        # the transparent colour is in 16-bit units, and Pillow would compare it with 8-bit samples
        image.info.pop("transparency", None)
    image = _in_eight_bits(image)
    array: NDArray[Any] | None = None
    if depth == 16:
        if stream is not None:
            array = _sixteen_bit(stream, image, page)
        if array is None:
            notes.append("this kind of 16-bit file was read with 8 bits per channel")
        else:
            array = _apply_transparent_colour(array, transparency)
    if array is None:
        array = _samples_of(image)
    return Pixels(
        samples=array,
        icc=icc,
        warnings=tuple(notes),
    )


def _in_eight_bits(image: Image.Image) -> Image.Image:
    """Return an image of any 8-bit mode in L, LA, RGB or RGBA."""
    mode = "L" if image.mode in ("1", "L", "LA", "La") else "RGB"
    if has_alpha(image):
        mode += "A"
    return image if image.mode == mode else image.convert(mode)


def _samples_of(image: Image.Image) -> NDArray[np.uint8]:
    """Return uint8 (H, W, 1..4) of L, LA, RGB or RGBA, copied in bands: Pillow copies twice."""
    width, height = image.size
    samples = np.empty((height, width, len(image.getbands())), np.uint8)
    for rows in bands(height, width):
        samples[rows] = _rows_of(image, rows)
    return samples


def _rows_of(image: Image.Image, rows: slice) -> NDArray[np.uint8]:
    """Return some rows, uint8 (rows, W, 1..4)."""
    band = np.asarray(image.crop((0, rows.start, image.width, rows.stop)))
    return band.reshape(*band.shape[:2], -1)


def _gray16(
    image: Image.Image,
    transparency: object,
    icc: bytes | None,
) -> Pixels:
    array: NDArray[Any] = np.asarray(image).astype(np.uint16)[:, :, None]
    if getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        array = np.iinfo(np.uint16).max - array  # Pillow inverts 8-bit samples only
    array = _apply_transparent_colour(array, transparency)
    return Pixels(
        samples=array,
        icc=icc,
    )


def _sixteen_bit(
    stream: BinaryIO,
    coarse: Image.Image,
    page: int,
) -> NDArray[np.uint16] | None:
    """Decode the same picture with 16 bits by OpenCV, since Pillow reads only 8 of them in colour.

    ``page`` is that of a TIFF file, from 0.

    OpenCV reads some layouts wrongly and accepts damaged files. So every upper byte must agree with
    ``coarse``, Pillow's strict decoding. Returns None when it does not. Channels are put into order
    band by band, where they are: a large picture is in memory once.
    """
    stream.seek(0)
    level = cv2.utils.logging.getLogLevel()
    # OpenCV prints a line for every unknown TIFF tag
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        decoded = _opencv_page(np.frombuffer(stream.read(), np.uint8), page)
    except cv2.error:
        return None
    finally:
        cv2.utils.logging.setLogLevel(level)
    width, height = coarse.size
    if decoded is None or decoded.dtype != np.uint16 or decoded.shape[:2] != (height, width):
        return None
    decoded = decoded.reshape(height, width, -1)
    order = _OPENCV_CHANNELS[len(coarse.getbands())]
    if max(order) >= decoded.shape[2]:
        return None
    samples = decoded
    if len(order) != decoded.shape[2]:
        samples = np.empty((height, width, len(order)), np.uint16)
    for rows in bands(height, width):
        band = decoded[rows][:, :, order]
        if not np.array_equal(band >> 8, _rows_of(coarse, rows)):
            return None
        samples[rows] = band
    return samples


def _opencv_page(data: NDArray[np.uint8], page: int) -> NDArray[Any] | None:
    if not page:
        return cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    _, pages = cv2.imdecodemulti(data, cv2.IMREAD_UNCHANGED, range=(page, page + 1))
    return pages[0] if pages else None


def _apply_transparent_colour(array: NDArray[Any], transparency: object) -> NDArray[Any]:
    """Turn PNG's transparent colour (tRNS, in 16-bit units) into an alpha channel."""
    if not isinstance(transparency, int | tuple):
        return array
    colour = array[:, :, :3] if array.shape[2] >= 3 else array[:, :, :1]
    visible = (colour != np.asarray(transparency, np.uint16)).any(axis=2, keepdims=True)
    return np.concatenate([colour, visible.astype(np.uint16) * np.uint16(0xFFFF)], axis=2)


def _to_srgb(image: Image.Image, icc: bytes | None) -> tuple[Image.Image, bytes | None, list[str]]:
    """Convert CMYK by its own profile where there is one, LAB by the standard profile.

    Returns the image, its profile (None: the result is sRGB), and warnings.
    """
    srgb = ImageCms.createProfile("sRGB")
    try:
        if image.mode == "LAB":
            source: Any = ImageCms.createProfile("LAB")
        elif icc and icc[16:20] == b"CMYK":
            source = ImageCms.ImageCmsProfile(BytesIO(icc))
        else:
            warning = "the CMYK colours were converted to sRGB without a profile"
            return image.convert("RGB"), None, [warning]
        flags = ImageCms.Flags.BLACKPOINTCOMPENSATION
        intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
        converted = ImageCms.profileToProfile(
            image,
            source,
            srgb,
            renderingIntent=intent,
            outputMode="RGB",
            flags=flags,
        )
    except (ImageCms.PyCMSError, OSError) as exc:
        if image.mode == "LAB":
            raise ValueError(f"LAB colours cannot be converted ({exc})") from exc
        warning = "the CMYK profile is damaged; colours were converted to sRGB without it"
        return image.convert("RGB"), None, [warning]
    if image.mode == "CMYK":
        warning = "the CMYK colours were converted to sRGB and their profile dropped"
    else:
        warning = "the LAB colours were converted to sRGB"
    return converted or image, None, [warning]

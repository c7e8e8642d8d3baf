"""Pillow images of every supported mode -> float pixels, without losing the lower half of 16-bit samples."""

from dataclasses import dataclass
from io import BytesIO
from typing import Any, BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from addsr_cli.imageio.photo import FloatArray, as_rgb, to_float

_SRGB_WARNING = "the CMYK colours were converted to sRGB and their profile dropped"
# Pixel array -> upright, by EXIF orientation: (mirror left-right, quarter turns counter-clockwise).
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
    """Decoded samples: float32 (H, W, 1..4) in [0, 1], whether the last channel is alpha, and what to tell the user."""

    samples: FloatArray
    has_alpha: bool
    bit_depth: int
    icc: bytes | None
    warnings: tuple[str, ...] = ()

    @property
    def gray(self) -> bool:
        """Whether there is one colour channel."""
        return self.samples.shape[2] <= 2

    def upright(self, orientation: int) -> tuple[FloatArray, FloatArray | None]:
        """Contiguous rgb (H, W, 3) and alpha (H, W) or None, turned by EXIF ``orientation`` 1..8."""
        mirror, quarters = _TURNS[orientation]
        samples = np.rot90(self.samples[:, ::-1] if mirror else self.samples, quarters)
        alpha = np.ascontiguousarray(samples[:, :, -1]) if self.has_alpha else None
        return as_rgb(samples), alpha


def bit_depth(image: Image.Image) -> int:
    """8 or 16: bits per sample in the file, read from a header whose pixels are not yet decoded."""
    if image.mode.startswith("I"):
        return 16
    per_sample = getattr(image, "tag_v2", {}).get(258, ())  # TIFF BitsPerSample
    return 16 if ";16" in _raw_mode(image) or (per_sample and max(per_sample) == 16) else 8


def _raw_mode(image: Image.Image) -> str:
    """Pillow's name for the layout of the samples in the file; empty once they are decoded."""
    tile = getattr(image, "tile", None)
    return str(tile[0][3]) if tile else ""


def has_alpha(image: Image.Image) -> bool:
    """Whether the picture has an alpha channel or a transparent colour."""
    return image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info


def decode(image: Image.Image, stream: BinaryIO | None) -> Pixels:
    """Decode the current frame. ``stream`` is the whole file, from which 16-bit colour is read.

    Raises whatever Pillow raises on damage (see `opening.DAMAGE`).
    """
    depth, icc = bit_depth(image), image.info.get("icc_profile")
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
        image.info.pop(
            "transparency", None
        )  # in 16-bit units, which Pillow would compare with 8-bit samples
    array: NDArray[Any] = _eight_bit(image)
    if depth == 16:
        deep = _sixteen_bit(stream, array) if stream is not None else None
        if deep is None:
            notes.append("this kind of 16-bit file was read with 8 bits per channel")
            depth = 8
        else:
            array = _with_key(deep, transparency)
    alpha = array.shape[2] in (2, 4)
    return Pixels(
        samples=to_float(array),
        has_alpha=alpha,
        bit_depth=depth,
        icc=icc,
        warnings=tuple(notes),
    )


def _eight_bit(image: Image.Image) -> NDArray[np.uint8]:
    """Any 8-bit mode -> uint8 (H, W, 1..4)."""
    transparent = has_alpha(image)
    mode = "L" if image.mode in ("1", "L", "LA", "La") else "RGB"
    if transparent:
        mode += "A"
    array = np.asarray(image if image.mode == mode else image.convert(mode))
    return array[:, :, None] if array.ndim == 2 else array


def _gray16(image: Image.Image, transparency: object, icc: bytes | None) -> Pixels:
    array: NDArray[Any] = np.asarray(image).astype(np.uint16)[:, :, None]
    if (
        getattr(image, "tag_v2", {}).get(262) == 0
    ):  # TIFF "white is zero": Pillow inverts 8 bits, but not 16
        array = np.iinfo(np.uint16).max - array
    array = _with_key(array, transparency)
    return Pixels(
        samples=to_float(array),
        has_alpha=array.shape[2] == 2,
        bit_depth=16,
        icc=icc,
    )


def _sixteen_bit(stream: BinaryIO, coarse: NDArray[np.uint8]) -> NDArray[np.uint16] | None:
    """Decode the same picture with 16 bits, through OpenCV, because Pillow keeps only 8 of them for colour.

    OpenCV reads some layouts wrongly and damage silently; so Pillow's decoding, which came first
    and is strict, has to agree in every upper byte. None when it does not.
    """
    stream.seek(0)
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(
        cv2.utils.logging.LOG_LEVEL_SILENT
    )  # it prints a line per unknown TIFF tag
    try:
        decoded = cv2.imdecode(np.frombuffer(stream.read(), np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    finally:
        cv2.utils.logging.setLogLevel(level)
    if decoded is None or decoded.dtype != np.uint16 or decoded.shape[:2] != coarse.shape[:2]:
        return None
    channels = decoded.shape[2] if decoded.ndim == 3 else 1
    picked = {1: [0], 2: [0, 3], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[coarse.shape[2]]
    if max(picked) >= channels:
        return None
    deep: NDArray[Any] = decoded.reshape(*decoded.shape[:2], channels)[:, :, picked]
    return deep if np.array_equal(deep >> 8, coarse) else None


def _with_key(array: NDArray[Any], transparency: object) -> NDArray[Any]:
    """Turn PNG's transparent colour (tRNS, in 16-bit units) into an alpha channel."""
    if not isinstance(transparency, int | tuple):
        return array
    colour = array[:, :, :3] if array.shape[2] >= 3 else array[:, :, :1]
    visible = (colour != np.asarray(transparency, np.uint16)).any(axis=2, keepdims=True)
    return np.concatenate([colour, visible.astype(np.uint16) * np.uint16(0xFFFF)], axis=2)


def _to_srgb(image: Image.Image, icc: bytes | None) -> tuple[Image.Image, bytes | None, list[str]]:
    """CMYK through its own profile where there is one, LAB through the standard one; the result needs no profile."""
    srgb = ImageCms.createProfile("sRGB")
    try:
        if image.mode == "LAB":
            source: Any = ImageCms.createProfile("LAB")
        elif icc and icc[16:20] == b"CMYK":
            source = ImageCms.ImageCmsProfile(BytesIO(icc))
        else:
            return (
                image.convert("RGB"),
                None,
                ["the CMYK colours were converted to sRGB without a profile"],
            )
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
        return (
            image.convert("RGB"),
            None,
            ["the CMYK profile is damaged; colours were converted to sRGB without it"],
        )
    notes = [_SRGB_WARNING] if image.mode == "CMYK" else ["the LAB colours were converted to sRGB"]
    return converted or image, None, notes

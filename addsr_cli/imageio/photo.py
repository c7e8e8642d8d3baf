"""What a picture is to the rest of the program: `Photo` (pixels and what came with them) and `Header` (facts only)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from addsr_cli.errors import OutputRefused, UsageError
from addsr_cli.imageio.access import Access

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.uint8] | NDArray[np.uint16]

_BAND_PIXELS = 1 << 20  # a band of this many pixels bounds the temporary floats while converting


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a file says about its picture before any pixel is decoded.

    ``format`` is Pillow's name (JPEG, PNG, ...); ``width`` and ``height`` are pixels once upright;
    ``mode`` is Pillow's mode; ``bit_depth`` is 8 or 16; ``frames`` counts the pictures in an
    animation or a multi-page file.
    """

    format: str
    width: int
    height: int
    mode: str
    bit_depth: int
    has_alpha: bool
    frames: int

    @property
    def size(self) -> tuple[int, int]:
        """Upright (width, height) in pixels."""
        return self.width, self.height


@dataclass(
    frozen=True,
    kw_only=True,
    eq=False,
)
class Photo:
    """An upright picture and everything worth keeping from its file.

    ``rgb``: float32 (H, W, 3), C-contiguous, nominally [0, 1] (values outside are clipped on
    encoding); grey has three equal channels. ``alpha``: float32 (H, W) in [0, 1], straight (not
    premultiplied), or None. ``exif``: the bare TIFF structure, without the ``Exif`` prefix,
    orientation 1, no thumbnail. ``iptc``: Photoshop's resource blocks that hold it. ``texts``:
    comments and PNG's texts, keyword first; bytes of no known encoding are escaped as surrogates.
    ``dpi``: horizontal and vertical dots per inch. ``access``: who may read the file that it came
    from, and so may read what is made of it. Raises ValueError for arrays of another shape or
    dtype.
    """

    rgb: FloatArray
    alpha: FloatArray | None = None
    gray: bool = False
    bit_depth: int = 8
    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    texts: tuple[tuple[str, str], ...] = ()
    format: str = "PNG"
    warnings: tuple[str, ...] = ()
    dpi: tuple[float, float] | None = None
    access: Access | None = None

    def __post_init__(self) -> None:
        if (
            self.rgb.ndim != 3
            or self.rgb.shape[2] != 3
            or self.rgb.dtype != np.float32
            or not self.rgb.size
        ):
            raise ValueError(
                f"rgb must be float32 (H, W, 3), not {self.rgb.dtype} {self.rgb.shape}"
            )
        if not self.rgb.flags.c_contiguous:
            object.__setattr__(self, "rgb", np.ascontiguousarray(self.rgb))
        if self.alpha is not None and (
            self.alpha.shape != self.rgb.shape[:2] or self.alpha.dtype != np.float32
        ):
            raise ValueError(
                f"alpha must be float32 {self.rgb.shape[:2]}, not {self.alpha.dtype} {self.alpha.shape}"
            )
        if self.bit_depth not in (8, 16):
            raise ValueError(f"bit_depth must be 8 or 16, not {self.bit_depth}")

    @property
    def width(self) -> int:
        """Pixels from left to right."""
        return self.rgb.shape[1]

    @property
    def height(self) -> int:
        """Pixels from top to bottom."""
        return self.rgb.shape[0]

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels, Pillow's order."""
        return self.width, self.height

    @property
    def has_alpha(self) -> bool:
        """Whether there is an alpha channel."""
        return self.alpha is not None

    @property
    def channels(self) -> int:
        """Samples per pixel in a file that holds all of it: 1 grey, 2 grey + alpha, 3 colour, 4 colour + alpha."""
        return (1 if self.gray else 3) + int(self.has_alpha)

    def to_array(self, bit_depth: int | None = None) -> IntArray:
        """Round to integers: uint8 or uint16, (H, W) grey, (H, W, 2) grey + alpha, (H, W, 3) or (H, W, 4).

        ``bit_depth`` is 8, 16 or None for the photo's own. Raises OutputRefused when a value is not
        finite.
        """
        colour = self.rgb[:, :, :1] if self.gray else self.rgb
        dtype = np.uint8 if (bit_depth or self.bit_depth) == 8 else np.uint16
        out: Any = np.empty((*self.rgb.shape[:2], self.channels), dtype)
        _quantize(colour, out[:, :, : colour.shape[2]])
        if self.alpha is not None:
            _quantize(self.alpha, out[:, :, -1])
        return out[:, :, 0] if self.channels == 1 else out

    def to_pil(self) -> Image.Image:
        """Make an 8-bit Pillow image of mode L, LA, RGB or RGBA, with ICC and EXIF in its ``info``."""
        image = Image.fromarray(self.to_array(8))
        if self.icc:
            image.info["icc_profile"] = self.icc
        if self.exif:
            image.info["exif"] = b"Exif\0\0" + self.exif
        return image


def from_array(array: NDArray[Any]) -> Photo:
    """Make a photo from uint8, uint16 or float [0, 1] pixels of shape (H, W) or (H, W, 1 to 4).

    One or two channels are grey, the last of two or four is straight alpha. Raises UsageError for
    any other array.
    """
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.ndim not in (2, 3) or not 1 <= channels <= 4 or not array.size:
        raise UsageError(
            f"An array of shape {array.shape} is not a picture.",
            "Give (height, width), or (height, width, 1 to 4).",
        )
    pixels = to_float(array).reshape(*array.shape[:2], channels)
    alpha = np.ascontiguousarray(pixels[:, :, -1]) if channels in (2, 4) else None
    depth = 16 if array.dtype == np.uint16 else 8
    return Photo(
        rgb=as_rgb(pixels),
        alpha=alpha,
        gray=channels <= 2,
        bit_depth=depth,
    )


def to_float(array: NDArray[Any]) -> FloatArray:
    """Integers of the full uint8 or uint16 range, bools or floats, any shape -> float32 in [0, 1] (floats as they are).

    Raises UsageError for other types and for floats that are not finite.
    """
    if array.dtype in (np.uint8, np.uint16):
        scaled: FloatArray = array.astype(np.float32)
        scaled /= np.float32(np.iinfo(array.dtype).max)
        return scaled
    if array.dtype == np.bool_ or array.dtype.kind == "f":
        if not np.isfinite(array).all():
            raise UsageError(
                "The array holds values that are not finite.", "Give values between 0 and 1."
            )
        return array.astype(np.float32)
    raise UsageError(
        f"Pixels of type {array.dtype} are not supported.",
        "Give uint8, uint16, or floats in [0, 1].",
    )


def as_rgb(pixels: FloatArray) -> FloatArray:
    """Float (H, W, C) with C = 1..4 -> contiguous (H, W, 3): grey is repeated, alpha is left behind."""
    if pixels.shape[2] <= 2:
        return np.repeat(pixels[:, :, :1], 3, axis=2)
    return np.ascontiguousarray(pixels[:, :, :3])


def _quantize(pixels: FloatArray, out: IntArray) -> None:
    """Write [0, 1] floats into ``out``, rounded to the nearest level, in bands so that no second float image exists."""
    top = np.float32(np.iinfo(out.dtype).max)
    rows = max(1, _BAND_PIXELS // pixels.shape[1])
    for start in range(0, pixels.shape[0], rows):
        band = pixels[start : start + rows] * top
        if not np.isfinite(band).all():
            raise OutputRefused(
                "The result holds values that are not numbers, so it was not written.",
                "Try --precision fp32.",
            )
        np.rint(band, out=band)
        out[start : start + rows] = np.clip(band, 0, top, out=band)

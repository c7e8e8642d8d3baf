"""`Photo`, pixels with their metadata, and `Header`, what a file declares before decoding."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from addsr_cli.errors import OutputRefused, UsageError
from addsr_cli.imageio.access import FileAccess

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.uint8] | NDArray[np.uint16]

_BAND_PIXELS = 1 << 20  # bounds the temporary floats while quantizing


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a file declares about its picture, before any pixel is decoded.

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
    """An upright picture and the metadata of its file.

    ``rgb``: float32 (H, W, 3), C-contiguous, nominally [0, 1] (values outside are clipped on
    encoding); grey has three equal channels. ``alpha``: float32 (H, W) in [0, 1], straight (not
    premultiplied), or None. ``exif``: the TIFF structure without the ``Exif`` prefix, orientation
    1, no thumbnail. ``iptc``: IPTC data in Photoshop's resource blocks. ``texts``:
    comments and PNG's texts, keyword first; bytes of no known encoding are escaped as surrogates.
    ``dpi``: horizontal and vertical dots per inch. ``access``: the permissions of the file, which
    outputs do not exceed. Raises ValueError for arrays of another shape or
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
    access: FileAccess | None = None

    def __post_init__(self) -> None:
        rgb = self.rgb
        if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.float32 or not rgb.size:
            raise ValueError(f"rgb must be float32 (H, W, 3), not {rgb.dtype} {rgb.shape}")
        if not rgb.flags.c_contiguous:
            object.__setattr__(self, "rgb", np.ascontiguousarray(rgb))
        alpha = self.alpha
        size = rgb.shape[:2]
        if alpha is not None and (alpha.shape != size or alpha.dtype != np.float32):
            raise ValueError(f"alpha must be float32 {size}, not {alpha.dtype} {alpha.shape}")
        if self.bit_depth not in (8, 16):
            raise ValueError(f"bit_depth must be 8 or 16, not {self.bit_depth}")

    @property
    def width(self) -> int:
        """Width in pixels."""
        return self.rgb.shape[1]

    @property
    def height(self) -> int:
        """Height in pixels."""
        return self.rgb.shape[0]

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.width, self.height

    @property
    def has_alpha(self) -> bool:
        """Whether there is an alpha channel."""
        return self.alpha is not None

    @property
    def channels(self) -> int:
        """Channels of the picture: 1 grey, 2 grey and alpha, 3 colour, 4 colour and alpha."""
        return (1 if self.gray else 3) + int(self.has_alpha)

    def to_array(self, bit_depth: int | None = None) -> IntArray:
        """Round to integers: uint8 or uint16, (H, W) for grey, else (H, W, channels).

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
        """Return an 8-bit Pillow image, L, LA, RGB or RGBA, with ICC and EXIF in ``info``."""
        image = Image.fromarray(self.to_array(8))
        if self.icc:
            image.info["icc_profile"] = self.icc
        if self.exif:
            image.info["exif"] = b"Exif\0\0" + self.exif
        return image


def from_array(array: NDArray[Any]) -> Photo:
    """Return the photo of uint8, uint16 or float [0, 1] pixels, (H, W) or (H, W, 1 to 4).

    One or two channels are grey; the last of two or four is straight alpha. Raises UsageError for
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
    """Return float32 of any shape; uint8 and uint16 are scaled from their full range to [0, 1].

    Bools and floats keep their values. Raises UsageError for other types, and for floats that are
    not finite.
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
    """Return contiguous (H, W, 3) of float (H, W, 1..4): grey is repeated, alpha is dropped."""
    if pixels.shape[2] <= 2:
        return np.repeat(pixels[:, :, :1], 3, axis=2)
    return np.ascontiguousarray(pixels[:, :, :3])


def _quantize(pixels: FloatArray, out: IntArray) -> None:
    """Write [0, 1] floats into ``out``, rounded to the nearest level.

    Works in bands of rows, so that there is never a second float image.
    """
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

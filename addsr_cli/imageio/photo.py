"""`Photo`, pixels with their metadata, and `Header`, what a file declares before decoding."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from addsr_cli.errors import OutputRefused, UsageError
from addsr_cli.imageio.access import FileAccess

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.uint8] | NDArray[np.uint16]
Samples = NDArray[Any]  # uint8, uint16 or float32

_DTYPES = (np.uint8, np.uint16, np.float32)
_BAND_PIXELS = 1 << 20  # bounds the temporary floats of a band of rows


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

    @property
    def channels(self) -> int:
        """Channels of the decoded picture, as in ``Photo``."""
        colours = 1 if self.mode in ("L", "LA", "1", "I;16") else 3
        return colours + self.has_alpha


@dataclass(
    frozen=True,
    kw_only=True,
    eq=False,
)
class Photo:
    """An upright picture and the metadata of its file.

    ``samples``: (H, W, C), C-contiguous, held once at the depth they came with: uint8 or uint16
    over their full range, or float32, nominally [0, 1] (values outside are clipped on encoding).
    C is 1 grey, 2 grey and alpha, 3 colour, 4 colour and alpha; alpha is straight (not
    premultiplied). ``bit_depth``: 8 or 16, that of files without a request for another; by default
    that of the samples, and 8 for floats. ``exif``: the TIFF structure without the ``Exif`` prefix,
    orientation 1, no thumbnail. ``iptc``: IPTC data in Photoshop's resource blocks. ``texts``:
    comments and PNG's texts, keyword first; bytes of no known encoding are escaped as surrogates.
    ``dpi``: horizontal and vertical dots per inch. ``access``: the permissions of the file, which
    outputs do not exceed. ``jpeg_table``: the 64 steps by which a JPEG file quantizes luminance,
    None for other files and for changed pixels. Raises ValueError for arrays of another shape or
    dtype.
    """

    samples: Samples
    bit_depth: int = 0
    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    texts: tuple[tuple[str, str], ...] = ()
    format: str = "PNG"
    warnings: tuple[str, ...] = ()
    dpi: tuple[float, float] | None = None
    access: FileAccess | None = None
    jpeg_table: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        samples = self.samples
        channels = samples.shape[2] if samples.ndim == 3 else 0
        if not 1 <= channels <= 4 or samples.dtype not in _DTYPES or not samples.size:
            raise ValueError(
                "samples must be uint8, uint16 or float32 (H, W, 1 to 4), "
                f"not {samples.dtype} {samples.shape}"
            )
        if not samples.flags.c_contiguous:
            object.__setattr__(self, "samples", np.ascontiguousarray(samples))
        if not self.bit_depth:
            object.__setattr__(self, "bit_depth", 16 if samples.dtype == np.uint16 else 8)
        if self.bit_depth not in (8, 16):
            raise ValueError(f"bit_depth must be 8 or 16, not {self.bit_depth}")

    @property
    def width(self) -> int:
        """Width in pixels."""
        return int(self.samples.shape[1])

    @property
    def height(self) -> int:
        """Height in pixels."""
        return int(self.samples.shape[0])

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.width, self.height

    @property
    def channels(self) -> int:
        """Channels of the picture: 1 grey, 2 grey and alpha, 3 colour, 4 colour and alpha."""
        return int(self.samples.shape[2])

    @property
    def gray(self) -> bool:
        """Whether there is one colour channel."""
        return self.channels <= 2

    @property
    def has_alpha(self) -> bool:
        """Whether there is an alpha channel."""
        return self.channels in (2, 4)

    @property
    def colours(self) -> int:
        """Channels without alpha, 1 or 3."""
        return 1 if self.gray else 3

    @property
    def colour(self) -> Samples:
        """A view of the samples without alpha, (H, W, 1 or 3)."""
        return self.samples[:, :, : self.colours]

    def rows(self, start: int, stop: int) -> FloatArray:
        """Return RGB of rows ``start`` to ``stop``, float32 (rows, W, 3); grey is repeated."""
        return as_rgb(as_float(self.samples[start:stop]))

    @property
    def rgb(self) -> FloatArray:
        """All pixels as float32 (H, W, 3), made anew: four bytes for each sample."""
        return self.rows(0, self.height)

    @property
    def alpha(self) -> FloatArray | None:
        """Alpha as float32 (H, W) in [0, 1], made anew; None where there is none."""
        return as_float(self.samples[:, :, -1]) if self.has_alpha else None

    def to_array(self, bit_depth: int | None = None) -> IntArray:
        """Return integers: uint8 or uint16, (H, W) for grey, else (H, W, channels).

        ``bit_depth`` is 8, 16 or None for the photo's own. Samples of that depth are not copied;
        others are rounded. Raises OutputRefused when a value is not finite.
        """
        dtype = np.uint8 if (bit_depth or self.bit_depth) == 8 else np.uint16
        out: Any = self.samples
        if out.dtype != dtype:
            out = np.empty(self.samples.shape, dtype)
            for band in bands(self.height, self.width):
                quantize(as_float(self.samples[band]), out[band])
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

    One or two channels are grey; the last of two or four is straight alpha. The photo may share the
    array's memory. Raises UsageError for any other array.
    """
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.ndim not in (2, 3) or not 1 <= channels <= 4 or not array.size:
        raise UsageError(
            f"An array of shape {array.shape} is not a picture.",
            "Give (height, width), or (height, width, 1 to 4).",
        )
    samples = array.reshape(*array.shape[:2], channels)
    if array.dtype not in (np.uint8, np.uint16):
        if array.dtype != np.bool_ and array.dtype.kind != "f":
            raise UsageError(
                f"Pixels of type {array.dtype} are not supported.",
                "Give uint8, uint16, or floats in [0, 1].",
            )
        if not np.isfinite(array).all():
            raise UsageError(
                "The array holds values that are not finite.", "Give values between 0 and 1."
            )
        samples = samples.astype(np.float32, copy=False)
    return Photo(samples=samples)


def as_float(samples: NDArray[Any]) -> FloatArray:
    """Return float32 of any shape; uint8 and uint16 are scaled from their full range to [0, 1].

    Floats are returned as they are.
    """
    if samples.dtype.kind == "f":
        return samples.astype(np.float32, copy=False)
    scaled: FloatArray = samples.astype(np.float32)
    scaled /= np.float32(np.iinfo(samples.dtype).max)
    return scaled


def float_planes(samples: Samples) -> FloatArray:
    """Return samples (H, W, C) as float32 planes (C, H, W), integers scaled to [0, 1]."""
    planes = np.empty((samples.shape[2], *samples.shape[:2]), np.float32)
    planes[...] = samples.transpose(2, 0, 1)
    if samples.dtype.kind != "f":
        planes /= np.float32(np.iinfo(samples.dtype).max)
    return planes


def as_rgb(pixels: FloatArray) -> FloatArray:
    """Return contiguous (H, W, 3) of float (H, W, 1..4): grey is repeated, alpha is dropped."""
    if pixels.shape[2] <= 2:
        return np.repeat(pixels[:, :, :1], 3, axis=2)
    return np.ascontiguousarray(pixels[:, :, :3])


def bands(height: int, width: int) -> Iterator[slice]:
    """Yield bands of rows that are small enough for temporary floats."""
    rows = max(1, _BAND_PIXELS // width)
    for start in range(0, height, rows):
        yield slice(start, min(height, start + rows))


def quantize(pixels: FloatArray, out: NDArray[Any]) -> None:
    """Write [0, 1] floats into ``out``, rounded to the nearest level; floats stay as they are.

    Raises OutputRefused when a value is not finite.
    """
    if out.dtype.kind == "f":
        out[:] = pixels
        return
    top = np.float32(np.iinfo(out.dtype).max)
    scaled = pixels * top
    if not np.isfinite(scaled).all():
        raise OutputRefused(
            "The result holds values that are not numbers, so it was not written.",
            "Try --precision fp32.",
        )
    np.rint(scaled, out=scaled)
    out[:] = np.clip(scaled, 0, top, out=scaled)


def narrowed(samples: NDArray[Any]) -> NDArray[np.uint8]:
    """Return contiguous uint16 samples as uint8, rounded, in the first half of their own memory."""
    wide = samples.reshape(-1)
    narrow = wide.view(np.uint8)[: wide.size]
    for start in range(0, wide.size, _BAND_PIXELS):
        part = slice(start, start + _BAND_PIXELS)
        narrow[part] = rounded(wide[part])  # only what has been read is overwritten
    return narrow.reshape(samples.shape)


def rounded(samples: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Return the nearest levels of 8 bits, without floats, which would take twice the memory."""
    levels = np.minimum(samples, np.uint16(0xFFFF - 128))  # the sum below must not overflow
    levels += np.uint16(128)
    levels //= np.uint16(257)
    return levels.astype(np.uint8)

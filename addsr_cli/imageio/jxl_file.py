"""JPEG XL, read and written by pyjpegxl (libjxl); the extra ``jxl``.

The decoder turns pictures upright, so that EXIF's orientation does not count (ISO/IEC 18181-2).
Of an animation, the library decodes one frame.
"""

from typing import Any, BinaryIO

import numpy as np
import pyjpegxl
from numpy.typing import NDArray

from addsr_cli.imageio import xmp as xmp_packet
from addsr_cli.imageio.decode import Pixels
from addsr_cli.imageio.photo import Header, IntArray, Photo
from addsr_cli.imageio.picture_file import check_size, sound_icc, sound_xmp, upright_exif

_EFFORT = pyjpegxl.EncoderSpeed.Hare  # 5 of 9: half the time of the default 7, 2 % larger
_NO_OFFSET = bytes(4)  # an Exif box begins with the offset of its TIFF header
_SDR_NITS = 255  # libjxl's intensity target of pictures that are not HDR


class JxlFile:
    """A JPEG XL file."""

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self.data = stream.read()
        self.metadata = pyjpegxl.probe(self.data)
        check_size(self.metadata.width, self.metadata.height, name)

    def header(self) -> Header:
        """Return what the file declares about its picture."""
        metadata = self.metadata
        mode = "L" if metadata.num_color_channels == 1 else "RGB"
        return Header(
            format="JXL",
            width=metadata.width,
            height=metadata.height,
            mode=mode + "A" if metadata.has_alpha else mode,
            bit_depth=self._bit_depth,
            has_alpha=metadata.has_alpha,
            frames=1,
        )

    def xmp(self) -> bytes | None:
        """Return the XMP packet; None when there is none, or a damaged one."""
        return sound_xmp(self.metadata.xmp)

    def animation(self) -> None:
        """Return None: one picture is read."""

    def close(self) -> None:
        """Do nothing: the memory is released with the object."""

    def photo(self) -> Photo:
        """Decode the picture. Raises one of `opening.DAMAGE`."""
        notes: list[str] = []
        metadata, array = pyjpegxl.decode_to_numpy(self.data, dtype=f"uint{self._bit_depth}")
        pixels = _pixels(array)
        raw_xmp = sound_xmp(metadata.xmp, notes)
        if metadata.intensity_target > _SDR_NITS:
            notes.append("the colours are encoded for HDR screens and will look pale")
        return Photo(
            samples=pixels.upright(1),
            icc=sound_icc(metadata.icc, notes),
            exif=upright_exif(_exif(metadata.exif), notes),
            xmp=xmp_packet.upright(raw_xmp) if raw_xmp else None,
            format="JXL",
            warnings=tuple(notes),
        )

    @property
    def _bit_depth(self) -> int:
        return 8 if self.metadata.bits_per_sample <= 8 else 16


def encode(
    samples: IntArray,
    *,
    quality: int | None,
    icc: bytes | None,
    exif: bytes | None,
    xmp: bytes | None,
) -> bytes:
    """Return a JPEG XL file of (H, W) or (H, W, 1..4) uint8 or uint16.

    ``quality`` is 1..100, None for lossless. Raises RuntimeError for what libjxl refuses.
    """
    return pyjpegxl.encode_from_numpy(
        np.ascontiguousarray(samples),
        lossless=quality is None,
        quality=1.0 if quality is None else distance(quality),
        speed=_EFFORT,
        exif=_NO_OFFSET + exif if exif else None,
        xmp=xmp,
        icc=icc,
    )


def distance(quality: int) -> float:
    """Return the Butteraugli distance of a quality, 1..100, as libjxl's command line maps it.

    See JxlEncoderDistanceFromQuality in libjxl's documentation.
    """
    if quality >= 30:
        return 0.1 + (100 - quality) * 0.09
    return 53 / 3000 * quality**2 - 23 / 20 * quality + 25


def _exif(box: bytes | None) -> bytes | None:
    """Return the TIFF structure of an Exif box, with or without the offset that precedes it."""
    if not box or box.startswith((b"II*\0", b"MM\0*")):
        return box
    return box[4 + int.from_bytes(box[:4], "big") :]


def _pixels(array: NDArray[Any]) -> Pixels:
    return Pixels(
        samples=array,
        icc=None,
    )

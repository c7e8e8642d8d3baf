"""HEIC and HEIF, the photos of iPhones and of some cameras, read by pillow-heif (libheif).

libheif applies the file's own rotation and mirroring, so that EXIF's orientation does not count
(ISO/IEC 23008-12, 6.5.10). pillow-heif is not registered with Pillow, whose images have at most 8
bits per channel in colour, and which programs that use this library may have set up otherwise.
"""

from typing import Any, BinaryIO

import numpy as np
import pillow_heif
from numpy.typing import NDArray

from addsr_cli.imageio import xmp as xmp_packet
from addsr_cli.imageio.chroma import smooth_chroma
from addsr_cli.imageio.decode import Pixels
from addsr_cli.imageio.exif import strip_prefix
from addsr_cli.imageio.photo import Header, Photo
from addsr_cli.imageio.picture_file import check_size, sound_icc, sound_xmp, upright_exif

# Transfer characteristics of ITU-T H.273, table 3
_HDR_TRANSFERS = {16: "PQ", 18: "HLG"}


class HeifFile:
    """A HEIF file, of which the primary picture is read."""

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self.file = pillow_heif.open_heif(
            stream,
            convert_hdr_to_8bit=False,
            hdr_to_16bit=False,
        )
        self.image = self.file[self.file.primary_index]
        self.info: dict[str, Any] = dict(self.image.info)
        check_size(*self.image.size, name)

    def header(self) -> Header:
        """Return what the file declares about its primary picture."""
        width, height = self.image.size
        mode = self.image.mode.partition(";")[0]
        return Header(
            format="HEIF",
            width=width,
            height=height,
            mode="L" if mode == "I" else mode,
            bit_depth=8 if self._bits == 8 else 16,
            has_alpha=mode.upper().endswith("A"),
            frames=1,
        )

    def xmp(self) -> bytes | None:
        """Return the XMP packet; None when there is none, or a damaged one."""
        return sound_xmp(self.info.get("xmp"))

    def animation(self) -> None:
        """Return None: one picture is read."""

    def close(self) -> None:
        """Do nothing: the memory is released with the object."""

    def photo(self) -> Photo:
        """Decode the primary picture. Raises one of `opening.DAMAGE`."""
        info = self.info
        notes = self._notes()
        raw_xmp = sound_xmp(info.get("xmp"), notes)
        pixels = self._pixels()
        return Photo(
            samples=pixels.upright(1),
            icc=sound_icc(info.get("icc_profile"), notes),
            exif=upright_exif(strip_prefix(info.get("exif") or b""), notes),
            xmp=xmp_packet.upright(raw_xmp) if raw_xmp else None,
            format="HEIF",
            warnings=tuple(notes),
        )

    @property
    def _bits(self) -> int:
        return int(self.info.get("bit_depth", 8))

    def _pixels(self) -> Pixels:
        array: NDArray[Any] = np.asarray(self.image)
        if array.ndim == 2:
            array = array[:, :, None]
        nclx = self.info.get("nclx_profile") or {}
        array = smooth_chroma(
            array,
            self._bits,
            self.info.get("chroma"),
            nclx.get("matrix_coefficients", 6),
        )
        if self.image.mode.startswith("RGBa"):
            array = _straight(array, self._bits)
        if self._bits > 8:
            array = full_range(array, self._bits)
        return Pixels(
            samples=array,
            icc=None,
        )

    def _notes(self) -> list[str]:
        notes = []
        if len(self.file) > 1:
            notes.append(f"the file holds {len(self.file)} pictures: only the primary one was used")
        nclx = self.info.get("nclx_profile") or {}
        transfer = _HDR_TRANSFERS.get(nclx.get("transfer_characteristics", 0))
        if transfer and not self.info.get("icc_profile"):
            notes.append(
                f"the colours are encoded for HDR screens ({transfer}) and will look pale: "
                "export the photo as SDR for better colours"
            )
        return notes


def full_range(array: NDArray[Any], bits: int) -> NDArray[np.uint16]:
    """Scale integers of ``bits`` (9 to 16) to the full range of uint16, rounded to the nearest."""
    top = (1 << bits) - 1
    wide = array.astype(np.uint32)
    wide *= 65535
    wide += top // 2
    wide //= top
    return wide.astype(np.uint16)


def _straight(array: NDArray[Any], bits: int) -> NDArray[Any]:
    """Divide premultiplied colours by alpha; where that is 0, they are kept."""
    top = (1 << bits) - 1
    alpha = array[:, :, 3:].astype(np.uint32)
    colour = array[:, :, :3].astype(np.uint32) * top + alpha // 2
    straight = np.where(alpha, np.minimum(colour // np.maximum(alpha, 1), top), array[:, :, :3])
    return np.concatenate([straight, alpha], axis=2).astype(array.dtype)

"""Camera raw data (DNG, CR2, CR3, NEF, ARW, RAF, ...), developed by rawpy (LibRaw); extra ``raw``.

Developed as cameras do it by default: their own white balance, 16 bits, sRGB with its own transfer
curve, upright, and brightened until one pixel in a thousand is white, since raw data are exposed
below that. Whoever wants other choices develops the photo in a raw converter first.
"""

from contextlib import suppress
from io import BytesIO
from typing import Any, BinaryIO

import rawpy
from numpy.typing import NDArray
from PIL import Image

from addsr_cli.errors import UnreadableInput
from addsr_cli.imageio.decode import Pixels
from addsr_cli.imageio.exif import strip_prefix
from addsr_cli.imageio.photo import Header, Photo
from addsr_cli.imageio.picture_file import check_size, upright_exif
from addsr_cli.imageio.pillow_file import descriptive_exif
from addsr_cli.imageio.signatures import is_tiff

_SRGB_CURVE = (2.4, 12.92)  # power and slope at black (IEC 61966-2-1)
_WHITE_SHARE = 0.001
_QUARTER_TURNS = (5, 6)  # LibRaw's `flip`
_NOTE = (
    "camera raw data were developed with the camera's white balance; "
    "for other choices use a raw converter first"
)


class RawFile:
    """A file of camera raw data."""

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self.stream = stream
        self.name = name
        stream.seek(0)
        try:
            self.raw = rawpy.imread(stream)
        except rawpy.LibRawError as exc:
            raise self._error(exc) from exc
        header = self.header()
        check_size(header.width, header.height, name)

    def header(self) -> Header:
        """Return the size of the developed photo."""
        sizes = self.raw.sizes
        width, height = sizes.iwidth, sizes.iheight
        if sizes.pixel_aspect < 1:
            height = round(height / sizes.pixel_aspect)
        elif sizes.pixel_aspect > 1:
            width = round(width * sizes.pixel_aspect)
        if sizes.flip in _QUARTER_TURNS:
            width, height = height, width
        return Header(
            format="RAW",
            width=width,
            height=height,
            mode="L" if self.raw.num_colors == 1 else "RGB",
            bit_depth=16,
            has_alpha=False,
            frames=1,
        )

    def xmp(self) -> bytes | None:
        """Return None: XMP in raw files holds the instructions of raw converters."""
        return None

    def animation(self) -> None:
        """Return None: one picture is read."""

    def close(self) -> None:
        """Release LibRaw's memory."""
        self.raw.close()

    def photo(self) -> Photo:
        """Develop the photo. Raises UnreadableInput for damaged files."""
        notes = [_NOTE]
        exif = upright_exif(self._exif(), notes)
        try:
            array: NDArray[Any] = self.raw.postprocess(
                use_camera_wb=True,
                output_color=rawpy.ColorSpace.sRGB,
                output_bps=16,
                gamma=_SRGB_CURVE,
                auto_bright_thr=_WHITE_SHARE,
            )
        except rawpy.LibRawError as exc:
            raise self._error(exc) from exc
        if not array.any():  # LibRaw takes data that are missing for black; sensors have noise
            raise UnreadableInput(
                f"{self.name} is a camera raw file without picture data.",
                "Copy it again from the camera.",
            )
        if array.ndim == 2:
            array = array[:, :, None]
        pixels = Pixels(
            samples=array,
            icc=None,
        )
        return Photo(
            samples=pixels.upright(1),
            exif=exif,
            format="RAW",
            warnings=tuple(notes),
        )

    def _exif(self) -> bytes | None:
        """Return EXIF from the file's own directories, or else from its JPEG preview."""
        self.stream.seek(0)
        if is_tiff(self.stream.read(4)):
            self.stream.seek(0)
            exif = Image.Exif()
            with suppress(SyntaxError, ValueError, OSError, KeyError):
                exif.load_from_fp(self.stream)
            return descriptive_exif(exif, maker_note=False)
        with suppress(rawpy.LibRawError, OSError, ValueError):
            preview = self.raw.extract_thumb()
            if preview.format == rawpy.ThumbFormat.JPEG:
                with Image.open(BytesIO(bytes(preview.data)), formats=["JPEG"]) as image:
                    return strip_prefix(image.info.get("exif", b""))
        return None

    def _error(self, exc: rawpy.LibRawError) -> UnreadableInput:
        if isinstance(exc, rawpy.LibRawFileUnsupportedError):
            return UnreadableInput(
                f"{self.name} is a camera raw file of a kind that LibRaw does not know.",
                "Convert it with Adobe's DNG Converter, or develop it to TIFF first.",
            )
        reason = exc.args[0].decode() if exc.args and isinstance(exc.args[0], bytes) else str(exc)
        return UnreadableInput(
            f"{self.name} is a damaged camera raw file: {reason}.",
            "Get a complete copy of the file.",
        )

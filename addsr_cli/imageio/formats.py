"""The formats this program writes, what each can hold, and which one an output takes."""

from dataclasses import dataclass
from pathlib import Path

from addsr_cli.errors import OutputRefused, UsageError
from addsr_cli.imageio.photo import Header, Photo


@dataclass(frozen=True, kw_only=True)
class Format:
    """What one file format can hold. ``max_side`` is in pixels; ``quality``: the default, None where lossless."""

    name: str
    suffix: str
    max_side: int
    max_pixels: int | None = None
    alpha: bool = True
    sixteen: bool = False
    lossless: bool = True
    quality: int | None = None


# JPEG: the format allows 65535, libjpeg (all common software) stops at 65500. AVIF: libavif's
# decoders refuse more.
FORMATS = {
    "PNG": Format(
        name="PNG",
        suffix=".png",
        max_side=2**31 - 1,
        sixteen=True,
    ),
    "JPEG": Format(
        name="JPEG",
        suffix=".jpg",
        max_side=65500,
        alpha=False,
        lossless=False,
        quality=95,
    ),
    "WEBP": Format(
        name="WEBP",
        suffix=".webp",
        max_side=16383,
        quality=90,
    ),
    "TIFF": Format(
        name="TIFF",
        suffix=".tif",
        max_side=2**31 - 1,
        sixteen=True,
    ),
    "AVIF": Format(
        name="AVIF",
        suffix=".avif",
        max_side=32768,
        max_pixels=2**28,
        lossless=False,
        quality=80,
    ),
}
_ALIASES = {"JPG": "JPEG", "JPE": "JPEG", "JFIF": "JPEG", "TIF": "TIFF"}
_KNOWN = "png, jpg, webp, tiff or avif"


@dataclass(frozen=True, kw_only=True)
class WriteOptions:
    """How to write a photo. Raises UsageError when the wishes contradict each other.

    ``format``: PNG, JPEG, WEBP, TIFF, AVIF (``jpg`` and ``tif`` are understood), or None for what
    the suffix says. ``quality``: 1..100, None for the format's own default. ``bit_depth``: 8, 16,
    None for the photo's where it fits. ``metadata=False`` embeds no EXIF, XMP, resolution or
    settings; the ICC profile stays, since colours depend on it.
    """

    format: str | None = None
    quality: int | None = None
    lossless: bool = False
    bit_depth: int | None = None
    metadata: bool = True
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.quality is not None and not 1 <= self.quality <= 100:
            raise UsageError(
                f"Quality {self.quality} is out of range.", "Give a number from 1 to 100."
            )
        if self.bit_depth not in (None, 8, 16):
            raise UsageError(f"A bit depth of {self.bit_depth} is not supported.", "Give 8 or 16.")
        if self.format is not None:
            object.__setattr__(self, "format", canonical(self.format))
            self.check_format(str(self.format))

    def check_format(self, name: str) -> None:
        """Raise UsageError when the format cannot do what these options ask for."""
        fmt = FORMATS[name]
        if self.lossless and not fmt.lossless:
            raise UsageError(
                f"{name} cannot be written lossless here.", "Use --format png, tiff or webp."
            )
        if self.bit_depth == 16 and not fmt.sixteen:
            raise UsageError(
                f"{name} is written with 8 bits per channel, not 16.", "Use --format png or tiff."
            )

    def depth_for(self, photo: Photo, name: str) -> int:
        """Bits per channel in the file: as asked, else the photo's where the format holds them, else 8."""
        return self.bit_depth or (photo.bit_depth if FORMATS[name].sixteen else 8)


def canonical(name: str) -> str:
    """``jpg``, ``.tif``, ``WebP`` ... -> the key in `FORMATS`. Raises UsageError for a format we do not write."""
    upper = name.strip().lstrip(".").upper()
    upper = _ALIASES.get(upper, upper)
    if upper not in FORMATS:
        raise UsageError(f"{name!r} is not a format that can be written.", f"Use {_KNOWN}.")
    return upper


def format_from_suffix(path: Path) -> str | None:
    """The format that the suffix of a file name says; None when it says none that is written here."""
    upper = path.suffix.removeprefix(".").upper()
    name = _ALIASES.get(upper, upper)
    return name if name in FORMATS else None


def choose_format(
    source: Photo | Header, *, suffix: str | None = None, explicit: str | None = None
) -> str:
    """Pick the output format: ``explicit`` wins, then the ``suffix`` of the named file, then the input's own.

    Without a wish PNG stands in for formats we do not write (GIF, BMP, ...) and where alpha does
    not fit. Raises UsageError when ``explicit`` or a non-empty ``suffix`` names no format we write.
    """
    if explicit:
        return canonical(explicit)
    if suffix:
        return canonical(suffix)
    own = FORMATS.get(source.format)
    return own.name if own and (own.alpha or not source.has_alpha) else "PNG"


def require_format(path: Path) -> str:
    """Get the format a file name asks for. Raises UsageError when it has no suffix, or one that says nothing."""
    if not path.suffix:
        raise UsageError(
            f"{path.name!r} has no suffix to tell the format by.",
            f"Add one, or --format ({_KNOWN}).",
        )
    return canonical(path.suffix)


def suffix_for(name: str) -> str:
    """Get the usual file suffix with its dot: ``JPEG`` -> ``.jpg``. Raises UsageError for a format we do not write."""
    return FORMATS[canonical(name)].suffix


def check_limits(
    name: str,
    *,
    width: int,
    height: int,
    channels: int,
    bit_depth: int,
) -> None:
    """Raise OutputRefused when the format cannot hold such a picture (sides in pixels, bits per channel)."""
    fmt = FORMATS[canonical(name)]
    what = f"{width}x{height} pixels do not fit into {fmt.name}"
    hint = "Use --format png or tiff, or a smaller --scale."
    if max(width, height) > fmt.max_side:
        raise OutputRefused(f"{what}, which holds at most {fmt.max_side} a side.", hint)
    if fmt.max_pixels and width * height > fmt.max_pixels:
        raise OutputRefused(
            f"{what}, which readers open up to {fmt.max_pixels / 1e6:.0f} megapixels.", hint
        )
    if bit_depth == 16 and not fmt.sixteen:
        raise OutputRefused(
            f"{fmt.name} is written with 8 bits per channel, not 16.", "Use --format png or tiff."
        )
    if fmt.name == "TIFF" and raw_bytes(width, height, channels, bit_depth) > 2**32 - 2**26:
        raise OutputRefused(
            f"{what}, which ends at 4 GB.", "Use --format png, or a smaller --scale."
        )


def raw_bytes(
    width: int,
    height: int,
    channels: int,
    bit_depth: int,
) -> int:
    """Count the bytes of the uncompressed samples."""
    return width * height * channels * (bit_depth // 8)

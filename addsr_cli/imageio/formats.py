"""The formats that can be written, their limits, and the choice of an output's format."""

from dataclasses import dataclass
from pathlib import Path

from addsr_cli.errors import OutputRefused, UsageError
from addsr_cli.imageio import extras
from addsr_cli.imageio.animation import AnimatedPhoto, Frames
from addsr_cli.imageio.photo import Header, Photo


@dataclass(frozen=True, kw_only=True)
class Format:
    """Limits and defaults of a file format.

    ``max_side`` is in pixels; ``sixteen`` tells whether 16 bits per channel are supported;
    ``quality`` is the default, None for a lossless format; ``sequence`` tells whether it holds
    several pictures.
    """

    name: str
    suffix: str
    max_side: int
    max_pixels: int | None = None
    alpha: bool = True
    sixteen: bool = False
    lossless: bool = True
    quality: int | None = None
    sequence: bool = False


# JPEG allows 65535 px a side, but libjpeg, and so nearly all software, stops at 65500. AVIF may be
# larger, but libavif's decoders refuse it.
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
        sequence=True,
    ),
    "TIFF": Format(
        name="TIFF",
        suffix=".tif",
        max_side=2**31 - 1,
        sixteen=True,
        sequence=True,
    ),
    "AVIF": Format(
        name="AVIF",
        suffix=".avif",
        max_side=32768,
        max_pixels=2**28,
        lossless=False,
        quality=80,
        sequence=True,
    ),
    "GIF": Format(
        name="GIF",
        suffix=".gif",
        max_side=65535,
        lossless=False,
        sequence=True,
    ),
    "JXL": Format(
        name="JXL",
        suffix=".jxl",
        max_side=2**30 - 1,
        sixteen=True,
        quality=90,
    ),
}
_ALIASES = {"JPG": "JPEG", "JPE": "JPEG", "JFIF": "JPEG", "TIF": "TIFF"}
_KNOWN = "png, jpg, webp, tiff, avif, jxl or gif"


@dataclass(frozen=True, kw_only=True)
class WriteOptions:
    """How to write a photo. Raises UsageError when the options contradict each other.

    ``format``: PNG, JPEG, WEBP, TIFF, AVIF, JXL, GIF (or ``jpg``, ``tif``), None for the format of
    the suffix. ``quality``: 1..100, None for the format's own default. ``bit_depth``: 8, 16,
    None for the photo's where it fits. ``dpi``: dots per inch, None for the photo's.
    ``frames``: which pictures of an animation or multi-page file are used. ``metadata=False``
    embeds no EXIF, XMP, resolution or settings; the ICC profile stays, since colours depend on it.
    """

    format: str | None = None
    quality: int | None = None
    lossless: bool = False
    bit_depth: int | None = None
    dpi: int | None = None
    frames: Frames = "first"
    metadata: bool = True
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.quality is not None and not 1 <= self.quality <= 100:
            raise UsageError(
                f"Quality {self.quality} is out of range.", "Give a number from 1 to 100."
            )
        if self.bit_depth not in (None, 8, 16):
            raise UsageError(f"A bit depth of {self.bit_depth} is not supported.", "Give 8 or 16.")
        if self.dpi is not None and not 1 <= self.dpi <= 65535:
            raise UsageError(f"--dpi {self.dpi} is out of range.", "Give 1 to 65535.")
        if self.format is not None:
            object.__setattr__(self, "format", canonical(self.format))
            self.check_format(str(self.format))

    @property
    def is_exact(self) -> bool:
        """Whether the file holds every sample as it is; GIF's palette does not."""
        form = FORMATS[self.format or "PNG"]
        return self.lossless or (form.lossless and form.name != "GIF")

    def check_format(self, name: str) -> None:
        """Raise UsageError when the format does not support these options."""
        fmt = FORMATS[name]
        if self.lossless and not fmt.lossless:
            raise UsageError(
                f"{name} cannot be written losslessly.", "Use --format png, tiff, webp or jxl."
            )
        if self.bit_depth == 16 and not fmt.sixteen:
            raise UsageError(
                f"{name} is written with 8 bits per channel, not 16.", "Use --format png or tiff."
            )

    def depth_for(self, photo: Photo, name: str) -> int:
        """Return the bits per channel to write: as requested, else the photo's where supported."""
        if self.bit_depth:
            return self.bit_depth
        return photo.bit_depth if FORMATS[name].sixteen else 8


def canonical(name: str) -> str:
    """Return the key in `FORMATS` of ``jpg``, ``.tif``, ``WebP`` and the like.

    Raises UsageError for a format that cannot be written, or not without an extra.
    """
    upper = name.strip().lstrip(".").upper()
    upper = _ALIASES.get(upper, upper)
    if upper not in FORMATS:
        raise UsageError(f"{name!r} is not a format that can be written.", f"Use {_KNOWN}.")
    if upper == "JXL" and not extras.JXL.installed:
        raise UsageError(
            f"{extras.JXL.title} is written by {extras.JXL.library}, which is not installed.",
            f"{extras.JXL.install}; or use another format, such as webp.",
        )
    return upper


def format_from_suffix(path: Path) -> str | None:
    """Return the format of a file name's suffix; None when it is none that can be written."""
    upper = path.suffix.removeprefix(".").upper()
    name = _ALIASES.get(upper, upper)
    return name if name in FORMATS else None


def choose_format(
    source: Photo | Header,
    *,
    suffix: str | None = None,
    explicit: str | None = None,
    frames: Frames = "first",
) -> str:
    """Return the output format: ``explicit``, else that of ``suffix``, else the input's own.

    Instead of the input's own it is PNG for formats that cannot be written (BMP, ...), for a single
    picture of a GIF, and where alpha does not fit; JPEG for HEIC of 8 bits; WebP for several
    ``frames`` that do not fit. Raises UsageError when ``explicit`` or ``suffix`` cannot be written,
    OutputRefused when they hold a single picture and there are several.
    """
    several = isinstance(source, AnimatedPhoto) or (
        isinstance(source, Header) and frames == "all" and source.frames > 1
    )
    requested = explicit or suffix
    if requested:
        name = canonical(requested)
        if several and not FORMATS[name].sequence:
            raise OutputRefused(
                f"{name} holds one picture, and the input has several.",
                "Use --format webp, gif, avif or tiff, or --frames first.",
            )
        return name
    own = FORMATS.get(source.format)
    if several:
        return own.name if own and own.sequence else "WEBP"
    if source.format == "HEIF" and source.bit_depth == 8 and not source.has_alpha:
        return "JPEG"  # as lossy as the input, and a tenth of the size of a PNG
    if own and own.name == "GIF":
        return "PNG"  # one picture needs no 256 colours
    if own is None or (source.has_alpha and not own.alpha):
        return "PNG"
    return own.name


def require_format(path: Path) -> str:
    """Return the format of a file name's suffix. Raises UsageError when there is none."""
    if not path.suffix:
        raise UsageError(
            f"{path.name!r} has no suffix that names a format.",
            f"Add one, or --format ({_KNOWN}).",
        )
    return canonical(path.suffix)


def suffix_for(name: str) -> str:
    """Return the default suffix with its dot: ``.jpg`` for ``JPEG``.

    Raises UsageError for a format that cannot be written.
    """
    return FORMATS[canonical(name)].suffix


def writable_formats() -> list[str]:
    """Return the names of the formats that can be written here."""
    return [name for name in FORMATS if name != "JXL" or extras.JXL.installed]


def holds_16_bits(name: str) -> bool:
    """Return whether a format of `FORMATS` holds 16 bits per channel."""
    return FORMATS[name].sixteen


def check_limits(
    name: str,
    *,
    width: int,
    height: int,
    channels: int,
    bit_depth: int,
) -> None:
    """Raise OutputRefused when a picture exceeds the format (pixels, bits per channel)."""
    fmt = FORMATS[canonical(name)]
    problem = f"{width}x{height} pixels do not fit into {fmt.name}"
    hint = "Use --format png or tiff, or a smaller --scale."
    if max(width, height) > fmt.max_side:
        raise OutputRefused(f"{problem}, which holds at most {fmt.max_side} a side.", hint)
    if fmt.max_pixels and width * height > fmt.max_pixels:
        raise OutputRefused(
            f"{problem}, which readers open up to {fmt.max_pixels / 1e6:.0f} megapixels.", hint
        )
    if bit_depth == 16 and not fmt.sixteen:
        raise OutputRefused(
            f"{fmt.name} is written with 8 bits per channel, not 16.", "Use --format png or tiff."
        )
    if fmt.name == "TIFF" and raw_bytes(width, height, channels, bit_depth) > 2**32 - 2**26:
        raise OutputRefused(
            f"{problem}, which ends at 4 GB.", "Use --format png, or a smaller --scale."
        )


def raw_bytes(
    width: int,
    height: int,
    channels: int,
    bit_depth: int,
) -> int:
    """Return the size of the uncompressed pixels in bytes."""
    return width * height * channels * (bit_depth // 8)

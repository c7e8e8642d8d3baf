"""One output of one photo: what is read, how large it becomes, what the file is called."""

from dataclasses import dataclass
from pathlib import Path

from addsr_cli import imageio
from addsr_cli.errors import AddsrError, OutOfMemory, UsageError
from addsr_cli.imageio import Header, WriteOptions
from addsr_cli.settings import Settings

FIELDS = ("stem", "scale", "ext", "model", "steps", "seed", "width", "height")


@dataclass(frozen=True, kw_only=True)
class Job:
    """One output of ``size`` (width, height) pixels.

    ``source`` is a path, or the bytes of stdin; ``label`` names it in messages. ``output`` None
    means stdout. ``page`` is the path of the page that compares before and after, or None.
    ``crop`` is the part of the photo that is upscaled, (left, top, right, bottom), None for all of
    it; ``header`` is that of the part.
    """

    source: Path | bytes
    label: str
    header: Header
    size: tuple[int, int]
    output: Path | None
    settings: Settings
    options: WriteOptions
    page: Path | None = None
    crop: tuple[int, int, int, int] | None = None

    @property
    def frames(self) -> int:
        """Number of pictures in the output."""
        return self.header.frames if self.options.frames == "all" else 1

    @property
    def sample_layout(self) -> tuple[int, int]:
        """Channels, and bits per channel, of the pixels in the output file."""
        name = str(self.options.format)
        bit_depth = self.header.bit_depth if imageio.holds_16_bits(name) else 8
        return self.header.channels, self.options.bit_depth or bit_depth

    @property
    def trust_map(self) -> Path | None:
        """Path of the picture of what the result invented, beside it; None where there is none."""
        if self.output is None or not self.settings.trust_map:
            return None
        return self.output.with_name(f"{self.output.stem}_trust.png")

    @property
    def outputs(self) -> list[Path]:
        """All files that are written."""
        return [path for path in (self.output, self.page, self.trust_map) if path]

    def check(self) -> None:
        """Raise OutputRefused when the output cannot be written, before any work is done."""
        if self.output is None:
            return
        width, height = self.size
        channels, bit_depth = self.sample_layout
        imageio.check_output(
            self.output,
            format=str(self.options.format),
            width=width,
            height=height,
            channels=channels,
            bit_depth=bit_depth,
            overwrite=self.options.overwrite,
        )
        for path in self.outputs[1:]:
            imageio.check_target(path, overwrite=self.options.overwrite)


def picture_out_of_memory(exc: MemoryError) -> OutOfMemory:
    """Return the error for memory that ran out while a picture was read or encoded.

    There is no smaller plan for either.
    """
    error = OutOfMemory(
        "There is not enough memory for this picture.",
        "Close other programs, or use a smaller picture.",
    )
    error.__cause__ = exc
    return error


@dataclass(frozen=True, kw_only=True)
class RejectedInput:
    """An input that cannot become a job, and why."""

    label: str
    error: AddsrError


@dataclass(frozen=True, kw_only=True)
class Naming:
    """How output files are named: the ``--name`` template, and the values that all photos share."""

    template: str
    model: str
    steps: int
    samples: int = 1

    def __post_init__(self) -> None:
        """Raise UsageError for a number of samples below 1."""
        if self.samples < 1:
            raise UsageError(f"--samples must be at least 1, not {self.samples}.")

    def file_name(
        self,
        source: Path,
        header: Header,
        size: tuple[int, int],
        settings: Settings,
        options: WriteOptions,
    ) -> tuple[str, str]:
        """Return the file name and the format of an output.

        ``source`` gives the stem and the suffix. Raises UsageError for a bad template.
        """
        format = imageio.choose_format(
            header,
            explicit=options.format,
            frames=options.frames,
        )
        name = self._fill_template(source, format, header, size, settings)
        if "{ext}" not in self.template:  # then the suffix in the template names the format
            suffix = Path(name).suffix
            format = imageio.choose_format(
                header,
                suffix=suffix,
                explicit=options.format,
                frames=options.frames,
            )
        return name, format

    def _fill_template(
        self,
        source: Path,
        format: str,
        header: Header,
        size: tuple[int, int],
        settings: Settings,
    ) -> str:
        factor = size[0] / header.width if settings.scale is None else settings.scale
        values = {
            "stem": source.stem,
            "scale": f"{factor:.3g}",
            "ext": _suffix(source, format),
            "model": self.model,
            "steps": str(self.steps),
            "seed": str(settings.seed),
            "width": str(size[0]),
            "height": str(size[1]),
        }
        template = self.template
        if self.samples > 1 and "{seed}" not in template:
            template = template.replace("{ext}", "_s{seed}{ext}")
        try:
            name = template.format_map(values)
        except (KeyError, IndexError, ValueError, AttributeError, TypeError) as exc:
            known = " ".join(f"{{{field}}}" for field in FIELDS)
            raise UsageError(
                f"--name {self.template} has an unknown part.", f"Known: {known}."
            ) from exc
        if not name or "/" in name or "\\" in name or name in (".", ".."):
            raise UsageError(
                f"--name {self.template} does not make a file name.", "Use -o for folders."
            )
        return name


def _suffix(source: Path, format: str) -> str:
    """Return the suffix for a format; ``.jpeg`` and ``.tiff`` inputs keep theirs."""
    own = source.suffix.lower()
    default = imageio.suffix_for(format)
    if own in (".jpg", ".jpeg", ".tif", ".tiff") and imageio.suffix_for(own) == default:
        return own
    return default

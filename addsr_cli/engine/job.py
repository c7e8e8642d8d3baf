"""One output: what is read, how large it becomes, and the file that it becomes."""

from dataclasses import dataclass
from pathlib import Path

from addsr_cli import imageio
from addsr_cli.errors import AddsrError, OutOfMemory, UsageError
from addsr_cli.imageio import Header, WriteOptions
from addsr_cli.settings import Settings

FIELDS = ("stem", "scale", "ext", "model", "steps", "seed", "width", "height")


@dataclass(frozen=True, kw_only=True)
class Job:
    """One output of ``size`` pixels. ``source`` is a path or the bytes of stdin; ``output`` None means stdout.

    ``page``: where the comparison of before and after goes, if one is wanted.
    """

    source: Path | bytes
    label: str
    header: Header
    size: tuple[int, int]
    output: Path | None
    settings: Settings
    options: WriteOptions
    page: Path | None = None

    @property
    def samples(self) -> tuple[int, int]:
        """What the file will hold of every pixel: (channels, bits per channel)."""
        own = self.header.bit_depth if self.options.format in ("PNG", "TIFF") else 8
        channels = 1 if self.header.mode in ("L", "LA", "1", "I;16") else 3
        return channels + self.header.has_alpha, self.options.bit_depth or own

    def check(self) -> None:
        """Raise OutputRefused when the output is foreseen to fail."""
        if self.output is None:
            return
        channels, depth = self.samples
        imageio.check_output(
            self.output,
            format=str(self.options.format),
            width=self.size[0],
            height=self.size[1],
            channels=channels,
            bit_depth=depth,
            overwrite=self.options.overwrite,
        )
        if self.page:
            imageio.check_target(self.page, overwrite=self.options.overwrite)


def picture_out_of_memory(exc: MemoryError) -> OutOfMemory:
    """Memory ran out while a picture was read or encoded, where there is no smaller plan."""
    error = OutOfMemory(
        "There is not enough memory for this picture.",
        "Close other programs, or upscale a smaller picture.",
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
    """How outputs are called: the ``--name`` template, and what it may tell besides the photo itself."""

    template: str
    model: str
    steps: int
    samples: int = 1

    def __post_init__(self) -> None:
        """Refuse a number of samples that makes no sense."""
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
        """File name and format of an output; ``source`` gives stem and suffix. Raises UsageError for a bad template."""
        format = imageio.choose_format(header, explicit=options.format)
        made = self._filled(source, format, header, size, settings)
        if "{ext}" not in self.template:  # then the name itself says the format, as with -o
            format = imageio.choose_format(
                header, suffix=Path(made).suffix, explicit=options.format
            )
        return made, format

    def _filled(
        self,
        source: Path,
        format: str,
        header: Header,
        size: tuple[int, int],
        settings: Settings,
    ) -> str:
        own = source.suffix.lower()
        keeps = (
            own in (".jpg", ".jpeg", ".tif", ".tiff") and imageio.suffix_for(format)[1] == own[1]
        )
        factor = size[0] / header.width if settings.scale is None else settings.scale
        values = {
            "stem": source.stem,
            "scale": f"{factor:.3g}",
            "ext": own if keeps else imageio.suffix_for(format),
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
            made = template.format_map(values)
        except (KeyError, IndexError, ValueError, AttributeError, TypeError) as exc:
            known = f"Known: {{{'} {'.join(FIELDS)}}}."
            raise UsageError(f"--name {self.template} has an unknown part.", known) from exc
        if not made or "/" in made or "\\" in made or made in (".", ".."):
            raise UsageError(
                f"--name {self.template} does not make a file name.", "Folders belong into -o."
            )
        return made

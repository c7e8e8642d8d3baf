"""What a benchmark measures, and the files that its report is written to."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from addsr_cli.bench.published import ABLATION_TABLES, Published, load_tables
from addsr_cli.bench.variants import Sweep, split_list
from addsr_cli.errors import OutputRefused, UsageError
from addsr_cli.options import QUALITY, Option

Size = tuple[int, int]  # width, height

SPEED, REPORT = "Speed", "Report"
DEFAULT_SIZES: tuple[Size, ...] = ((128, 128), (256, 256))

# ADDSR_SEED and the like speak to upscaling, so what only a benchmark has reads no variables
bench_option = partial(Option, variable=False)


def parse_sizes(text: str) -> tuple[Size, ...]:
    """``128,640x480`` as (width, height) of each. Raises UsageError."""
    sizes = []
    for item in split_list(text):
        width, _, height = item.lower().partition("x")
        if not width.isdecimal() or not (height or width).isdecimal():
            raise UsageError(
                f"--sizes {text} is not a list of sizes.", "Write --sizes 128,640x480."
            )
        sizes.append((int(width), int(height or width)))
    return tuple(sizes)


@dataclass(frozen=True, kw_only=True)
class Repeats:
    """How often a case runs: ``warmup`` times unmeasured, then ``runs`` times.

    Both last at least ``seconds``, however many runs that takes. Raises UsageError for numbers that
    measure nothing.
    """

    runs: Annotated[int, bench_option("Measured runs per case.", SPEED)] = 5
    warmup: Annotated[
        int, bench_option("Warm-up runs before them, which are not measured.", SPEED)
    ] = 1
    seconds: Annotated[
        float, bench_option("Minimum seconds of each, with more runs if needed.", SPEED)
    ] = 1.5

    def __post_init__(self) -> None:
        """Raise UsageError for numbers that measure nothing."""
        if self.runs < 1 or self.warmup < 1 or self.seconds < 0:
            raise UsageError("--runs and --warmup must be at least 1, --seconds 0 or more.")


@dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """What to measure: speed at ``sizes``, and with ``data`` the quality of pictures.

    Raises UsageError for options of the quality without ``data``.
    """

    sweep: Sweep = field(default_factory=Sweep)
    sizes: Annotated[
        Sequence[Size],
        bench_option(
            "Input sizes in pixels, such as 128 or 640x480.",
            SPEED,
            default="128,256 without --data",
            parse=parse_sizes,
            metavar="A,B...",
        ),
    ] = ()
    repeats: Repeats = field(default_factory=Repeats)
    data: Annotated[
        Path | None,
        bench_option("Folder with HR/ and LR*/, or with references only.", QUALITY),
    ] = None
    lr: Annotated[
        tuple[str, ...], bench_option("Only this input folder; repeatable.", QUALITY)
    ] = ()
    degradations: Annotated[
        tuple[str, ...],
        bench_option(
            "Inputs: bicubic, blind (Real-ESRGAN), mild, camera, sensor, chroma, blocks, print, "
            "addsr-case1 to 4 (AddSR v1, Table 2), or blur=2,noise=20,jpeg=50; repeatable.",
            QUALITY,
            flags=("--degradation",),
        ),
    ] = ()
    limit: Annotated[int | None, bench_option("Only the first N photos.", QUALITY)] = None
    border: Annotated[
        int,
        bench_option(
            "Pixels to leave out on each side.",
            QUALITY,
            flags=("--crop-border",),
        ),
    ] = 0
    metrics: Annotated[
        Sequence[str],
        bench_option(
            "Only these metrics. fid_vgg, kid_vgg, fid_dinov2 and kid_dinov2 have to be named.",
            QUALITY,
            default="all that are installed",
            parse=split_list,
            metavar="A,B...",
        ),
    ] = ()
    results: Annotated[
        tuple[Path, ...],
        bench_option("Folder of another program's pictures; repeatable.", QUALITY),
    ] = ()
    peers: Annotated[
        tuple[Path, ...],
        bench_option(
            "A network that spandrel loads; repeatable.",
            QUALITY,
            flags=("--peer",),
        ),
    ] = ()
    preset: Annotated[
        tuple[str, ...],
        bench_option(
            "Published numbers to compare with: addsr-v1-table1 to 7 and addsr-v4-table1 to 9 of "
            "AddSR's authors; realsr, drealsr and div2k-val of others; reallr200; or a .json file. "
            "Repeatable.",
            QUALITY,
        ),
    ] = ()
    ablation: Annotated[
        Literal["psr", "ta", "teacher"] | None,
        bench_option(
            "Measure models trained here with one choice varied, beside the papers' rows.",
            QUALITY,
        ),
    ] = None
    trained: Annotated[
        tuple[Path, ...],
        bench_option(
            "Folder of training runs for --ablation; repeatable.",
            QUALITY,
            default="runs",
        ),
    ] = ()
    save: Annotated[Path | None, bench_option("Write all pictures into this folder.", REPORT)] = (
        None
    )

    def __post_init__(self) -> None:
        """Raise UsageError for numbers out of range and for options that need ``--data``."""
        if self.limit is not None and self.limit < 1:
            raise UsageError(f"--limit must be at least 1, not {self.limit}.")
        if self.border < 0:
            raise UsageError(f"--crop-border must be 0 or more, not {self.border}.")
        if self.trained and self.ablation is None:
            raise UsageError("--trained needs --ablation.", "Add --ablation psr, ta or teacher.")
        if self.data is None:
            self._check_no_quality_options()

    def _check_no_quality_options(self) -> None:
        values = {
            "--results": self.results,
            "--peer": self.peers,
            "--lr": self.lr,
            "--degradation": self.degradations,
            "--metrics": self.metrics,
            "--save": self.save,
            "--limit": self.limit,
            "--crop-border": self.border,
            "--ablation": self.ablation,
        }
        without_effect = [flag for flag, value in values.items() if value]
        if without_effect:
            raise UsageError(
                f"{without_effect[0]} needs --data.", "Give --data a folder with HR/ and LR/."
            )
        for table in self.published():
            raise UsageError(f"--preset {table.name} needs --data.", table.data)

    def published(self) -> tuple[Published, ...]:
        """The published numbers of ``preset`` or of the ablation, in the papers' order.

        Raises UsageError and UnreadableInput.
        """
        presets = self.preset
        if self.ablation and not presets:
            presets = ABLATION_TABLES[self.ablation]
        return tuple(table for name in presets for table in load_tables(name))

    @property
    def trained_folders(self) -> tuple[Path, ...]:
        """Folders of training runs for an ablation."""
        return self.trained or (Path("runs"),)

    @property
    def speed_sizes(self) -> Sequence[Size]:
        """Input sizes to time: the default ones only when no quality is measured."""
        return self.sizes or (DEFAULT_SIZES if self.data is None else ())

    def check_save_folder(self) -> None:
        """Raise OutputRefused unless ``save`` is a new or an empty folder."""
        if self.save is None or not self.save.exists():
            return
        if not self.save.is_dir() or any(self.save.iterdir()):
            raise OutputRefused(
                f"{self.save} exists and is not an empty folder.", "Give --save a new folder."
            )


@dataclass(frozen=True, kw_only=True)
class ReportFiles:
    """Files that a report is written to, besides stdout; ``markdown`` may be ``-`` for stdout."""

    csv: Annotated[Path | None, bench_option("Write a CSV file.", REPORT)] = None
    markdown: Annotated[str | None, bench_option("Write Markdown; - for stdout.", REPORT)] = None
    html: Annotated[
        Path | None,
        bench_option("Write one page with charts, tables and pictures.", REPORT),
    ] = None
    overwrite: Annotated[bool, Option("Replace existing files.", REPORT)] = False

    @property
    def markdown_path(self) -> Path | None:
        """The Markdown file; None for stdout or without one."""
        return None if self.markdown in (None, "-") else Path(str(self.markdown))

    def check(self) -> None:
        """Raise OutputRefused when one of the files cannot be written."""
        from addsr_cli.imageio import check_target  # here: importing it loads numpy

        for path in (self.csv, self.markdown_path, self.html):
            if path is not None:
                check_target(path, overwrite=self.overwrite)

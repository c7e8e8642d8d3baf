"""What ``addsr upscale`` and ``addsr batch`` are asked to do."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from addsr_cli.cli import options
from addsr_cli.cli.console import Console
from addsr_cli.errors import UsageError
from addsr_cli.settings import Machine, Settings

if TYPE_CHECKING:
    from addsr_cli.engine.job import Naming
    from addsr_cli.imageio import WriteOptions


@dataclass(frozen=True, kw_only=True)
class UpscaleOptions:
    """The options that both commands share. Raises UsageError when they contradict each other."""

    intent: options.Intent = None
    like: options.Like = None
    model: options.Model = "auto"
    settings: Settings
    samples: options.Samples = 1
    output: options.Output = None
    format: options.Format = None
    quality: options.Quality = None
    lossless: options.Lossless = False
    bit_depth: options.BitDepth = None
    dpi: options.Dpi = None
    frames: options.FramesOption = "first"
    name: options.Name = "{stem}_x{scale}{ext}"
    overwrite: options.Overwrite = False
    no_metadata: options.NoMetadata = False
    open: options.Open = False
    machine: Machine
    dry_run: options.DryRun = False
    console: Console

    def __post_init__(self) -> None:
        """Raise UsageError for two kinds of output at once."""
        if self.console.json and self.console.print0:
            raise UsageError(
                "--json and --print0 contradict each other.", "JSON needs no --print0."
            )

    def write_options(self) -> "WriteOptions":
        """How output files are encoded. Raises UsageError for a format that cannot hold them."""
        from addsr_cli.imageio import WriteOptions

        return WriteOptions(
            format=self.format,
            quality=self.quality,
            lossless=self.lossless,
            bit_depth=self.bit_depth,
            dpi=self.dpi,
            frames=self.frames,
            metadata=not self.no_metadata,
            overwrite=self.overwrite,
        )

    def naming(self, model: str, steps: int) -> "Naming":
        """How output files are named. Raises UsageError for a template that cannot be filled."""
        from addsr_cli.cli.jobs import check_formats_agree
        from addsr_cli.engine.job import Naming

        if "{ext}" not in self.name:
            check_formats_agree(f"--name {self.name}", Path(self.name), self.write_options().format)
        return Naming(
            template=self.name,
            model=model,
            steps=steps,
            samples=self.samples,
        )

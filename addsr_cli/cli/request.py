"""The options that every upscaling command takes, declared once, and what becomes of them."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from addsr_cli.cli import options
from addsr_cli.cli.console import Console
from addsr_cli.errors import UsageError
from addsr_cli.settings import Settings

if TYPE_CHECKING:
    from addsr_cli.engine.job import Naming
    from addsr_cli.imageio import WriteOptions
    from addsr_cli.settings import Machine


@dataclass(frozen=True, kw_only=True)
class UpscaleOptions:
    """What was asked for on the command line; each field is an option."""

    output: options.Output = None
    scale: options.Scale = None
    width: options.Width = None
    height: options.Height = None
    longest: options.Longest = None
    shortest: options.Shortest = None
    model: options.Model = "auto"
    steps: options.Steps = None
    prompt: options.Prompt = ""
    negative_prompt: options.NegativePrompt = None
    added_prompt: options.AddedPrompt = None
    tags: options.Tags = "auto"
    guidance: options.Guidance = None
    conditioning_scale: options.ConditioningScale = 1.0
    psr: options.Psr = None
    fidelity: options.Fidelity = None
    start: options.StartPoint = "lr"
    color: options.ColorMethod = "wavelet"
    seed: options.Seed = 0
    samples: options.Samples = 1
    format: options.Format = None
    quality: options.Quality = None
    lossless: options.Lossless = False
    bit_depth: options.BitDepth = None
    name: options.Name = "{stem}_x{scale}{ext}"
    overwrite: options.Overwrite = False
    no_metadata: options.NoMetadata = False
    device: options.Device = "auto"
    precision: options.Precision = "auto"
    tile: options.Tile = "auto"
    overlap: options.Overlap = "auto"
    offload: options.Offload = None
    compile: options.Compile = False
    max_memory: options.MaxMemory = None
    dry_run: options.DryRun = False
    json: options.Json = False
    print0: options.Print0 = False
    quiet: options.Quiet = False
    verbose: options.Verbose = False
    debug: options.Debug = False

    def console(self) -> Console:
        """The sink for results and talk. Raises UsageError."""
        if self.json and self.print0:
            raise UsageError(
                "--json and --print0 contradict each other.", "JSON needs no --print0."
            )
        return Console(
            json=self.json,
            quiet=self.quiet,
            verbose=self.verbose,
            debug=self.debug,
            print0=self.print0,
        )

    def settings(self) -> Settings:
        """What is wanted of the picture. Raises UsageError."""
        return Settings(**{field.name: getattr(self, field.name) for field in fields(Settings)})

    def machine(self, device: str | None = None) -> "Machine":
        """Where and how to run; ``device`` when a launcher chose it. Raises UsageError."""
        from addsr_cli.settings import Machine

        return Machine(
            device=device or self.device,
            precision=self.precision,
            tile=options.pixels(self.tile, "--tile"),
            overlap=options.pixels(self.overlap, "--overlap"),
            offload=self.offload,
            max_memory=options.memory(self.max_memory),
            compile=self.compile,
        )

    def write_options(self) -> "WriteOptions":
        """What is wanted of the files. Raises UsageError."""
        from addsr_cli.imageio import WriteOptions

        return WriteOptions(
            format=self.format,
            quality=self.quality,
            lossless=self.lossless,
            bit_depth=self.bit_depth,
            metadata=not self.no_metadata,
            overwrite=self.overwrite,
        )

    def naming(self, model: str, steps: int) -> "Naming":
        """How the files are called. Raises UsageError."""
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


def takes_request(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command that wants a ``Request`` as ``request`` take the fields as options beside its own parameters."""
    own = [each for each in signature(command).parameters.values() if each.name != "request"]
    shared = [
        Parameter(
            each.name,
            Parameter.KEYWORD_ONLY,
            default=each.default,
            annotation=each.type,
        )
        for each in fields(UpscaleOptions)
    ]

    @wraps(command)
    def flat(**given: Any) -> None:  # noqa: ANN401 (whatever the options hold)
        kept = {each.name: given.pop(each.name) for each in own}
        command(**kept, request=UpscaleOptions(**given))

    flat.__signature__ = Signature([*own, *shared])  # type: ignore[attr-defined]  # what the parser reads
    return flat

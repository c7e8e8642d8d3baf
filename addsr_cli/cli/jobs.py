"""From inputs to jobs: how large each becomes, where it goes, what is refused before any work."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from addsr_cli import imageio
from addsr_cli.cli.inputs import STREAM, Input
from addsr_cli.errors import AddsrError, OutputRefused, UsageError
from addsr_cli.imageio import Header, WriteOptions
from addsr_cli.job import Job, Naming, Refused
from addsr_cli.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What the command line asks of the outputs of ``images``, each in ``samples`` versions."""

    images: Sequence[Path]
    output: str | None
    samples: int = 1
    compare: bool = False
    dry_run: bool = False

    def __post_init__(self) -> None:
        """Refuse what no input can fulfil."""
        if self.samples < 1:
            raise UsageError(f"--samples must be at least 1, not {self.samples}.")
        if self.to_stdout and not self.alone:
            raise UsageError("Only one picture fits through stdout.", "Give -o a folder.")
        if self.to_stdout and self.compare:
            raise UsageError(
                "--compare writes a page beside the output, and stdout has no place for it.", "Use -o FILE."
            )

    @property
    def alone(self) -> bool:
        """Whether one picture is to be written."""
        return len(self.images) * self.samples == 1

    @property
    def to_stdout(self) -> bool:
        """Whether the picture goes to stdout."""
        return self.output == "-" or (self.output is None and STREAM in self.images)


def gather(
    inputs: Sequence[Input | Refused], settings: Settings, options: WriteOptions, naming: Naming, wish: Wish
) -> list[Job | Refused]:
    """Decide the outputs of every input; raises when outputs would collide or names are wrong."""
    found: list[Job | Refused] = []
    for item in inputs:
        if isinstance(item, Refused):
            found.append(item)
            continue
        try:
            found += _jobs(item, settings, options, naming, wish)
        except UsageError:
            raise
        except AddsrError as exc:
            found.append(Refused(label=item.label, error=exc))
    _refuse_collisions([job for job in found if isinstance(job, Job)])
    return found


def _jobs(item: Input, settings: Settings, options: WriteOptions, naming: Naming, wish: Wish) -> list[Job]:
    size = settings.target(item.header.width, item.header.height)
    jobs = []
    for number in range(wish.samples):
        seeded = replace(settings, seed=settings.seed + number)
        output, name = _output(item.path, item.header, size, seeded, options, naming, wish)
        job = Job(
            source=item.source,
            label=item.label,
            header=item.header,
            size=size,
            output=output,
            settings=seeded,
            options=replace(options, format=name),
            page=compare_path(output) if output and wish.compare else None,
        )
        if not wish.dry_run:
            job.check()
        jobs.append(job)
    return jobs


def compare_path(picture: Path) -> Path:
    """Where a page that compares this picture with others lies: beside it."""
    return picture.with_name(f"{picture.stem}_compare.html")


def _output(
    image: Path,
    header: Header,
    size: tuple[int, int],
    settings: Settings,
    options: WriteOptions,
    naming: Naming,
    wish: Wish,
) -> tuple[Path | None, str]:
    """Output path (None for stdout) and format name."""
    wanted = wish.output
    if wish.to_stdout:
        return None, imageio.choose_format(header, explicit=options.format)
    if wanted and wish.alone and not _is_folder(wanted):
        path = Path(wanted)
        return path, imageio.choose_format(header, suffix=path.suffix, explicit=options.format)
    folder = Path(wanted) if wanted else image.parent
    if (wanted and Path(wanted).suffix and not _is_folder(wanted)) or folder.is_file():
        raise UsageError(f"-o {wanted} is one file, but several pictures are to be written.", "End a folder with /.")
    source = Path("stdin") if image == STREAM else image
    made, name = naming.named(source, header, size, settings, options)
    return folder / made, name


def _is_folder(text: str) -> bool:
    return text.endswith(("/", "\\")) or Path(text).is_dir()


def _refuse_collisions(jobs: Sequence[Job]) -> None:
    seen: dict[Path, str] = {}
    inputs = {job.source.resolve(): job.label for job in jobs if isinstance(job.source, Path)}
    for job, output in [(each, path) for each in jobs for path in (each.output, each.page) if path]:
        path = output.resolve()
        if path in seen:
            raise OutputRefused(
                f"{seen[path]} and {job.label} would both become {output}.",
                "Use --name with more parts, or --format, or one folder at a time.",
            )
        if inputs.get(path, job.label) != job.label:
            raise OutputRefused(
                f"{job.label} would become {output}, which is another input.", "Give -o a folder, or --name."
            )
        seen[path] = job.label

"""From inputs to jobs: how large each becomes, where it goes, what is refused before any work."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from addsr_cli import imageio
from addsr_cli.cli.inputs import ADDSR_OUTPUT, OUTPUT_EXISTS, STREAM, CheckedInput, Input, Skipped
from addsr_cli.engine.job import Job, Naming, RejectedInput
from addsr_cli.errors import AddsrError, OutputRefused, UsageError
from addsr_cli.imageio import Header, WriteOptions
from addsr_cli.settings import Settings


@dataclass(frozen=True, kw_only=True)
class JobOptions:
    """What the command line asks of the outputs of ``images``, each in ``samples`` versions."""

    images: Sequence[Path]
    output: str | None
    samples: int = 1
    format: str | None = None
    compare: bool = False
    dry_run: bool = False
    skip_existing: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        """Refuse what no input can fulfil."""
        if self.to_stdout and not self.alone:
            raise UsageError("Only one picture fits through stdout.", "Give -o a folder.")
        if self.to_stdout and self.compare:
            raise UsageError(
                "--compare writes a page beside the output, and stdout has no place for it.",
                "Use -o FILE.",
            )
        if self.skip_existing and self.overwrite:
            raise UsageError(
                "--skip-existing and --overwrite contradict each other.", "Leave one out."
            )
        if self.output and not self.to_stdout and not self.to_folder:
            _check_file_name(self.output, self.format)

    @property
    def alone(self) -> bool:
        """Whether one picture is to be written."""
        return len(self.images) * self.samples == 1

    @property
    def to_stdout(self) -> bool:
        """Whether the picture goes to stdout."""
        return self.output == "-" or (self.output is None and STREAM in self.images)

    @property
    def to_folder(self) -> bool:
        """Whether ``-o`` is a folder: it ends in a slash, exists as one, or takes several pictures.

        Raises UsageError when several pictures are to go into what is plainly one file.
        """
        wanted = self.output or ""
        if wanted.endswith(("/", "\\")) or Path(wanted).is_dir():
            return True
        if self.alone or not wanted:
            return False
        if Path(wanted).exists() or imageio.format_from_suffix(Path(wanted)):
            raise UsageError(
                f"-o {wanted} is one file, but several pictures are to be written.",
                "End a folder with /.",
            )
        return True


Work = Job | RejectedInput | Skipped


def gather(
    inputs: Sequence[CheckedInput],
    settings: Settings,
    options: WriteOptions,
    naming: Naming,
    wish: JobOptions,
) -> list[Work]:
    """Decide the outputs of every input; raises when outputs would collide or names are wrong."""
    found: list[Work] = []
    for item in inputs:
        if not isinstance(item, Input):
            found.append(item)
            continue
        try:
            found += _jobs(item, settings, options, naming, wish)
        except UsageError:
            raise
        except AddsrError as exc:
            found.append(RejectedInput(label=item.label, error=exc))
    if wish.skip_existing:
        found = _without_existing(found)
    _refuse_collisions([job for job in found if isinstance(job, Job)])
    return found


def _without_existing(found: Sequence[Work]) -> list[Work]:
    """Skip what has its output already, and inputs that are such an output themselves."""
    there = {
        item.output.resolve(): item.label
        for item in found
        if isinstance(item, Job) and item.output and os.path.lexists(item.output)
    }
    kept: list[Work] = []
    for item in found:
        if isinstance(item, Job) and item.output and item.output.resolve() in there:
            kept.append(
                Skipped(
                    label=item.label,
                    reason=OUTPUT_EXISTS,
                    output=item.output,
                )
            )
        elif (
            isinstance(item, Job)
            and isinstance(item.source, Path)
            and item.source.resolve() in there
        ):
            kept.append(Skipped(label=item.label, reason=ADDSR_OUTPUT))
        else:
            kept.append(item)
    return kept


def _jobs(
    item: Input,
    settings: Settings,
    options: WriteOptions,
    naming: Naming,
    wish: JobOptions,
) -> list[Job]:
    size = settings.output_size(item.header.width, item.header.height)
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
        if not wish.dry_run and not (wish.skip_existing and output and os.path.lexists(output)):
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
    wish: JobOptions,
) -> tuple[Path | None, str]:
    """Output path (None for stdout) and format name."""
    if wish.to_stdout:
        return None, imageio.choose_format(header, explicit=options.format)
    if wish.output and not wish.to_folder:
        path = Path(wish.output)
        return path, imageio.choose_format(header, suffix=path.suffix, explicit=options.format)
    folder = Path(wish.output) if wish.output else image.parent
    source = Path("stdin") if image == STREAM else image
    made, name = naming.file_name(source, header, size, settings, options)
    return folder / made, name


def _check_file_name(name: str, format: str | None) -> None:
    """Raise UsageError when ``-o`` reads like a folder, or names another format than ``--format``."""
    path = Path(name)
    if path.exists() and not path.is_file():
        return  # a device or a pipe: the check of the output says so
    if not path.suffix:
        raise UsageError(
            f"-o {name} is no folder that exists, and has no suffix to tell a file's format by.",
            f"For a folder write {name}/, for a file {name}.png or the like.",
        )
    check_formats_agree(f"-o {name}", path, format)


def check_formats_agree(flag: str, path: Path, format: str | None) -> None:
    """Raise UsageError when the suffix of a name that was typed says another format than ``--format``."""
    named = imageio.format_from_suffix(path)
    if named and format and named != format:
        raise UsageError(
            f"{flag} and --format {format.lower()} name two formats.", "Leave one of them out."
        )


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
                f"{job.label} would become {output}, which is another input.",
                "Give -o a folder, or --name.",
            )
        seen[path] = job.label

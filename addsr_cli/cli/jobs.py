"""From inputs to jobs: the size and path of every output, checked before any work."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from addsr_cli import imageio
from addsr_cli.cli.inputs import ADDSR_OUTPUT, OUTPUT_EXISTS, STREAM, CheckedInput, Input, Skipped
from addsr_cli.cli.preview import Preview
from addsr_cli.engine.job import Job, Naming, RejectedInput
from addsr_cli.errors import AddsrError, OutputRefused, UsageError
from addsr_cli.imageio import Header, WriteOptions
from addsr_cli.settings import Settings


@dataclass(frozen=True, kw_only=True)
class JobOptions:
    """What the command line asks of the outputs of ``images``, each in ``samples`` versions.

    Raises UsageError for a request that no input can fulfil.
    """

    images: Sequence[str]
    output: str | None
    samples: int = 1
    format: str | None = None
    compare: bool = False
    dry_run: bool = False
    skip_existing: bool = False
    overwrite: bool = False
    preview: Preview | None = None

    def __post_init__(self) -> None:
        """Raise UsageError for a request that no input can fulfil."""
        if self.to_stdout and not self.is_single:
            raise UsageError("stdout can take only one picture.", "Give -o a folder.")
        if self.to_stdout and self.compare:
            raise UsageError(
                "--compare writes a page next to the output, which stdout does not have.",
                "Use -o FILE.",
            )
        if self.skip_existing and self.overwrite:
            raise UsageError(
                "--skip-existing and --overwrite contradict each other.", "Leave one out."
            )
        if self.output and not self.to_stdout and not self.to_folder:
            _check_file_name(self.output, self.format)

    @property
    def is_single(self) -> bool:
        """Whether a single picture is written."""
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
        output = self.output or ""
        if output.endswith(("/", "\\")) or Path(output).is_dir():
            return True
        if self.is_single or not output:
            return False
        if Path(output).exists() or imageio.format_from_suffix(Path(output)):
            raise UsageError(
                f"-o {output} is one file, but several pictures would be written.",
                "To name a folder, end it with /.",
            )
        return True


Work = Job | RejectedInput | Skipped


def gather(
    inputs: Sequence[CheckedInput],
    settings: Settings,
    options: WriteOptions,
    naming: Naming,
    request: JobOptions,
) -> list[Work]:
    """Decide the outputs of every input.

    Raises UsageError for wrong names, OutputRefused for outputs that collide.
    """
    if settings.trust_map and request.to_stdout:
        raise UsageError(
            "--trust-map writes a picture next to the output, which stdout does not have.",
            "Use -o FILE.",
        )
    work: list[Work] = []
    for item in inputs:
        if not isinstance(item, Input):
            work.append(item)
            continue
        try:
            work += _jobs(item, settings, options, naming, request)
        except UsageError:
            raise
        except AddsrError as exc:
            work.append(RejectedInput(label=item.label, error=exc))
    if request.skip_existing:
        work = _without_existing(work)
    _refuse_collisions([job for job in work if isinstance(job, Job)])
    return work


def _without_existing(work: Sequence[Work]) -> list[Work]:
    """Skip inputs whose output exists, and inputs that are such an output themselves."""
    existing = {
        item.output.resolve(): item.label
        for item in work
        if isinstance(item, Job) and item.output and os.path.lexists(item.output)
    }
    remaining: list[Work] = []
    for item in work:
        if isinstance(item, Job) and item.output and item.output.resolve() in existing:
            remaining.append(
                Skipped(
                    label=item.label,
                    reason=OUTPUT_EXISTS,
                    output=item.output,
                )
            )
        elif (
            isinstance(item, Job)
            and isinstance(item.source, Path)
            and item.source.resolve() in existing
        ):
            remaining.append(Skipped(label=item.label, reason=ADDSR_OUTPUT))
        else:
            remaining.append(item)
    return remaining


def _jobs(
    item: Input,
    settings: Settings,
    options: WriteOptions,
    naming: Naming,
    request: JobOptions,
) -> list[Job]:
    header, box = item.header, None
    if request.preview:
        header, settings, box = request.preview.crop(header, settings)
        naming = replace(naming, template=naming.template.replace("{ext}", "_preview{ext}"))
    size = settings.output_size(header.width, header.height)
    jobs = []
    for number in range(request.samples):
        seeded = replace(settings, seed=settings.seed + number)
        output, name = _output(
            item.path,
            header,
            size,
            seeded,
            options,
            naming,
            request,
        )
        job = Job(
            source=item.source,
            label=item.label,
            header=header,
            size=size,
            output=output,
            settings=seeded,
            options=replace(options, format=name),
            page=compare_path(output) if output and request.compare else None,
            crop=box,
        )
        if not request.dry_run and not (
            request.skip_existing and output and os.path.lexists(output)
        ):
            job.check()
        jobs.append(job)
    return jobs


def compare_path(picture: Path) -> Path:
    """The page that compares this picture with others, beside it."""
    return picture.with_name(f"{picture.stem}_compare.html")


def _output(
    image: Path,
    header: Header,
    size: tuple[int, int],
    settings: Settings,
    options: WriteOptions,
    naming: Naming,
    request: JobOptions,
) -> tuple[Path | None, str]:
    """Output path (None for stdout) and format name."""
    if request.to_stdout:
        return None, imageio.choose_format(
            header,
            explicit=options.format,
            frames=options.frames,
        )
    if request.output and not request.to_folder:
        path = Path(request.output)
        return path, imageio.choose_format(
            header,
            suffix=path.suffix,
            explicit=options.format,
            frames=options.frames,
        )
    folder = Path(request.output) if request.output else image.parent
    file_name, name = naming.file_name(image, header, size, settings, options)
    return folder / file_name, name


def _check_file_name(name: str, format: str | None) -> None:
    """Raise UsageError when ``-o`` looks like a folder or contradicts ``--format``."""
    path = Path(name)
    if path.exists() and not path.is_file():
        return  # a device or a pipe: the check of the output says so
    if not path.suffix:
        raise UsageError(
            f"-o {name} is not an existing folder, and has no suffix that names a file format.",
            f"For a folder write {name}/, for a file {name}.png or the like.",
        )
    check_formats_agree(f"-o {name}", path, format)


def check_formats_agree(
    flag: str,
    path: Path,
    format: str | None,
) -> None:
    """Raise UsageError when the suffix of a name contradicts ``--format``."""
    named = imageio.format_from_suffix(path)
    if named and format and named != format:
        raise UsageError(
            f"{flag} and --format {format.lower()} name two formats.", "Leave one of them out."
        )


def _refuse_collisions(jobs: Sequence[Job]) -> None:
    seen: dict[Path, str] = {}
    inputs = {job.source.resolve(): job.label for job in jobs if isinstance(job.source, Path)}
    for job, output in [(each, path) for each in jobs for path in each.outputs]:
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

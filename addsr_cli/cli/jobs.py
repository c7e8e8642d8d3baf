"""From arguments to jobs: what is read, how large it becomes, where it goes. All refusals come before any work."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from addsr_cli import imageio
from addsr_cli.errors import AddsrError, OutputRefused, UsageError
from addsr_cli.imageio import Header, WriteOptions
from addsr_cli.job import Job, Naming, Refused
from addsr_cli.settings import Settings

STREAM = Path("-")


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What the command line asks of every output."""

    output: str | None
    naming: Naming
    compare: bool = False
    dry_run: bool = False


def gather(images: Sequence[Path], settings: Settings, options: WriteOptions, wish: Wish) -> list[Job | Refused]:
    """Look at every input's header and decide its outputs; raises when outputs would collide or names are wrong."""
    count = len(images) * wish.naming.samples
    to_stdout = wish.output == "-" or (wish.output is None and STREAM in images)
    if to_stdout and count > 1:
        raise UsageError("Only one picture fits through stdout.", "Give -o a folder.")
    if to_stdout and wish.compare:
        raise UsageError("--compare writes a page beside the output, and stdout has no place for it.", "Use -o FILE.")
    found: list[Job | Refused] = []
    for image in images:
        try:
            found += _jobs(image, settings, options, wish, alone=count == 1)
        except UsageError:
            raise
        except AddsrError as exc:
            found.append(Refused(label=_label(image), error=exc))
    _refuse_collisions([job for job in found if isinstance(job, Job)])
    return found


def _jobs(image: Path, settings: Settings, options: WriteOptions, wish: Wish, *, alone: bool) -> list[Job]:
    source = sys.stdin.buffer.read() if image == STREAM else image
    header = imageio.read_header(source)
    size = settings.target(header.width, header.height)
    jobs = []
    for number in range(wish.naming.samples):
        seeded = replace(settings, seed=settings.seed + number)
        output, name = _output(image, header, size, seeded, options, wish, alone=alone)
        job = Job(
            source=source,
            label=_label(image),
            header=header,
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


def _label(image: Path) -> str:
    return "stdin" if image == STREAM else str(image)


def _output(
    image: Path,
    header: Header,
    size: tuple[int, int],
    settings: Settings,
    options: WriteOptions,
    wish: Wish,
    *,
    alone: bool,
) -> tuple[Path | None, str]:
    """Output path (None for stdout) and format name."""
    wanted = wish.output
    if wanted == "-" or (wanted is None and image == STREAM):
        return None, imageio.choose_format(header, explicit=options.format)
    if wanted and alone and not _is_folder(wanted):
        path = Path(wanted)
        return path, imageio.choose_format(header, suffix=path.suffix, explicit=options.format)
    folder = Path(wanted) if wanted else image.parent
    if (wanted and Path(wanted).suffix and not _is_folder(wanted)) or folder.is_file():
        raise UsageError(f"-o {wanted} is one file, but several pictures are to be written.", "End a folder with /.")
    source = Path("stdin") if image == STREAM else image
    made, name = wish.naming.named(source, header, size, settings, options)
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

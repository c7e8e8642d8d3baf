"""From arguments to jobs: what is read, how large it becomes, where it goes. All refusals come before any work."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from addsr_cli import imageio
from addsr_cli.errors import AddsrError, OutputRefused, UsageError
from addsr_cli.imageio import Header, WriteOptions
from addsr_cli.settings import Settings

STREAM = Path("-")
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


@dataclass(frozen=True, kw_only=True)
class Refused:
    """An input that cannot become a job, and why."""

    label: str
    error: AddsrError


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What the command line asks of every output."""

    output: str | None
    name: str
    samples: int
    model: str
    steps: int
    compare: bool = False
    dry_run: bool = False


def gather(images: Sequence[Path], settings: Settings, options: WriteOptions, wish: Wish) -> list[Job | Refused]:
    """Look at every input's header and decide its outputs; raises when outputs would collide or names are wrong."""
    if wish.samples < 1:
        raise UsageError(f"--samples must be at least 1, not {wish.samples}.")
    to_stdout = wish.output == "-" or (wish.output is None and STREAM in images)
    if to_stdout and len(images) * wish.samples > 1:
        raise UsageError("Only one picture fits through stdout.", "Give -o a folder.")
    if to_stdout and wish.compare:
        raise UsageError("--compare writes a page beside the output, and stdout has no place for it.", "Use -o FILE.")
    found: list[Job | Refused] = []
    for image in images:
        try:
            found += _jobs(image, settings, options, wish, alone=len(images) * wish.samples == 1)
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
    for number in range(wish.samples):
        seeded = replace(settings, seed=settings.seed + number)
        output, name = _output(image, header, size, seeded, options, wish, alone=alone)
        chosen = replace(options, format=name)
        channels = (1 if header.mode in ("L", "LA", "1", "I;16") else 3) + header.has_alpha
        depth = options.bit_depth or (header.bit_depth if name in ("PNG", "TIFF") else 8)
        if output and not wish.dry_run:
            imageio.check_output(
                output,
                format=name,
                width=size[0],
                height=size[1],
                channels=channels,
                bit_depth=depth,
                overwrite=options.overwrite,
            )
        page = compare_path(output) if output and wish.compare else None
        if page and not wish.dry_run:
            imageio.check_target(page, overwrite=options.overwrite)
        jobs.append(
            Job(
                source=source,
                label=_label(image),
                header=header,
                size=size,
                output=output,
                settings=seeded,
                options=chosen,
                page=page,
            )
        )
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
    name = imageio.choose_format(header, explicit=options.format)
    folder = Path(wanted) if wanted else image.parent
    if (wanted and Path(wanted).suffix and not _is_folder(wanted)) or folder.is_file():
        raise UsageError(f"-o {wanted} is one file, but several pictures are to be written.", "End a folder with /.")
    made = _file_name(image, name, size, settings, header, wish)
    if "{ext}" not in wish.name:  # then the name itself says the format, as with -o
        name = imageio.choose_format(header, suffix=Path(made).suffix, explicit=options.format)
    return folder / made, name


def _is_folder(text: str) -> bool:
    return text.endswith(("/", "\\")) or Path(text).is_dir()


def _file_name(image: Path, name: str, size: tuple[int, int], settings: Settings, header: Header, wish: Wish) -> str:
    own = image.suffix.lower()
    keeps = own in (".jpg", ".jpeg", ".tif", ".tiff") and imageio.suffix_for(name)[1] == own[1]
    factor = size[0] / header.width if settings.scale is None else settings.scale
    values = {
        "stem": "stdin" if image == STREAM else image.stem,
        "scale": f"{factor:.3g}",
        "ext": own if keeps else imageio.suffix_for(name),
        "model": wish.model,
        "steps": str(wish.steps),
        "seed": str(settings.seed),
        "width": str(size[0]),
        "height": str(size[1]),
    }
    template = wish.name
    if wish.samples > 1 and "{seed}" not in template:
        template = template.replace("{ext}", "_s{seed}{ext}")
    try:
        made = template.format_map(values)
    except (KeyError, IndexError, ValueError, AttributeError, TypeError) as exc:
        raise UsageError(f"--name {wish.name} has an unknown part.", f"Known: {{{'} {'.join(FIELDS)}}}.") from exc
    if not made or "/" in made or "\\" in made or made in (".", ".."):
        raise UsageError(f"--name {wish.name} does not make a file name.", "Folders belong into -o.")
    return made


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

"""Where a result goes: its job, and the file that the page shows of it."""

import os
from pathlib import Path

from addsr_cli.engine.job import Job, Naming
from addsr_cli.engine.result import Result
from addsr_cli.report import Embedding, encode_picture
from addsr_cli.serve.choices import Choices
from addsr_cli.serve.file_names import unique_name
from addsr_cli.serve.uploads import ShownPicture, Upload, UpscaledPhoto

NAME_TEMPLATE = "{stem}_x{scale}{ext}"  # as ``addsr upscale`` names its files
SHOWN_BY_BROWSERS = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}
DISPLAY = Embedding()


class _FilesIn:
    """The names of a folder, as a container that asks the disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and os.path.lexists(self.folder / name)


def make_job(
    upload: Upload,
    choices: Choices,
    steps: int,
    output_folder: Path | None,
) -> tuple[Job, str]:
    """Return the job of a photo, checked, and the name of its result.

    The result goes to ``output_folder`` under a name that is free there, or else into the photo's
    own folder. Raises OutputRefused and UsageError.
    """
    size = choices.settings.output_size(*upload.header.size)
    naming = Naming(template=NAME_TEMPLATE, model=choices.model, steps=steps)
    name, format_ = naming.file_name(
        Path(upload.name),
        upload.header,
        size,
        choices.settings,
        choices.options,
    )
    if output_folder:
        name = unique_name(name, _FilesIn(output_folder))
        output = output_folder / name
    else:
        output = upload.folder / f"result{upload.results}{Path(name).suffix}"
    job = Job(
        source=upload.path,
        label=upload.name,
        header=upload.header,
        size=size,
        output=output,
        settings=choices.settings,
        options=type(choices.options)(format=format_),
    )
    job.check()
    return job, name


def shown_picture(result: Result, job: Job, output: Path, folder: Path) -> ShownPicture:
    """Return the result's file itself where browsers show it well, else a copy in ``folder``."""
    media_type = SHOWN_BY_BROWSERS.get(str(job.options.format))
    if media_type and max(job.size) <= DISPLAY.max_side:
        return ShownPicture(path=output, media_type=media_type)
    picture = encode_picture(result.photo, DISPLAY)
    path = folder / f"{output.stem}-shown"
    path.write_bytes(picture.data)
    return ShownPicture(path=path, media_type=picture.media_type)


def trust_picture(result: Result, path: Path) -> ShownPicture | None:
    """Write the map of what a result invented to ``path``, for the page."""
    if result.trust is None:
        return None
    picture = encode_picture(result.trust.photo(), DISPLAY)
    path.write_bytes(picture.data)
    return ShownPicture(path=path, media_type=picture.media_type)


def output_of(
    upload: Upload,
    job: Job,
    name: str,
    result: Result,
    *,
    saved: bool,
) -> UpscaledPhoto:
    """Return the record of a result that has been written."""
    path = job.output
    if path is None:
        raise ValueError("a job of the page has an output file")
    return UpscaledPhoto(
        path=path,
        name=name,
        size=result.photo.size,
        bytes=path.stat().st_size,
        model=result.model,
        steps=result.steps,
        seconds=sum(result.seconds.values()),
        warnings=result.warnings,
        shown=shown_picture(result, job, path, upload.folder),
        trust=trust_picture(result, upload.folder / f"trust{upload.results}"),
        invented=round(100 * result.trust.invented, 1) if result.trust else None,
        saved=saved,
    )

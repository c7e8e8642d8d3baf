"""Checks the inputs named on the command line before anything heavy is imported."""

import stat
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from addsr_cli import imageio
from addsr_cli.cli.console import Console
from addsr_cli.cli.streams import stdout_closed
from addsr_cli.cli.url_input import download, file_name, is_url
from addsr_cli.engine.job import RejectedInput, picture_out_of_memory
from addsr_cli.errors import AddsrError, OutputRefused, UnreadableInput, UsageError
from addsr_cli.imageio import Header

STREAM = "-"

# Reasons to skip an input.
ADDSR_OUTPUT = "made by addsr"
OUTPUT_EXISTS = "already done"


@dataclass(frozen=True, kw_only=True)
class Input:
    """A picture that can be opened.

    ``source`` is its path, or the bytes of a stream or download; ``path`` names the output;
    ``label`` names the input in messages and records.
    """

    source: Path | bytes
    path: Path
    label: str
    header: Header


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """An input that is not upscaled, and why."""

    label: str
    reason: str
    output: Path | None = None


CheckedInput = Input | RejectedInput | Skipped


def read_inputs(images: Sequence[str], console: Console) -> list[CheckedInput]:
    """Read the header of every input, in order; an input that cannot be opened has its error.

    Among several inputs, outputs of addsr are skipped, so that the same ``*.jpg`` can be used
    again. If all inputs are outputs of addsr, they are upscaled.
    """
    inputs = list(_open_all(images, console))
    pictures = [item for item in inputs if isinstance(item, Input)]
    if len(inputs) == 1:
        return [*inputs]
    outputs = {picture.label for picture in pictures if _is_addsr_output(picture)}
    if len(outputs) == len({picture.label for picture in pictures}):
        return [*inputs]
    return [
        Skipped(label=item.label, reason=ADDSR_OUTPUT) if item.label in outputs else item
        for item in inputs
    ]


def _open_all(images: Sequence[str], console: Console) -> Iterator[Input | RejectedInput]:
    for image in images:
        try:
            source = _open_source(image, console)
            yield Input(
                source=source,
                path=_output_name(image),
                label=input_label(image),
                header=imageio.read_header(source),
            )
        except AddsrError as exc:
            yield RejectedInput(label=input_label(image), error=exc)
        except MemoryError as exc:
            yield RejectedInput(
                label=input_label(image),
                error=picture_out_of_memory(exc),
            )


def _is_addsr_output(picture: Input) -> bool:
    """Whether a picture has the metadata that addsr writes into its outputs."""
    try:
        return bool(imageio.read_settings(picture.source))
    except AddsrError:
        return False


def input_label(image: str) -> str:
    """Return the name of an input in messages: ``stdin``, a URL as it was typed, or a path."""
    if image == STREAM:
        return "stdin"
    return image if is_url(image) else str(Path(image))


def _output_name(image: str) -> Path:
    """Return the path after which an output is named; without a folder it is in the current one."""
    if image == STREAM:
        return Path("stdin")
    return Path(file_name(image)) if is_url(image) else Path(image)


def check_streams(images: Sequence[str], *, to_stdout: bool) -> None:
    """Raise UsageError for a picture from or to a terminal, OutputRefused for a closed stdout."""
    if STREAM in images and sys.stdin and sys.stdin.isatty():
        raise UsageError(
            "- reads a picture from stdin, but stdin is a terminal.",
            "Redirect a file: addsr upscale - < photo.jpg",
        )
    if to_stdout and stdout_closed():
        raise OutputRefused(
            "The picture would be written to stdout, which is closed.", "Name a file with -o."
        )
    if to_stdout and sys.stdout.isatty():
        raise UsageError(
            "The picture would be written to the terminal.",
            "Redirect it, as in > large.jpg, or name a file with -o.",
        )


def _open_source(image: str, console: Console) -> Path | bytes:
    """Return a path, or all bytes of a stream or download, which can be read only once.

    Raises UnreadableInput.
    """
    if image == STREAM:
        if sys.stdin is None:
            raise UnreadableInput("stdin is closed.", "Name a file, or redirect one: < photo.jpg")
        return sys.stdin.buffer.read()
    if is_url(image):
        return download(image, console)
    path = Path(image)
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return path  # the reader reports why it cannot be opened
    if stat.S_ISDIR(mode):
        raise UnreadableInput(
            f"{str(path)!r} is a folder.", f"Upscale all photos in it: addsr batch {path}"
        )
    return imageio.buffer_pipe(path)

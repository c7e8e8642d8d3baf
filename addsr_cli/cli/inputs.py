"""Checks the inputs named on the command line before anything heavy is imported."""

import re
import stat
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from addsr_cli import imageio
from addsr_cli.cli.streams import stdout_closed
from addsr_cli.engine.job import RejectedInput, picture_out_of_memory
from addsr_cli.errors import AddsrError, OutputRefused, UnreadableInput, UsageError
from addsr_cli.imageio import Header

STREAM = Path("-")

# Reasons to skip an input.
ADDSR_OUTPUT = "made by addsr"
OUTPUT_EXISTS = "already done"

_URL = re.compile(r"(https?|ftp|s3|gs):/+(.+)")  # a Path turns // into /


@dataclass(frozen=True, kw_only=True)
class Input:
    """A picture that can be opened; ``source`` is its path, or the bytes of a stream."""

    source: Path | bytes
    path: Path
    header: Header

    @property
    def label(self) -> str:
        """Its name in messages and records."""
        return input_label(self.path)


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """An input that is not upscaled, and why."""

    label: str
    reason: str
    output: Path | None = None


CheckedInput = Input | RejectedInput | Skipped


def read_inputs(images: Sequence[Path]) -> list[CheckedInput]:
    """Read the header of every input, in order; an input that cannot be opened has its error.

    Among several inputs, outputs of addsr are skipped, so that the same ``*.jpg`` can be used
    again. If all inputs are outputs of addsr, they are upscaled.
    """
    inputs = list(_open_all(images))
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


def _open_all(images: Sequence[Path]) -> Iterator[Input | RejectedInput]:
    for image in images:
        try:
            source = _open_source(image)
            yield Input(
                source=source,
                path=image,
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


def input_label(image: Path) -> str:
    """Return the name of an input in messages: ``stdin``, a URL as it was typed, or a path."""
    if image == STREAM:
        return "stdin"
    if url := _URL.fullmatch(str(image)):
        return f"{url[1]}://{url[2]}"
    return str(image)


def check_streams(images: Sequence[Path], *, to_stdout: bool) -> None:
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


def _open_source(image: Path) -> Path | bytes:
    """Return a path, or all bytes of a stream, which can be read only once.

    Raises UnreadableInput.
    """
    if image == STREAM:
        if sys.stdin is None:
            raise UnreadableInput("stdin is closed.", "Name a file, or redirect one: < photo.jpg")
        return sys.stdin.buffer.read()
    try:
        mode = image.stat().st_mode
    except (OSError, ValueError):
        if _URL.fullmatch(str(image)):
            url = input_label(image)
            raise UnreadableInput(
                f"{url} is a URL, not a file.",
                f"Download it first, or: curl -L {url} | addsr upscale - -o FILE",
            ) from None
        return image  # the reader reports why it cannot be opened
    if stat.S_ISDIR(mode):
        raise UnreadableInput(
            f"{str(image)!r} is a folder.", f"Upscale all photos in it: addsr batch {image}"
        )
    return imageio.buffer_pipe(image)

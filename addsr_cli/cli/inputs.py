"""What was named on the command line, looked at before anything heavy is loaded: is it there, is it a picture."""

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
ADDSR_OUTPUT, OUTPUT_EXISTS = "made by addsr", "already done"
_ADDRESS = re.compile(r"(https?|ftp|s3|gs):/+(.+)")  # Path() makes one slash of two


@dataclass(frozen=True, kw_only=True)
class Input:
    """A picture that can be opened: a path, or the bytes of a stream that can be read only once."""

    source: Path | bytes
    path: Path
    header: Header

    @property
    def label(self) -> str:
        """What it is called in messages and records."""
        return input_label(self.path)


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """An input that is left alone, and why."""

    label: str
    reason: str
    output: Path | None = None


CheckedInput = Input | RejectedInput | Skipped


def read_inputs(images: Sequence[Path]) -> list[CheckedInput]:
    """Read the header of every input, in their order; what cannot be opened comes back with its reason.

    Among several inputs those that addsr made are skipped, so that the same ``*.jpg`` can be given
    again; when it made all of them, they are what is meant.
    """
    found: list[CheckedInput] = list(_opened(images))
    ours = {
        item.label
        for item in found
        if len(found) > 1 and isinstance(item, Input) and _is_ours(item)
    }
    if all(item.label in ours for item in found if isinstance(item, Input)):
        return found
    return [
        Skipped(label=item.label, reason=ADDSR_OUTPUT) if item.label in ours else item
        for item in found
    ]


def _opened(images: Sequence[Path]) -> Iterator[Input | RejectedInput]:
    for image in images:
        try:
            source = _open_source(image)
            yield Input(
                source=source,
                path=image,
                header=imageio.read_header(source),
            )
        except (AddsrError, MemoryError) as exc:
            error = picture_out_of_memory(exc) if isinstance(exc, MemoryError) else exc
            yield RejectedInput(label=input_label(image), error=error)


def _is_ours(item: Input) -> bool:
    """Whether it carries the mark that addsr writes into its outputs."""
    try:
        return bool(imageio.read_settings(item.source))
    except AddsrError:
        return False


def input_label(image: Path) -> str:
    """A path as messages call it."""
    if image == STREAM:
        return "stdin"
    address = _ADDRESS.fullmatch(str(image))
    return f"{address[1]}://{address[2]}" if address else str(image)


def check_streams(images: Sequence[Path], *, to_stdout: bool) -> None:
    """Refuse to read a picture from, or write it to, somebody's terminal, or a stream that is closed.

    Raises UsageError and OutputRefused.
    """
    if STREAM in images and sys.stdin and sys.stdin.isatty():
        raise UsageError(
            "- reads a picture from stdin, but stdin is a terminal.",
            "Redirect it: addsr upscale - < photo.jpg",
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
    """The path itself, or all bytes of what can be read only once. Raises UnreadableInput."""
    if image == STREAM:
        if sys.stdin is None:
            raise UnreadableInput("stdin is closed.", "Name a file, or redirect one: < photo.jpg")
        return sys.stdin.buffer.read()
    try:
        kind = image.stat().st_mode
    except (OSError, ValueError):
        if _ADDRESS.fullmatch(str(image)):
            url = input_label(image)
            raise UnreadableInput(
                f"{url} is an address, not a file.",
                f"Download it first, or: curl -L {url} | addsr upscale - -o FILE",
            ) from None
        return image  # the reader says why
    if stat.S_ISDIR(kind):
        raise UnreadableInput(
            f"{str(image)!r} is a folder.", f"All photos in it: addsr batch {image}"
        )
    return imageio.buffer_pipe(image)

"""A photo that a browser has sent: its file, and what has become of it so far."""

import secrets
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from anyio import to_thread

from addsr_cli import imageio
from addsr_cli.engine.progress import PhotoProgress
from addsr_cli.errors import AddsrError, NoSpace, UnreadableInput
from addsr_cli.files import write_error
from addsr_cli.imageio import Header
from addsr_cli.serve.choices import Choices
from addsr_cli.serve.file_names import storage_name
from addsr_cli.serve.job_queue import QueuedJob
from addsr_cli.serve.limits import Limits

Status = Literal["ready", "waiting", "running", "done", "failed", "cancelled"]
ACTIVE = ("waiting", "running")


class TooLarge(UnreadableInput):
    """A file, a photo or a number of photos is above a limit of the page."""


@dataclass(frozen=True, kw_only=True)
class ShownPicture:
    """A picture that a browser can show; ``media_type`` is that of the file."""

    path: Path
    media_type: str


@dataclass(frozen=True, kw_only=True)
class UpscaledPhoto:
    """A finished result: ``name`` is offered for downloads, ``seconds`` is what it took.

    ``shown`` is the picture for the page, ``trust`` the map of what was invented and ``invented``
    its share in percent; both are None where nothing was measured. ``saved`` says whether ``path``
    lies in the folder that the user named, where it outlives the page.
    """

    path: Path
    name: str
    size: tuple[int, int]
    bytes: int
    model: str
    steps: int
    seconds: float
    warnings: tuple[str, ...]
    shown: ShownPicture
    saved: bool
    trust: ShownPicture | None = None
    invented: float | None = None

    def record(self) -> dict[str, Any]:
        """Return what the page shows of it."""
        return {
            "name": self.name,
            "size": list(self.size),
            "bytes": self.bytes,
            "model": self.model,
            "steps": self.steps,
            "seconds": round(self.seconds, 2),
            "warnings": list(self.warnings),
            "saved": self.saved,
            "invented": self.invented,
        }


@dataclass(frozen=True, kw_only=True)
class State:
    """Where a photo is. ``output`` is the latest result, also while the next one is made."""

    status: Status = "ready"
    choices: Choices | None = None
    progress: PhotoProgress | None = None
    seconds_left: float | None = None
    stopping: bool = False
    output: UpscaledPhoto | None = None
    error: AddsrError | None = None


@dataclass(eq=False, kw_only=True)
class Upload:
    """A photo of one browser. ``state`` is replaced as a whole, so any thread may read it."""

    id: str
    name: str
    path: Path
    header: Header
    bytes: int
    state: State = field(default_factory=State)
    job: "QueuedJob[UpscaledPhoto] | None" = None
    removed: bool = False
    pictures: dict[str, ShownPicture] = field(default_factory=dict)
    results: int = 0

    @property
    def folder(self) -> Path:
        """The folder of everything that belongs to this photo."""
        return self.path.parent

    @property
    def is_active(self) -> bool:
        """Whether the photo waits in the queue or is being upscaled."""
        return self.state.status in ACTIVE

    def update(self, **changes: Any) -> None:  # noqa: ANN401 (fields of State)
        """Replace fields of the state."""
        self.state = replace(self.state, **changes)

    def record(self) -> dict[str, Any]:
        """Return what the page shows of the photo."""
        state = self.state
        progress = state.progress
        return {
            "id": self.id,
            "name": self.name,
            "size": list(self.header.size),
            "bytes": self.bytes,
            "status": state.status,
            "stopping": state.stopping,
            "done": progress.done if progress else 0,
            "total": progress.total if progress else 0,
            "seconds_left": state.seconds_left,
            "results": self.results,
            "output": state.output.record() if state.output else None,
            "error": state.error.record() if state.error else None,
        }

    def delete(self) -> None:
        """Delete everything of this photo but a result in the user's folder."""
        shutil.rmtree(self.folder, ignore_errors=True)


async def receive(
    chunks: AsyncIterator[bytes],
    name: str,
    folder: Path,
    limits: Limits,
) -> Upload:
    """Store the body of a request in a new folder below ``folder``; not decoded yet.

    ``name`` is what the page shows, not a path. Raises TooLarge as soon as the body exceeds the
    limit, and UnreadableInput for what is no picture; then nothing is left of it.
    """
    id_ = secrets.token_hex(8)
    own_folder = folder / id_
    path = own_folder / storage_name(name)
    try:
        own_folder.mkdir(parents=True)
        size = await _write(chunks, path, name, limits)
        header = await to_thread.run_sync(check_photo, path, name, limits)
    except BaseException as exc:
        shutil.rmtree(own_folder, ignore_errors=True)
        if isinstance(exc, OSError):
            raise write_error(f"{name!r}", exc, "Free some space.") from exc
        raise
    return Upload(
        id=id_,
        name=name,
        path=path,
        header=header,
        bytes=size,
    )


async def _write(
    chunks: AsyncIterator[bytes],
    path: Path,
    name: str,
    limits: Limits,
) -> int:
    size = 0
    with path.open("xb") as file:
        async for chunk in chunks:
            size += len(chunk)
            check_bytes(size, name, limits)
            file.write(chunk)
    return size


def check_bytes(size: int, name: str, limits: Limits) -> None:
    """Raise TooLarge for a file of more bytes than allowed."""
    if size > limits.photo_bytes:
        raise TooLarge(
            f"{name!r} is larger than {limits.photo_bytes / 1e6:.0f} MB.",
            "Start addsr serve with a larger --max-upload, or use addsr upscale.",
        )


def check_photo(path: Path, name: str, limits: Limits) -> Header:
    """Return the header of a stored file. Raises UnreadableInput; TooLarge for too many pixels."""
    try:
        header = imageio.read_header(path)
    except UnreadableInput as exc:
        raise renamed(exc, path, name) from exc
    if header.width * header.height > limits.pixels:
        raise TooLarge(
            f"{name!r} has {header.width}x{header.height} pixels, more than this page takes.",
            f"The limit is {limits.pixels / 1e6:.0f} megapixels. Use addsr upscale.",
        )
    return header


def renamed(error: AddsrError, path: Path, name: str) -> AddsrError:
    """Return the error with the user's name of the file in place of ours."""
    if isinstance(error, NoSpace):
        return error
    message = error.message.replace(repr(str(path)), repr(name)).replace(str(path), name)
    return type(error)(message, error.hint.replace(str(path), name))

"""UNet and ControlNet in what the authors publish or their training writes: folder, zip or tar.

The authors' download is one archive with ``unet`` and ``controlnet`` somewhere inside; their
training writes ``unet_0`` and the like. Archives are untrusted: only the files of the two networks
are unpacked, under names of our own, and an archive with a path that leads out of it is refused.
"""

import errno
import json
import math
import os
import re
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from io import FileIO
from itertools import product
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from typing import IO, cast

from addsr_cli.errors import ModelUnavailable
from addsr_cli.files import is_disk_full, require_free_space, write_error
from addsr_cli.models.checkpoint_reader import DOWNLOAD_AGAIN, first_bytes

CONFIG = "config.json"
TITLES = {"unet": "UNet", "controlnet": "ControlNet"}
CLASSES = {"UNet2DConditionModel": "unet", "ControlNetModel": "controlnet"}
FOLDER_NAME = re.compile(r"(unet|controlnet)(_.*)?")
STEMS = ("diffusion_pytorch_model", "model", "pytorch_model")
WEIGHTS_NAMES = tuple(
    f"{stem}{variant}{suffix}"
    for suffix, variant, stem in product((".safetensors", ".bin"), ("", ".fp16", ".non_ema"), STEMS)
)
MAX_DEPTH = 4  # folders around the networks
MAX_RATIO = 100  # weights do not shrink to a hundredth
SMALL_ENOUGH = 64 << 20  # bytes that may be unpacked from any archive
MAX_CONFIG_SIZE = 1 << 20
CHUNK = 1 << 20
COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ")
READ_ERRORS = (
    zipfile.BadZipFile,
    tarfile.TarError,
    EOFError,
    OSError,
    ValueError,
    struct.error,
    zlib.error,
    LZMAError,
)
UNWRITABLE = {errno.EFBIG, errno.EROFS}
UNPACK = "Unpack it yourself and give the folder."
AUTHORS_ARCHIVE = "Take the authors' own archive."
LAYOUT = "Give a folder or archive with unet/ and controlnet/, each with config.json and weights."


@dataclass(frozen=True, kw_only=True)
class NetworkFolders:
    """Folders of UNet and ControlNet, each with a ``config.json`` and weights."""

    unet: Path
    controlnet: Path


@dataclass(frozen=True, kw_only=True)
class _Member:
    """One regular file of a folder or archive."""

    path: PurePosixPath
    size: int
    open: Callable[[], IO[bytes]]


@dataclass(frozen=True, kw_only=True)
class _Contents:
    """File sizes by folder and name, and the text of the configurations by folder."""

    path: Path
    files: dict[PurePosixPath, dict[str, int]] = field(default_factory=dict)
    configs: dict[PurePosixPath, bytes] = field(default_factory=dict)

    def add(self, member: _Member) -> None:
        """Note a file; configurations are read at once."""
        folder = member.path.parent
        if len(folder.parts) > MAX_DEPTH + 1:
            return
        self.files.setdefault(folder, {})[member.path.name] = member.size
        if member.path.name == CONFIG and member.size <= MAX_CONFIG_SIZE:
            with member.open() as file:
                self.configs[folder] = file.read()


def find_networks(path: Path, scratch: Path) -> NetworkFolders:
    """Find UNet and ControlNet in a folder or archive, up to four folders deep.

    Which is which is decided by ``_class_name`` in ``config.json``, or by the folder's name.
    Archives are unpacked to ``scratch``, which the caller removes. Raises ModelUnavailable, or
    OutputRefused where the disk has no room.
    """
    with _translated_errors(path):
        contents = _scan(path)
        folders = _choose_folders(contents)
        if path.is_dir():
            return NetworkFolders(
                unet=path / folders["unet"],
                controlnet=path / folders["controlnet"],
            )
        return _unpack(path, contents, folders, scratch)


def has_networks(folder: Path) -> bool:
    """Whether anything in a folder looks like a network, complete or not."""
    contents = _scan(folder)
    names = (subfolder.name.lower() for subfolder in contents.files)
    return bool(contents.configs) or any(FOLDER_NAME.fullmatch(name) for name in names)


def weights_file(folder: Path) -> Path:
    """Return the file with a folder's weights.

    Prefers safetensors to pickles, and full precision to half. Raises ModelUnavailable.
    """
    return folder / _weights_name(folder, [path.name for path in folder.glob("*")])


def _archive_head(path: Path) -> bytes:
    """Return the first bytes of an archive. Raises ModelUnavailable for unsupported formats."""
    head = first_bytes(path)
    if head[:1] == b"\x80" and head[1] in range(2, 6):
        raise ModelUnavailable(f"{path} is a Python pickle, not an archive of folders.", LAYOUT)
    if head.startswith((b"Rar!", b"7z\xbc\xaf")):
        raise ModelUnavailable(f"{path} is a RAR or 7z archive, which addsr cannot read.", UNPACK)
    return head


@contextmanager
def _translated_errors(path: Path) -> Iterator[None]:
    """Translate the errors of the archive readers."""
    try:
        yield
    except (NotImplementedError, tarfile.CompressionError) as exc:
        raise ModelUnavailable(
            f"{path} is packed in a way that addsr cannot read: {exc}.", UNPACK
        ) from exc
    except READ_ERRORS as exc:
        if is_disk_full(exc) or (isinstance(exc, OSError) and exc.errno in UNWRITABLE):
            raise write_error(f"The contents of {path}", exc, "Free some space.") from exc
        raise ModelUnavailable(
            f"{path} is damaged, was cut short or cannot be read: {exc}.", DOWNLOAD_AGAIN
        ) from exc


def _scan(path: Path) -> _Contents:
    """List a folder or archive. Raises ModelUnavailable for a zip bomb."""
    contents = _Contents(path=path)
    total = 0
    with _open_members(path) as members:
        packed = path.stat().st_size
        limit = math.inf if path.is_dir() else max(SMALL_ENOUGH, packed * MAX_RATIO)
        for member in members:
            total += member.size
            if total > limit:
                raise ModelUnavailable(
                    f"{path} is a zip bomb: its {packed:,} bytes would become {total:,} and more.",
                    "Do not unpack it; take the authors' own archive.",
                )
            contents.add(member)
    return contents


@contextmanager
def _open_members(path: Path) -> Iterator[Iterator[_Member]]:
    """Iterate over the regular files of a folder or archive, in its order."""
    if path.is_dir():
        yield _folder_members(path)
    elif _archive_head(path).startswith(b"PK"):
        with zipfile.ZipFile(path) as archive:
            yield _zip_members(path, archive)
    else:
        with _open_tar(path) as archive:
            yield _tar_members(path, archive)


def _open_tar(path: Path) -> tarfile.TarFile:
    try:
        return tarfile.open(path, "r:*")
    except tarfile.ReadError as exc:
        if first_bytes(path).startswith(COMPRESSED):
            raise
        raise ModelUnavailable(f"{path} is not a zip or tar archive.", LAYOUT) from exc


def _folder_members(root: Path) -> Iterator[_Member]:
    for folder, subfolders, names in os.walk(root):
        inner = PurePosixPath(Path(folder).relative_to(root).as_posix())
        if len(inner.parts) > MAX_DEPTH:
            subfolders.clear()
        for path in [Path(folder) / name for name in names]:
            if path.is_file():
                yield _Member(
                    path=inner / path.name,
                    size=path.stat().st_size,
                    open=partial(FileIO, path),
                )


def _zip_members(path: Path, archive: zipfile.ZipFile) -> Iterator[_Member]:
    for info in archive.infolist():
        inner = _inner_path(path, info.filename)
        file_type = stat.S_IFMT(info.external_attr >> 16)
        if info.flag_bits & 1:
            raise ModelUnavailable(
                f"{path} is encrypted.", "Unpack it with its password and give the folder."
            )
        if file_type not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _unsafe(path, info.filename, "is a link or a device")
        if not info.is_dir():
            yield _Member(
                path=inner,
                size=info.file_size,
                open=partial(archive.open, info),
            )


def _tar_members(path: Path, archive: tarfile.TarFile) -> Iterator[_Member]:
    for info in archive:
        inner = _inner_path(path, info.name)
        if not (info.isreg() or info.isdir()):
            raise _unsafe(path, info.name, "is a link or a device")
        if info.isreg():
            # extractfile returns None only for other kinds of members
            opener = cast("Callable[[], IO[bytes]]", partial(archive.extractfile, info))
            yield _Member(path=inner, size=info.size, open=opener)
    while archive.fileobj and archive.fileobj.read(CHUNK):  # the checksum is at the end
        pass


def _inner_path(path: Path, name: str) -> PurePosixPath:
    """Return a member's name as a path in the archive, from either kind of slashes."""
    inner = PurePosixPath(name.replace("\\", "/"))
    if inner.is_absolute() or re.match(r"[A-Za-z]:", name):
        raise _unsafe(path, name, "is an absolute path")
    if ".." in inner.parts:
        raise _unsafe(path, name, "leads out of the archive")
    return inner


def _unsafe(
    path: Path,
    name: str,
    why: str,
) -> ModelUnavailable:
    return ModelUnavailable(f"{path} is not safe to unpack: {name!r} {why}.", AUTHORS_ARCHIVE)


def _choose_folders(contents: _Contents) -> dict[str, PurePosixPath]:
    """Return the only folder of each network.

    Raises ModelUnavailable when one is missing or there are several.
    """
    folders_by_kind: dict[str, list[PurePosixPath]] = {kind: [] for kind in TITLES}
    for folder in sorted(contents.files):
        kind = _network_kind(contents, folder)
        if kind in folders_by_kind:
            folders_by_kind[kind].append(folder)
    for kind, folders in folders_by_kind.items():
        if len(folders) > 1:
            raise ModelUnavailable(
                f"{contents.path} holds more than one {TITLES[kind]}: "
                f"{', '.join(map(str, folders))}.",
                "Give a folder that holds one of each, as that of one checkpoint does.",
            )
    chosen = {kind: folders[0] for kind, folders in folders_by_kind.items() if folders}
    if len(chosen) < len(TITLES):
        raise _networks_missing(contents, chosen)
    for folder in chosen.values():
        _weights_name(contents.path / folder, contents.files[folder])
    return chosen


def _networks_missing(
    contents: _Contents,
    chosen: Mapping[str, PurePosixPath],
) -> ModelUnavailable:
    path = contents.path
    if not contents.files:
        return ModelUnavailable(
            f"{path} is empty, or holds nothing within {MAX_DEPTH} folders.", LAYOUT
        )
    if not chosen and any("data.pkl" in names for names in contents.files.values()):
        return ModelUnavailable(
            f"{path} is a single PyTorch checkpoint under another name, not an archive.", LAYOUT
        )
    missing = " and no ".join(title for kind, title in TITLES.items() if kind not in chosen)
    present = "".join(f", but a {TITLES[kind]} in {path / chosen[kind]}" for kind in chosen)
    return ModelUnavailable(f"{path} holds no {missing}{present}.", LAYOUT)


def _network_kind(contents: _Contents, folder: PurePosixPath) -> str | None:
    """Return ``unet``, ``controlnet`` or None. Raises ModelUnavailable for a damaged folder."""
    match = FOLDER_NAME.fullmatch(folder.name.lower())
    if folder not in contents.configs:
        if match and not contents.files[folder].keys().isdisjoint((*WEIGHTS_NAMES, CONFIG)):
            raise ModelUnavailable(
                f"{contents.path / folder} has no {CONFIG}, or one that is far too large.", LAYOUT
            )
        return None
    try:
        class_name = json.loads(contents.configs[folder]).get("_class_name")
    except (ValueError, AttributeError, RecursionError) as exc:
        if not match:
            return None
        raise ModelUnavailable(
            f"{contents.path / folder / CONFIG} cannot be read: it is not a JSON object.",
            DOWNLOAD_AGAIN,
        ) from exc
    if class_name is None and match:
        return match[1]
    return CLASSES.get(class_name) if isinstance(class_name, str) else None


def _weights_name(folder: Path, names: Collection[str]) -> str:
    for name in WEIGHTS_NAMES:
        if name in names:
            return name
    raise ModelUnavailable(
        f"{folder} holds no weights in one file ({STEMS[0]}.safetensors or .bin).", LAYOUT
    )


def _unpack(
    path: Path,
    contents: _Contents,
    folders: Mapping[str, PurePosixPath],
    scratch: Path,
) -> NetworkFolders:
    """Unpack the four files of the networks to ``scratch``, under names of our own."""
    targets = {}
    size = 0
    for kind, folder in folders.items():
        (scratch / kind).mkdir(parents=True, exist_ok=True)
        sizes = contents.files[folder]
        for name in (CONFIG, _weights_name(path / folder, sizes)):
            targets[folder / name] = scratch / kind / name
            size += sizes[name]
    require_free_space(
        scratch,
        size,
        f"Unpacking {path} needs",
        "Free some space, or choose a folder on another disk.",
    )
    with _open_members(path) as members:
        for member in members:
            target = targets.get(member.path)
            if target:
                with member.open() as packed, target.open("wb") as file:
                    shutil.copyfileobj(packed, file, CHUNK)
    return NetworkFolders(
        unet=scratch / "unet",
        controlnet=scratch / "controlnet",
    )

"""Finding a UNet and a ControlNet in what the authors publish or their training writes: a folder, a zip or a tar.

The authors' download is one archive with ``unet`` and ``controlnet`` somewhere inside; their
training writes ``unet_0`` and the like. Archives are material from strangers: only the files of the
pair are unpacked, under names of our own, and anything that reaches out of the archive refuses the
whole of it.
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

CONFIG = "config.json"
TITLES = {"unet": "UNet", "controlnet": "ControlNet"}
CLASSES = {"UNet2DConditionModel": "unet", "ControlNetModel": "controlnet"}
NAMED = re.compile(r"(unet|controlnet)(_.*)?")
STEMS = ("diffusion_pytorch_model", "model", "pytorch_model")
WEIGHTS_NAMES = tuple(
    f"{stem}{variant}{suffix}"
    for suffix, variant, stem in product((".safetensors", ".bin"), ("", ".fp16", ".non_ema"), STEMS)
)
DEEPEST = 4  # folders around the pair
RATIO, HARMLESS = 100, 64 << 20  # no weights shrink to a hundredth; less than 64 MiB hurts nobody
CONFIG_LIMIT, CHUNK, HEAD = 1 << 20, 1 << 20, 1 << 10
SQUEEZED, PAGES = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ"), (b"<!doctype html", b"<html")
DAMAGE = (
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
AGAIN, UNPACK = "Download it again.", "Unpack it yourself and give the folder."
LAYOUT = "Give a folder or archive with unet/ and controlnet/, each with config.json and weights."


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two folders, each with a ``config.json`` and weights."""

    unet: Path
    controlnet: Path


@dataclass(frozen=True, kw_only=True)
class _Member:
    """One regular file of an archive."""

    path: PurePosixPath
    size: int
    open: Callable[[], IO[bytes]]


@dataclass(frozen=True, kw_only=True)
class _Contents:
    """Sizes of files by folder and name, and what the configurations say."""

    where: Path
    files: dict[PurePosixPath, dict[str, int]] = field(default_factory=dict)
    configs: dict[PurePosixPath, bytes] = field(default_factory=dict)

    def add(self, member: _Member) -> None:
        """Note a file; configurations are read at once."""
        folder = member.path.parent
        if len(folder.parts) > DEEPEST + 1:
            return
        self.files.setdefault(folder, {})[member.path.name] = member.size
        if member.path.name == CONFIG and member.size <= CONFIG_LIMIT:
            with member.open() as file:
                self.configs[folder] = file.read()


def find_pair(path: Path, scratch: Path) -> Pair:
    """UNet and ControlNet in a folder or archive, up to four folders deep.

    Which is which is decided by ``_class_name`` in ``config.json``, or by the folder's name.
    Archives are unpacked to ``scratch``, which the caller removes. Raises ModelUnavailable, or
    OutputRefused where the disk has no room.
    """
    with _sentences(path):
        contents = _scan(path)
        folders = _choose(contents)
        if path.is_dir():
            return Pair(unet=path / folders["unet"], controlnet=path / folders["controlnet"])
        return _unpack(path, contents, folders, scratch)


def has_networks(folder: Path) -> bool:
    """Whether anything in a folder looks like a network, whole or not."""
    contents = _scan(folder)
    return bool(contents.configs) or any(
        NAMED.fullmatch(inner.name.lower()) for inner in contents.files
    )


def weights_file(folder: Path) -> Path:
    """The file with a folder's weights: safetensors before pickles, full precision before half."""
    return folder / _weights_name(folder, [path.name for path in folder.glob("*")])


def first_bytes(path: Path) -> bytes:
    """How a file begins. Raises ModelUnavailable when it cannot be read, is empty, or is a web page."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError as exc:
        raise ModelUnavailable(
            f"{path} cannot be read: {exc.strerror}.", "Check the path."
        ) from exc
    if not head:
        raise ModelUnavailable(f"{path} is empty.", AGAIN)
    if head.removeprefix(b"\xef\xbb\xbf").lstrip().lower().startswith(PAGES):
        problem = f"{path} is a web page, not weights: the host sent a notice (quota, sign-in or virus scan)."
        raise ModelUnavailable(
            problem, "Open the link in a browser, confirm the download, and give the file you get."
        )
    return head


def _head(path: Path) -> bytes:
    head = first_bytes(path)
    if head[:1] == b"\x80" and head[1] in range(2, 6):
        raise ModelUnavailable(f"{path} is a Python pickle, not an archive of folders.", LAYOUT)
    if head.startswith((b"Rar!", b"7z\xbc\xaf")):
        raise ModelUnavailable(f"{path} is a RAR or 7z archive, which addsr cannot read.", UNPACK)
    return head


@contextmanager
def _sentences(path: Path) -> Iterator[None]:
    """Say of a reader's failure what it means."""
    try:
        yield
    except (NotImplementedError, tarfile.CompressionError) as exc:
        raise ModelUnavailable(
            f"{path} is packed in a way that addsr cannot read: {exc}.", UNPACK
        ) from exc
    except DAMAGE as exc:
        if is_disk_full(exc) or getattr(exc, "errno", None) in UNWRITABLE:
            raise write_error(f"What {path} contains", exc, "Free some space.") from exc
        raise ModelUnavailable(
            f"{path} is damaged, was cut short or cannot be read: {exc}.", AGAIN
        ) from exc


def _scan(path: Path) -> _Contents:
    """What a folder or archive holds. Raises ModelUnavailable when it would swell beyond all proportion."""
    contents, total = _Contents(where=path), 0
    with _members(path) as members:
        packed = path.stat().st_size
        limit = math.inf if path.is_dir() else max(HARMLESS, packed * RATIO)
        for member in members:
            total += member.size
            if total > limit:
                problem = (
                    f"{path} is a zip bomb: its {packed:,} bytes would become {total:,} and more."
                )
                raise ModelUnavailable(problem, "Do not unpack it; take the authors' own archive.")
            contents.add(member)
    return contents


@contextmanager
def _members(path: Path) -> Iterator[Iterator[_Member]]:
    """The regular files of a folder or archive, in its order."""
    if path.is_dir():
        yield _walked(path)
    elif _head(path).startswith(b"PK"):
        with zipfile.ZipFile(path) as zipped:
            yield _zipped(path, zipped)
    else:
        try:
            opened = tarfile.open(path, "r:*")  # noqa: SIM115 (closed below; only opening tells what it is not)
        except tarfile.ReadError as exc:
            if first_bytes(path).startswith(SQUEEZED):
                raise
            raise ModelUnavailable(f"{path} is no zip or tar archive.", LAYOUT) from exc
        with opened:
            yield _tarred(path, opened)


def _walked(root: Path) -> Iterator[_Member]:
    for here, folders, names in os.walk(root):
        inner = PurePosixPath(Path(here).relative_to(root).as_posix())
        if len(inner.parts) > DEEPEST:
            folders.clear()
        for path in [Path(here) / name for name in names]:
            if path.is_file():
                yield _Member(
                    path=inner / path.name,
                    size=path.stat().st_size,
                    open=partial(FileIO, path),
                )


def _zipped(path: Path, archive: zipfile.ZipFile) -> Iterator[_Member]:
    for info in archive.infolist():
        inner = _inner(path, info.filename)
        kind = stat.S_IFMT(info.external_attr >> 16)
        if info.flag_bits & 1:
            raise ModelUnavailable(
                f"{path} is encrypted.", "Unpack it with its password and give the folder."
            )
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _reaches_out(path, info.filename, "is a link or a device")
        if not info.is_dir():
            yield _Member(
                path=inner,
                size=info.file_size,
                open=partial(archive.open, info),
            )


def _tarred(path: Path, archive: tarfile.TarFile) -> Iterator[_Member]:
    for info in archive:
        inner = _inner(path, info.name)
        if not (info.isreg() or info.isdir()):
            raise _reaches_out(path, info.name, "is a link or a device")
        if info.isreg():
            opener = cast(
                "Callable[[], IO[bytes]]", partial(archive.extractfile, info)
            )  # None only for other kinds
            yield _Member(
                path=inner,
                size=info.size,
                open=opener,
            )
    while archive.fileobj and archive.fileobj.read(CHUNK):  # checksums come last
        pass


def _inner(path: Path, name: str) -> PurePosixPath:
    """A member's name as a path inside the archive, whichever way its slashes lean."""
    inner = PurePosixPath(name.replace("\\", "/"))
    if inner.is_absolute() or re.match(r"[A-Za-z]:", name):
        raise _reaches_out(path, name, "is an absolute path")
    if ".." in inner.parts:
        raise _reaches_out(path, name, "climbs out of the archive")
    return inner


def _reaches_out(path: Path, name: str, why: str) -> ModelUnavailable:
    return ModelUnavailable(
        f"{path} is not safe to unpack: {name!r} {why}.", "Take the authors' own archive."
    )


def _choose(contents: _Contents) -> dict[str, PurePosixPath]:
    """The one folder of each kind. Raises ModelUnavailable when there is none or a choice."""
    where, chosen = contents.where, {}
    kinds = {folder: _kind(contents, folder) for folder in sorted(contents.files)}
    for kind, title in TITLES.items():
        folders = [folder for folder, its in kinds.items() if its == kind]
        if len(folders) > 1:
            problem = f"{where} holds more than one {title}: {', '.join(map(str, folders))}."
            raise ModelUnavailable(
                problem, "Give a folder that holds one of each, as that of one checkpoint does."
            )
        if folders:
            chosen[kind] = folders[0]
    if not contents.files:
        raise ModelUnavailable(
            f"{where} is empty, or holds nothing within {DEEPEST} folders.", LAYOUT
        )
    if any("data.pkl" in names for names in contents.files.values()) and not chosen:
        raise ModelUnavailable(
            f"{where} is a single PyTorch checkpoint under another name, not an archive.", LAYOUT
        )
    if missing := [title for kind, title in TITLES.items() if kind not in chosen]:
        found = "".join(
            f", but a {TITLES[kind]} in {where / folder}" for kind, folder in chosen.items()
        )
        raise ModelUnavailable(f"{where} holds no {' and no '.join(missing)}{found}.", LAYOUT)
    for folder in chosen.values():
        _weights_name(where / folder, contents.files[folder])
    return chosen


def _kind(contents: _Contents, folder: PurePosixPath) -> str | None:
    """``unet``, ``controlnet`` or neither."""
    named = NAMED.fullmatch(folder.name.lower())
    if folder not in contents.configs:
        if named and not contents.files[folder].keys().isdisjoint((*WEIGHTS_NAMES, CONFIG)):
            raise ModelUnavailable(
                f"{contents.where / folder} has no {CONFIG}, or one that is far too large.", LAYOUT
            )
        return None
    try:
        said = json.loads(contents.configs[folder]).get("_class_name")
    except (ValueError, AttributeError, RecursionError) as exc:
        if not named:
            return None
        problem = f"{contents.where / folder / CONFIG} cannot be read: it is not a JSON object."
        raise ModelUnavailable(problem, AGAIN) from exc
    if said is None and named:
        return named[1]
    return CLASSES.get(said) if isinstance(said, str) else None


def _weights_name(folder: Path, names: Collection[str]) -> str:
    if found := [name for name in WEIGHTS_NAMES if name in names]:
        return found[0]
    raise ModelUnavailable(
        f"{folder} holds no weights in one file ({STEMS[0]}.safetensors or .bin).", LAYOUT
    )


def _unpack(
    path: Path,
    contents: _Contents,
    folders: Mapping[str, PurePosixPath],
    scratch: Path,
) -> Pair:
    """Stream the pair's four files to ``scratch``, under names of our own."""
    targets, need = {}, 0
    for kind, folder in folders.items():
        (scratch / kind).mkdir(parents=True, exist_ok=True)
        sizes = contents.files[folder]
        for name in (CONFIG, _weights_name(path / folder, sizes)):
            targets[folder / name] = scratch / kind / name
            need += sizes[name]
    require_free_space(
        scratch,
        need,
        f"Unpacking {path} needs",
        "Free some space, or choose a folder on another disk.",
    )
    with _members(path) as members:
        for member in members:
            if target := targets.get(member.path):
                with member.open() as packed, target.open("wb") as file:
                    shutil.copyfileobj(packed, file, CHUNK)
    return Pair(unet=scratch / "unet", controlnet=scratch / "controlnet")

"""What lies in a tree: the photos in a fixed order, and a count of everything else by reason."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from addsr_cli import imageio
from addsr_cli.batch.journal import FOLDER
from addsr_cli.errors import AddsrError, UnreadableInput

HIDDEN, FOREIGN, UNWANTED, SPECIAL = (
    "hidden",
    "not a picture",
    "left out by --include or --exclude",
    "special file",
)
VIDEO = "video"
KINDS = 5  # suffixes named in a summary
OURS, KNOWN = "output of addsr", "link to a folder that is here already"

# Photos whatever this program can read: where it cannot, that is a failure with a reason, and no
# file to pass over. HEIF and its relatives, JPEG XL and XR, high dynamic range, camera raw.
PHOTOS = frozenset(
    {
        *(
            ".heic",
            ".heif",
            ".hif",
            ".heics",
            ".avci",
            ".jxl",
            ".jxr",
            ".wdp",
            ".hdp",
            ".exr",
            ".hdr",
        ),
        *(".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".fff", ".gpr", ".iiq"),
        *(".k25", ".kdc", ".mef", ".mos", ".mrw", ".nef", ".nrw", ".orf", ".pef", ".raf", ".raw"),
        *(".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f"),
    }
)
VIDEOS = frozenset(
    {
        *(
            ".3gp",
            ".avi",
            ".flv",
            ".insv",
            ".lrv",
            ".m2ts",
            ".m4v",
            ".mkv",
            ".mov",
            ".mp4",
            ".mpeg",
        ),
        *(".mpg", ".mts", ".mxf", ".ogv", ".webm", ".wmv"),
    }
)


@dataclass(frozen=True, kw_only=True)
class PhotoTree:
    """Photos relative to the root, with ``/``, sorted; what was passed over, by reason; folders that may not be read.

    ``suffixes`` counts the files that are no pictures by their suffix, for each reason.
    """

    photos: tuple[str, ...]
    skipped: Counter[str]
    suffixes: dict[str, Counter[str]]
    unreadable: dict[str, AddsrError]

    def summary(self) -> str:
        """What was passed over, as in ``1 hidden, 3 not a picture (2 .txt, 1 .pdf)``."""
        parts = []
        for reason, count in sorted(self.skipped.items()):
            suffixes = self.suffixes.get(reason, Counter())
            details = [f"{number} {suffix}" for suffix, number in suffixes.most_common(KINDS)]
            if len(suffixes) > KINDS:
                details.append("...")
            parts.append(f"{count} {reason}" + (f" ({', '.join(details)})" if details else ""))
        return ", ".join(parts)


def check_root(root: Path) -> None:
    """Raise UnreadableInput when there is no such folder."""
    if root.is_dir():
        return
    if root.exists():
        raise UnreadableInput(
            f"{str(root)!r} is not a folder.", f"For one photo: addsr upscale {root}"
        )
    raise UnreadableInput(f"{str(root)!r} does not exist.", "Name a folder of photos.")


def find_photos(
    root: Path,
    output: Path,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
) -> PhotoTree:
    """Walk the tree below ``root``. Raises UnreadableInput when that is no folder.

    Links to folders are followed, but each folder is entered once, under its true name where that
    lies in the tree. The ``output`` folder and others that hold a journal of ours are passed over.
    Patterns are shell globs, upper and lower case alike: over every part of the relative path, or
    over the whole of it when they hold a ``/``.
    """
    check_root(root)
    walk = _Walk(
        root=root,
        output=output,
        include=include,
        exclude=exclude,
    )
    real, linked = [""], list[str]()
    while real or linked:
        inner, links = walk.enter(real.pop() if real else linked.pop())
        real += reversed(inner)
        linked[:0] = reversed(links)
    return PhotoTree(
        photos=tuple(sorted(walk.photos)),
        skipped=walk.skipped,
        suffixes=walk.suffixes,
        unreadable=walk.unreadable,
    )


@dataclass(kw_only=True)
class _Walk:
    """One walk: what is looked for, and what was seen so far."""

    root: Path
    output: Path
    include: Sequence[str]
    exclude: Sequence[str]
    photo_suffixes: frozenset[str] = field(
        default_factory=lambda: imageio.readable_suffixes() | PHOTOS
    )
    photos: list[str] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    suffixes: dict[str, Counter[str]] = field(default_factory=dict)
    unreadable: dict[str, AddsrError] = field(default_factory=dict)
    seen: set[tuple[int, int]] = field(default_factory=set)

    def enter(self, folder: str) -> tuple[list[str], list[str]]:
        """Note the files of one folder; returns the folders in it, and the links to folders."""
        try:
            status = (self.root / folder).stat()
            identity = status.st_dev, status.st_ino
            if identity in self.seen:
                self.skipped[KNOWN] += 1
                return [], []
            self.seen.add(identity)
            entries = sorted(os.scandir(self.root / folder), key=lambda entry: entry.name)
        except OSError as exc:
            reason = exc.strerror or str(exc)
            self.unreadable[folder] = UnreadableInput(
                f"The folder {str(self.root / folder)!r} cannot be read: {reason}.",
                "Check its permissions.",
            )
            return [], []
        inner: list[str] = []
        links: list[str] = []
        for entry in entries:
            name = f"{folder}/{entry.name}" if folder else entry.name
            if reason := self._refusal(entry, name):
                self.skipped[reason] += 1
            elif entry.is_dir():
                (links if entry.is_symlink() else inner).append(name)
            else:
                self.photos.append(name)
        return inner, links

    def _refusal(self, entry: "os.DirEntry[str]", name: str) -> str:
        """Why to pass over something; empty for a photo and for a folder to look into."""
        if entry.name.startswith("."):
            return HIDDEN
        if _matches(name, self.exclude):
            return UNWANTED
        if entry.is_dir():
            path = Path(entry.path)
            same = self.output.exists() and path.samefile(self.output)
            return OURS if same or (path / FOLDER).is_dir() else ""
        suffix = PurePosixPath(entry.name).suffix.lower()
        if suffix not in self.photo_suffixes:
            reason = VIDEO if suffix in VIDEOS else FOREIGN
            self.suffixes.setdefault(reason, Counter())[suffix or "no suffix"] += 1
            return reason
        if not entry.is_file() and not entry.is_symlink():
            return SPECIAL
        return UNWANTED if self.include and not _matches(name, self.include) else ""


def _matches(name: str, patterns: Sequence[str]) -> bool:
    lower = name.lower()
    return any(
        fnmatch(lower, pattern.lower())
        if "/" in pattern
        else any(fnmatch(p, pattern.lower()) for p in lower.split("/"))
        for pattern in patterns
    )

"""Finds the photos of a folder, in a fixed order, and counts the other files by reason."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from addsr_cli import imageio
from addsr_cli.batch.journal import FOLDER
from addsr_cli.errors import AddsrError, UnreadableInput

# Reasons to skip a file or folder.
HIDDEN = "hidden"
NOT_A_PICTURE = "not a picture"
VIDEO = "video"
EXCLUDED = "excluded by --include/--exclude"
SPECIAL = "special file"
ADDSR_OUTPUT = "output of addsr"
ALREADY_VISITED = "link to a folder that was already visited"

MAX_SUFFIXES = 5  # named in a summary

VIDEO_SUFFIXES = frozenset(
    """
    .3gp .avi .flv .insv .lrv .m2ts .m4v .mkv .mov .mp4 .mpeg .mpg .mts .mxf .ogv .webm .wmv
    """.split()  # noqa: SIM905
)


@dataclass(frozen=True, kw_only=True)
class PhotoTree:
    """The contents of a folder.

    ``photos`` are relative to the root, with ``/``, sorted. ``skipped`` counts the other files by
    reason, ``suffixes`` those that are no photos by reason and suffix. ``unreadable`` are folders.
    """

    photos: tuple[str, ...]
    skipped: Counter[str]
    suffixes: dict[str, Counter[str]]
    unreadable: dict[str, AddsrError]

    def skipped_summary(self) -> str:
        """Describe the skipped files, as in ``1 hidden, 3 not a picture (2 .txt, 1 .pdf)``."""
        parts = []
        for reason, count in sorted(self.skipped.items()):
            suffixes = self.suffixes.get(reason, Counter())
            details = [f"{n} {suffix}" for suffix, n in suffixes.most_common(MAX_SUFFIXES)]
            if len(suffixes) > MAX_SUFFIXES:
                details.append("...")
            part = f"{count} {reason}"
            if details:
                part += f" ({', '.join(details)})"
            parts.append(part)
        return ", ".join(parts)


def check_root(root: Path) -> None:
    """Raise UnreadableInput unless ``root`` is a folder."""
    if root.is_dir():
        return
    if root.exists():
        raise UnreadableInput(
            f"{str(root)!r} is not a folder.", f"For one photo: addsr upscale {root}"
        )
    raise UnreadableInput(f"{str(root)!r} does not exist.", "Give a folder of photos.")


def find_photos(
    root: Path,
    output: Path,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
) -> PhotoTree:
    """Walk the folder ``root``. Raises UnreadableInput if there is no such folder.

    Links to folders are followed, but each folder is visited once, under its own name if it lies
    in the tree. The ``output`` folder and other folders with a journal of addsr are skipped.
    Patterns are shell globs that ignore case; a pattern with ``/`` matches the whole relative path,
    any other pattern one part of it.
    """
    check_root(root)
    walk = _Walk(
        root=root,
        output=output,
        include=include,
        exclude=exclude,
    )
    # Links come last, so that a folder inside the tree is visited under its own name.
    folders = [""]
    links: list[str] = []
    while folders or links:
        folder = folders.pop() if folders else links.pop()
        inner_folders, inner_links = walk.visit(folder)
        folders += reversed(inner_folders)
        links[:0] = reversed(inner_links)
    return PhotoTree(
        photos=tuple(sorted(walk.photos)),
        skipped=walk.skipped,
        suffixes=walk.suffixes,
        unreadable=walk.unreadable,
    )


@dataclass(kw_only=True)
class _Walk:
    """The state of one walk."""

    root: Path
    output: Path
    include: Sequence[str]
    exclude: Sequence[str]
    photo_suffixes: frozenset[str] = field(default_factory=imageio.photo_suffixes)
    photos: list[str] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    suffixes: dict[str, Counter[str]] = field(default_factory=dict)
    unreadable: dict[str, AddsrError] = field(default_factory=dict)
    visited: set[tuple[int, int]] = field(default_factory=set)

    def visit(self, folder: str) -> tuple[list[str], list[str]]:
        """Record the files of one folder; return its folders, and its links to folders."""
        try:
            entries = self._entries(folder)
        except OSError as exc:
            self.unreadable[folder] = UnreadableInput(
                f"The folder {str(self.root / folder)!r} cannot be read: {exc.strerror or exc}.",
                "Check its permissions.",
            )
            return [], []
        folders: list[str] = []
        links: list[str] = []
        for entry in entries:
            name = f"{folder}/{entry.name}" if folder else entry.name
            if reason := self._skip_reason(entry, name):
                self.skipped[reason] += 1
            elif not entry.is_dir():
                self.photos.append(name)
            elif entry.is_symlink():
                links.append(name)
            else:
                folders.append(name)
        return folders, links

    def _entries(self, folder: str) -> "list[os.DirEntry[str]]":
        """Return the sorted entries of a folder; none if it was visited before. Raises OSError."""
        path = self.root / folder
        status = path.stat()
        identity = (status.st_dev, status.st_ino)
        if identity in self.visited:
            self.skipped[ALREADY_VISITED] += 1
            return []
        self.visited.add(identity)
        with os.scandir(path) as entries:
            return sorted(entries, key=lambda entry: entry.name)

    def _skip_reason(self, entry: "os.DirEntry[str]", name: str) -> str:
        """Return why an entry is skipped; empty for a photo and for a folder to visit."""
        if entry.name.startswith("."):
            return HIDDEN
        if _matches(name, self.exclude):
            return EXCLUDED
        if entry.is_dir():
            return ADDSR_OUTPUT if self._holds_outputs(Path(entry.path)) else ""
        suffix = PurePosixPath(entry.name).suffix.lower()
        if suffix not in self.photo_suffixes:
            reason = VIDEO if suffix in VIDEO_SUFFIXES else NOT_A_PICTURE
            self.suffixes.setdefault(reason, Counter())[suffix or "no suffix"] += 1
            return reason
        if not entry.is_file() and not entry.is_symlink():
            return SPECIAL
        if self.include and not _matches(name, self.include):
            return EXCLUDED
        return ""

    def _holds_outputs(self, folder: Path) -> bool:
        """Whether a folder is the output folder of this batch or of an earlier one."""
        if self.output.exists() and folder.samefile(self.output):
            return True
        return (folder / FOLDER).is_dir()


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(_matches_one(name.lower(), pattern.lower()) for pattern in patterns)


def _matches_one(name: str, pattern: str) -> bool:
    if "/" in pattern:
        return fnmatch(name, pattern)
    return any(fnmatch(part, pattern) for part in name.split("/"))

"""What a user downloaded by hand: originals that addsr knows by their digest, beside an archive with a student.

Such originals (RAM's checkpoint, DAPE, the tag lists) go to the store as if they had been fetched;
nothing else is known well enough to be told from another file of the same name.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from addsr_cli.errors import ModelUnavailable, UsageError
from addsr_cli.files import write_error
from addsr_cli.weights import cache
from addsr_cli.weights.archive import AGAIN, DEEPEST, first_bytes, has_networks
from addsr_cli.weights.components import DAPE, RAM, TAGS, Component, FileSpec
from addsr_cli.weights.progress import ProgressCallback, sha256_with_progress

KNOWN = (RAM, DAPE, TAGS)


@dataclass(frozen=True, kw_only=True)
class Original:
    """One file of a component, as the user has it."""

    component: Component
    spec: FileSpec
    file: Path


@dataclass(frozen=True, kw_only=True)
class Brought:
    """What lies in the paths that a user gave."""

    originals: tuple[Original, ...]
    student: Path | None


def sorted_out(paths: Iterable[Path]) -> Brought:
    """Tell known originals, given as files or lying in folders up to four deep, from a folder or archive of networks.

    Raises UsageError where more than one student is given, or none and no original.
    """
    known = {
        Path(spec.path).name: (part, spec)
        for part in KNOWN
        for spec in part.files
        if cache.must_match(spec)
    }
    originals, students = [], []
    for path in paths:
        files = [file for file in _files(path) if file.name in known]
        for file in files:
            part, spec = known[file.name]
            originals.append(
                Original(
                    component=part,
                    spec=spec,
                    file=file,
                )
            )
        if not files or (path.is_dir() and has_networks(path)):
            students.append(path)
    if len(students) > 1:
        raise UsageError(
            f"More than one folder or archive with networks: {', '.join(map(str, students))}.",
            "Give one, beside any of " + ", ".join(known) + ".",
        )
    return Brought(originals=tuple(originals), student=students[0] if students else None)


def adopt(original: Original, report: ProgressCallback | None = None) -> Path:
    """Check an original against its digest and take it into the store, where the next pull finds it; its place there.

    Raises ModelUnavailable where it is another file, and OutputRefused where it cannot be stored.
    """
    first_bytes(original.file)
    found, wanted = (
        sha256_with_progress(original.file, original.file.name, report),
        original.spec.sha256,
    )
    if found != wanted:
        raise ModelUnavailable(
            f"{original.file} is not the {original.spec.path} of {original.component.title}, or is damaged: it has "
            f"SHA-256 {found}, not {wanted}.",
            AGAIN,
        )
    try:
        return cache.adopt(original.component, original.spec, original.file, found)
    except OSError as exc:
        raise write_error(
            cache.folder(original.component.name) / original.spec.path,
            exc,
            "Free some space, or set ADDSR_HOME to another folder.",
        ) from exc


def _files(path: Path) -> list[Path]:
    """The file itself, or what lies in a folder."""
    if not path.is_dir():
        return [path]
    found = []
    for here, folders, names in os.walk(path):
        if len(Path(here).relative_to(path).parts) >= DEEPEST:
            folders.clear()
        found += [Path(here) / name for name in sorted(names)]
    return found

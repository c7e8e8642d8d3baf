"""Files that a user downloaded: known originals, and a folder or archive with networks.

Known originals, such as RAM's checkpoint or StableSR's files, are recognised by their digest and
added to the cache as if addsr had downloaded them.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from addsr_cli.errors import ModelUnavailable, UsageError
from addsr_cli.files import write_error
from addsr_cli.models.checkpoint_reader import DOWNLOAD_AGAIN, first_bytes
from addsr_cli.models.component import Component, FileSpec
from addsr_cli.models.registry import architecture_of_file
from addsr_cli.models.seesr.archive import MAX_DEPTH, has_networks
from addsr_cli.weights import cache
from addsr_cli.weights.components import COMPONENTS
from addsr_cli.weights.progress import ProgressCallback, sha256_with_progress


@dataclass(frozen=True, kw_only=True)
class Original:
    """One file of a component, and the user's copy of it."""

    component: Component
    spec: FileSpec
    file: Path


@dataclass(frozen=True, kw_only=True)
class ImportedFiles:
    """Known originals, a folder or archive with UNet and ControlNet, and a file of one network."""

    originals: tuple[Original, ...]
    networks: Path | None
    network: Path | None = None


def classify_paths(paths: Iterable[Path]) -> ImportedFiles:
    """Tell known originals from a folder or archive with networks, and from files of weights.

    Folders are searched for originals down to four levels. Raises UsageError for more than one
    folder or archive with networks.
    """
    known = {
        Path(spec.path).name: (component, spec)
        for component in COMPONENTS.values()
        for spec in component.files
        if component.importable and spec.digest_is_binding
    }
    originals = []
    networks = []
    singles = []
    for path in paths:
        files = [file for file in _files_in(path) if file.name in known]
        for file in files:
            component, spec = known[file.name]
            originals.append(Original(component=component, spec=spec, file=file))
        if not files and not path.is_dir() and architecture_of_file(path.suffix):
            singles.append(path)
        elif not files or (path.is_dir() and has_networks(path)):
            networks.append(path)
    if len(singles) > 1 or (singles and networks):
        raise UsageError(
            f"More than one model at once: {', '.join(map(str, [*singles, *networks]))}.",
            "Import one after the other.",
        )
    if len(networks) > 1:
        raise UsageError(
            f"More than one folder or archive with networks: {', '.join(map(str, networks))}.",
            "Give one, beside any of " + ", ".join(known) + ".",
        )
    return ImportedFiles(
        originals=tuple(originals),
        networks=networks[0] if networks else None,
        network=singles[0] if singles else None,
    )


def import_original(original: Original, on_progress: ProgressCallback | None = None) -> Path:
    """Check the digest of an original and add it to the cache; returns its path there.

    Raises ModelUnavailable for another file, and OutputRefused where it cannot be stored.
    """
    first_bytes(original.file)
    digest = sha256_with_progress(original.file, original.file.name, on_progress)
    expected = original.spec.sha256
    if digest != expected:
        raise ModelUnavailable(
            f"{original.file} is not the {original.spec.path} of {original.component.title}, "
            f"or is damaged: it has SHA-256 {digest}, not {expected}.",
            DOWNLOAD_AGAIN,
        )
    try:
        return cache.add_file(
            original.component,
            original.spec,
            original.file,
            digest,
        )
    except OSError as exc:
        raise write_error(
            cache.component_folder(original.component.name) / original.spec.path,
            exc,
            "Free some space, or set ADDSR_HOME to another folder.",
        ) from exc


def _files_in(path: Path) -> list[Path]:
    """Return the file itself, or all files of a folder."""
    if not path.is_dir():
        return [path]
    files = []
    for folder, subfolders, names in os.walk(path):
        if len(Path(folder).relative_to(path).parts) >= MAX_DEPTH:
            subfolders.clear()
        files += [Path(folder) / name for name in sorted(names)]
    return files

"""What downloading one component from one source would take: every file, with size and state."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from addsr_cli.models.component import Component, FileSpec, Source
from addsr_cli.weights import cache
from addsr_cli.weights.cache import CacheEntry, Record, component_folder
from addsr_cli.weights.remote import Access, RemoteFile, SourceFailed, request_metadata


@dataclass(frozen=True, kw_only=True)
class PlannedFile:
    """One file of a manifest.

    ``size`` is in bytes, None where unknown; ``partial`` counts the bytes of an unfinished
    download.
    """

    path: str
    size: int | None
    cached: bool
    partial: int = 0


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a download would do.

    ``revision`` is a commit where the Hub tells one. ``remote_files`` holds what the source
    declared, for the download to use; it is empty where no source was asked.
    """

    component: str
    source: Source
    revision: str
    files: tuple[PlannedFile, ...]
    remote_files: tuple[RemoteFile, ...] = field(default=(), repr=False)

    @property
    def total(self) -> int:
        """Bytes of all files whose size is known."""
        return sum(file.size or 0 for file in self.files)

    @property
    def missing(self) -> int:
        """Bytes still to download."""
        missing = (file for file in self.files if not file.cached)
        return sum(max(0, (file.size or 0) - file.partial) for file in missing)


def manifest_of_cached(component: Component) -> Manifest:
    """Return the manifest of a component that is complete in the cache; sends no request."""
    record = Record.read(component.name)
    return Manifest(
        component=component.name,
        source=Source(
            repo=record.repo,
            revision=record.revision,
            kind=record.kind,
        ),
        revision=record.revision,
        files=tuple(
            PlannedFile(
                path=spec.path,
                size=record.files[spec.path].size,
                cached=True,
            )
            for spec in component.files
        ),
    )


def request_files(
    component: Component,
    source: Source,
    access: Access,
) -> tuple[RemoteFile, ...]:
    """Ask a source about every file; the first answer fixes the commit. Raises SourceFailed."""
    revision = source.revision
    remote_files = []
    for spec in component.files:
        remote_file = request_metadata(source, spec, revision, access)
        revision = remote_file.commit or revision
        digest = remote_file.sha256
        if digest and spec.digest_is_binding and digest != spec.sha256:
            raise SourceFailed(differs(spec, digest))
        if source.kind != "url" and not (digest or remote_file.git_blob):
            raise SourceFailed(f"declares no checksum for {spec.path}")
        remote_files.append(remote_file)
    return tuple(remote_files)


def build_manifest(
    component: Component,
    source: Source,
    remote_files: tuple[RemoteFile, ...],
    usable: Mapping[str, CacheEntry],
) -> Manifest:
    """Compare what ``source`` declared with the ``usable`` files in the cache."""
    planned = []
    for spec, remote_file in zip(component.files, remote_files, strict=True):
        path = remote_file.partial_path(component_folder(component.name))
        partial = path.stat().st_size if remote_file.etag and path.exists() else 0
        planned.append(
            PlannedFile(
                path=spec.path,
                size=spec.size if remote_file.size is None else remote_file.size,
                cached=spec.path in usable,
                partial=partial,
            )
        )
    return Manifest(
        component=component.name,
        source=source,
        revision=remote_files[0].commit or source.revision,
        files=tuple(planned),
        remote_files=remote_files,
    )


def usable_files(
    component: Component,
    remote_files: tuple[RemoteFile, ...],
) -> dict[str, CacheEntry]:
    """Return the unchanged files in the cache that are what the source declares, by path."""
    cached = cache.cached_files(component, Record.read(component.name))
    usable = {}
    for spec, remote_file in zip(component.files, remote_files, strict=True):
        entry = cached.get(spec.path)
        if entry is None:
            continue
        if remote_file.etag:
            same = remote_file.etag in (entry.declared, entry.sha256)
        else:
            same = entry.sha256 == spec.sha256
        if same:
            usable[spec.path] = entry
    return usable


def differs(spec: FileSpec, digest: str) -> str:
    """Return the reason for a file with another digest than addsr's list has."""
    return f"has another {spec.path}: SHA-256 {digest}, not {spec.sha256}"

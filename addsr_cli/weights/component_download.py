"""Download of one component from one source; a file counts once its digest has been checked."""

from dataclasses import replace
from functools import partial
from glob import escape
from os import fsync
from pathlib import Path

from addsr_cli.files import git_blob_sha1_of, require_free_space, sha256_of
from addsr_cli.models.component import Component, FileSpec, Source
from addsr_cli.weights.cache import CacheEntry, Check, Record, component_folder
from addsr_cli.weights.manifest import build_manifest, differs, usable_files
from addsr_cli.weights.progress import Phase, ProgressCallback, TransferProgress
from addsr_cli.weights.remote import Access, RemoteFile, SourceFailed
from addsr_cli.weights.resumable_download import download

TAG_SUFFIX = len(".0123456789abcdef.part")
RESERVE = 64 * 2**20  # bytes that stay free on the disk


class ComponentDownload:
    """Download of one component from a source that declared ``remote_files``."""

    def __init__(
        self,
        component: Component,
        source: Source,
        remote_files: tuple[RemoteFile, ...],
        access: Access,
        on_progress: ProgressCallback | None,
    ) -> None:
        self.component = component
        self.access = access
        self.on_progress = on_progress
        self.folder = component_folder(component.name)
        usable = usable_files(component, remote_files)
        self.manifest = build_manifest(component, source, remote_files, usable)
        self.record = Record(
            repo=source.repo,
            kind=source.kind,
            asked=source.revision,
            revision=self.manifest.revision,
            files=usable,
        )

    def run(self) -> Path:
        """Download, check and record the missing files; returns the component's folder.

        Raises SourceFailed, ModelUnavailable, NoSpace and OSError.
        """
        self._require_space()
        for spec, remote_file in zip(
            self.component.files,
            self.manifest.remote_files,
            strict=True,
        ):
            if spec.path not in self.record.files:
                entry = self._download_file(spec, remote_file)
                self.record = replace(self.record, files=self.record.files | {spec.path: entry})
                self.record.write(self.component.name)
        self.record.write(self.component.name)
        return self.folder

    def _require_space(self) -> None:
        if self.manifest.missing:
            require_free_space(
                self.folder,
                self.manifest.missing + RESERVE,
                f"{self.component.title} needs another",
                "Free some space, or set ADDSR_HOME to a folder on a larger disk.",
            )

    def _download_file(self, spec: FileSpec, remote_file: RemoteFile) -> CacheEntry:
        """Download one file and move it to its place once it is intact."""
        partial_path = remote_file.partial_path(self.folder)
        _remove_other_versions(partial_path)
        try:
            entry = self._download_and_check(spec, remote_file, partial_path)
        except _Damaged:  # perhaps by bytes of an earlier session: once more from the start
            try:
                entry = self._download_and_check(spec, remote_file, partial_path)
            except _Damaged as exc:
                raise SourceFailed(
                    str(exc), "Run the same command again, or use another connection."
                ) from exc
        with partial_path.open("rb+") as file:
            fsync(file)  # on the disk before the record says so
        path = self.folder / spec.path
        partial_path.replace(path)
        return replace(entry, mtime_ns=path.stat().st_mtime_ns)

    def _download_and_check(
        self,
        spec: FileSpec,
        remote_file: RemoteFile,
        partial_path: Path,
    ) -> CacheEntry:
        """Complete one file; deletes it and raises _Damaged if the digest is wrong."""
        on_fetched = partial(
            self._report,
            "fetching",
            remote_file,
            partial_path,
        )
        download(
            remote_file,
            partial_path,
            self.access,
            on_fetched,
        )
        if self.on_progress:
            on_hashed = partial(
                self._report,
                "checking",
                remote_file,
                partial_path,
            )
            digest = sha256_of(partial_path, on_hashed)
        else:
            digest = sha256_of(partial_path)
        try:
            return _checked_entry(spec, remote_file, partial_path, digest)
        except _Damaged:
            partial_path.unlink()
            raise

    def _report(
        self,
        phase: Phase,
        remote_file: RemoteFile,
        partial_path: Path,
        done: int,
    ) -> None:
        if self.on_progress is None:
            return
        fetched = done if phase == "fetching" else partial_path.stat().st_size
        total_done = fetched + sum(entry.size for entry in self.record.files.values())
        self.on_progress(
            TransferProgress(
                file=remote_file.path,
                phase=phase,
                done=done,
                size=remote_file.size if phase == "fetching" else fetched,
                total_done=total_done,
                total_size=max(self.manifest.total, total_done),
            )
        )


class _Damaged(Exception):
    """The file is not what the source declares, or not what addsr's list has."""


def _checked_entry(
    spec: FileSpec,
    remote_file: RemoteFile,
    path: Path,
    digest: str,
) -> CacheEntry:
    """Return the entry of a complete file. Raises _Damaged when it is another file."""
    if remote_file.sha256 and digest != remote_file.sha256:
        raise _Damaged(f"sent {spec.path} with SHA-256 {digest}, but declares {remote_file.sha256}")
    if remote_file.git_blob and git_blob_sha1_of(path) != remote_file.git_blob:
        raise _Damaged(f"sent {spec.path} damaged: it is not the git blob {remote_file.git_blob}")
    if spec.digest_is_binding and digest != spec.sha256:
        raise _Damaged(differs(spec, digest))
    note = ""
    if spec.sha256 and digest != spec.sha256:
        note = (
            f"{spec.path} has SHA-256 {digest}; addsr's list has {spec.sha256}, "
            "but is not sure of it."
        )
    return CacheEntry(
        size=path.stat().st_size,
        mtime_ns=0,
        sha256=digest,
        declared=remote_file.etag,
        check=_strongest_check(spec, remote_file),
        note=note,
    )


def _strongest_check(spec: FileSpec, remote_file: RemoteFile) -> Check:
    if spec.digest_is_binding:
        return "manifest"
    if remote_file.sha256:
        return "hub"
    return "git" if remote_file.git_blob else "first use"


def _remove_other_versions(partial_path: Path) -> None:
    """Delete unfinished downloads of other versions of the same file."""
    stem = escape(partial_path.name[:-TAG_SUFFIX])
    for path in partial_path.parent.glob(f"{stem}.{'[0-9a-f]' * 16}.part"):
        if path != partial_path:
            path.unlink()

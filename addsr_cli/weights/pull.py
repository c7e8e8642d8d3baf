"""One component from one source: what it declares, what is missing here, every file checked before it counts."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from glob import escape
from pathlib import Path

from addsr_cli.files import git_blob_sha1_of, require_free_space, sha256_of
from addsr_cli.weights import cache
from addsr_cli.weights.cache import CacheEntry, Check, Record, folder
from addsr_cli.weights.components import Component, FileSpec, Source
from addsr_cli.weights.progress import Phase, ProgressCallback, TransferProgress
from addsr_cli.weights.transfer import Access, Remote, SourceFailed, describe, download

TAIL = len(".0123456789abcdef.part")
SPARE = 64 * 2**20  # bytes left free on the disk


@dataclass(frozen=True, kw_only=True)
class Planned:
    """One file of a survey: size in bytes where known, whether it lies here, bytes of it fetched before."""

    path: str
    size: int | None
    here: bool
    partial: int = 0


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a fetch would do: the source, its revision (a commit where the Hub tells), and every file.

    ``remotes`` is what the source declared for them, for the fetch to use; empty where it was not
    asked.
    """

    component: str
    source: Source
    revision: str
    files: tuple[Planned, ...]
    remotes: tuple[Remote, ...] = field(default=(), repr=False)

    @property
    def total(self) -> int:
        """Bytes of all files whose size is known."""
        return sum(file.size or 0 for file in self.files)

    @property
    def missing(self) -> int:
        """Bytes still to fetch."""
        return sum(max(0, (file.size or 0) - file.partial) for file in self.files if not file.here)


class Pull:
    """One component from one source, which declared ``remotes``."""

    def __init__(
        self,
        component: Component,
        source: Source,
        remotes: tuple[Remote, ...],
        access: Access,
        report: ProgressCallback | None,
    ) -> None:
        self.component = component
        self.access = access
        self.report = report
        self.place = folder(component.name)
        kept = kept_files(component, remotes)
        self.manifest = compared(component, source, remotes, kept)
        self.record = Record(
            repo=source.repo,
            kind=source.kind,
            asked=source.revision,
            revision=self.manifest.revision,
            files=kept,
        )

    def run(self) -> Path:
        """Fetch, check and record what is missing. Raises SourceFailed, ModelUnavailable, OutputRefused, OSError."""
        demand_space(self.component, self.place, self.manifest.missing)
        for spec, remote in zip(self.component.files, self.manifest.remotes, strict=True):
            if spec.path not in self.record.files:
                entry = self._file(spec, remote)
                self.record = replace(self.record, files=self.record.files | {spec.path: entry})
                self.record.write(self.component.name)
        self.record.write(self.component.name)
        return self.place

    def _file(self, spec: FileSpec, remote: Remote) -> CacheEntry:
        part = remote.part(self.place)
        for old in part.parent.glob(f"{escape(part.name[:-TAIL])}.{'[0-9a-f]' * 16}.part"):
            if old != part:  # of another version
                old.unlink()
        try:
            entry = self._download(spec, remote, part)
        except _Damaged:  # perhaps bytes of a broken session: once more from the start
            try:
                entry = self._download(spec, remote, part)
            except _Damaged as exc:
                raise SourceFailed(
                    str(exc), "Run the same command again, or use another connection."
                ) from exc
        with part.open("rb+") as file:
            os.fsync(file)  # on the disk before the record says so
        final = self.place / spec.path
        part.replace(final)
        return replace(entry, mtime_ns=final.stat().st_mtime_ns)

    def _download(self, spec: FileSpec, remote: Remote, part: Path) -> CacheEntry:
        """Bring one unfinished file to its end and check it; nothing damaged stays. Raises _Damaged."""
        before = sum(entry.size for entry in self.record.files.values())

        def tell(phase: Phase, done: int) -> None:
            if self.report:
                here = done if phase == "fetching" else part.stat().st_size
                total = max(self.manifest.total, before + here)
                size = remote.size if phase == "fetching" else here
                self.report(
                    TransferProgress(
                        file=remote.path,
                        phase=phase,
                        done=done,
                        size=size,
                        total_done=before + here,
                        total_size=total,
                    )
                )

        download(remote, part, self.access, partial(tell, "fetching"))
        try:
            return checked(spec, remote, part, partial(tell, "checking"))
        except _Damaged:
            part.unlink()
            raise


class _Damaged(Exception):
    """What arrived is not what the source declares, or not what addsr's list has."""


def checked(
    spec: FileSpec,
    remote: Remote,
    part: Path,
    tell: Callable[[int], None],
) -> CacheEntry:
    """The entry of a complete file, hashed once. Raises _Damaged when it is not what it should be."""
    found, note = sha256_of(part, tell), ""
    if remote.sha256 and found != remote.sha256:
        raise _Damaged(f"sent {spec.path} with SHA-256 {found}, but declares {remote.sha256}")
    if remote.blob and git_blob_sha1_of(part) != remote.blob:
        raise _Damaged(f"sent {spec.path} damaged: it is not the git blob {remote.blob}")
    check: Check = "hub" if remote.sha256 else "git" if remote.blob else "first use"
    if cache.must_match(spec):
        if found != spec.sha256:
            raise _Damaged(_differs(spec, found))
        check = "manifest"
    elif spec.sha256 and found != spec.sha256:
        note = f"{spec.path} has SHA-256 {found}; addsr's list has {spec.sha256}, but is not sure of it."
    return CacheEntry(
        size=part.stat().st_size,
        mtime_ns=0,
        sha256=found,
        declared=remote.etag,
        check=check,
        note=note,
    )


def _differs(spec: FileSpec, found: str) -> str:
    return f"has another {spec.path}: SHA-256 {found}, not {spec.sha256}"


def asked(component: Component, source: Source, access: Access) -> tuple[Remote, ...]:
    """What ``source`` declares for every file; the first answer fixes the commit. Raises SourceFailed."""
    revision, remotes = source.revision, []
    for spec in component.files:
        remote = describe(source, spec, revision, access)
        revision = remote.commit or revision
        if cache.must_match(spec) and remote.sha256 and remote.sha256 != spec.sha256:
            raise SourceFailed(_differs(spec, remote.sha256))
        if source.kind != "url" and not (remote.sha256 or remote.blob):
            raise SourceFailed(f"declares no checksum for {spec.path}")
        remotes.append(remote)
    return tuple(remotes)


def compared(
    component: Component,
    source: Source,
    remotes: tuple[Remote, ...],
    kept: Mapping[str, CacheEntry],
) -> Manifest:
    """What ``source`` declared, beside the files of it that are ``kept``."""
    planned = []
    for spec, remote in zip(component.files, remotes, strict=True):
        part = remote.part(folder(component.name))
        begun = part.stat().st_size if remote.etag and part.exists() else 0
        size = remote.size if remote.size is not None else spec.size
        planned.append(
            Planned(
                path=spec.path,
                size=size,
                here=spec.path in kept,
                partial=begun,
            )
        )
    return Manifest(
        component=component.name,
        source=source,
        revision=remotes[0].commit or source.revision,
        files=tuple(planned),
        remotes=remotes,
    )


def kept_files(component: Component, remotes: tuple[Remote, ...]) -> dict[str, CacheEntry]:
    """The files that lie here intact and are what the source declares."""
    here, kept = cache.cached_files(component, Record.read(component.name)), {}
    for spec, remote in zip(component.files, remotes, strict=True):
        entry = here.get(spec.path)
        if entry and (
            remote.etag in (entry.declared, entry.sha256)
            if remote.etag
            else entry.sha256 == spec.sha256
        ):
            kept[spec.path] = entry
    return kept


def demand_space(component: Component, place: Path, missing: int) -> None:
    """Make sure that ``missing`` bytes fit on the disk of ``place``. Raises OutputRefused."""
    if missing:
        require_free_space(
            place,
            missing + SPARE,
            f"{component.title} needs another",
            "Free some space, or set ADDSR_HOME to a folder on a larger disk.",
        )

"""One component from one source: what it declares, what is missing here, every file checked before it counts."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from glob import escape
from pathlib import Path

from addsr_cli.errors import OutputRefused
from addsr_cli.models import store
from addsr_cli.models.components import Component, FileSpec, Source
from addsr_cli.models.store import Check, Entry, Record, folder
from addsr_cli.models.transfer import Access, Remote, SourceFailed, describe, download

TAIL = len(".0123456789abcdef.part")
SPARE = 64 * 2**20  # bytes left free on the disk


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """How far a fetch is, in bytes: of the running file and of all files; ``size`` is None where no one told it."""

    file: str
    done: int
    size: int | None
    all_done: int
    all_size: int


@dataclass(frozen=True, kw_only=True)
class Planned:
    """One file of a survey: size in bytes where known, whether it lies here, bytes of it fetched before."""

    path: str
    size: int | None
    here: bool
    partial: int = 0


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What a fetch would do: the source, its revision (a commit where the Hub tells), and every file."""

    component: str
    source: Source
    revision: str
    files: tuple[Planned, ...]

    @property
    def total(self) -> int:
        """Bytes of all files whose size is known."""
        return sum(file.size or 0 for file in self.files)

    @property
    def missing(self) -> int:
        """Bytes still to fetch."""
        return sum(max(0, (file.size or 0) - file.partial) for file in self.files if not file.here)


@dataclass(frozen=True, kw_only=True)
class Offer:
    """What one source declares, beside what lies here."""

    survey: Survey
    remotes: tuple[Remote, ...]
    kept: dict[str, Entry]


class Pull:
    """One component from one source."""

    def __init__(
        self, component: Component, source: Source, access: Access, report: Callable[[Transfer], None] | None
    ) -> None:
        self.component = component
        self.access = access
        self.report = report
        self.place = folder(component.name)
        self.offer = offer(component, source, access)
        self.record = Record(
            repo=source.repo,
            kind=source.kind,
            asked=source.revision,
            revision=self.offer.survey.revision,
            files=self.offer.kept,
        )

    def run(self) -> Path:
        """Fetch, check and record what is missing. Raises SourceFailed, ModelUnavailable, OutputRefused, OSError."""
        demand_space(self.component, self.place, self.offer.survey.missing)
        for spec, remote in zip(self.component.files, self.offer.remotes, strict=True):
            if spec.path not in self.record.files:
                entry = self._file(spec, remote)
                self.record = replace(self.record, files=self.record.files | {spec.path: entry})
                self.record.write(self.component.name)
        self.record.write(self.component.name)
        return self.place

    def _file(self, spec: FileSpec, remote: Remote) -> Entry:
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
                raise SourceFailed(str(exc), "Run the same command again, or use another connection.") from exc
        with part.open("rb+") as file:
            os.fsync(file)  # on the disk before the record says so
        final = self.place / spec.path
        part.replace(final)
        return replace(entry, mtime_ns=final.stat().st_mtime_ns)

    def _download(self, spec: FileSpec, remote: Remote, part: Path) -> Entry:
        """Bring one unfinished file to its end and check it; nothing damaged stays. Raises _Damaged."""
        before = sum(entry.size for entry in self.record.files.values())

        def tell(done: int) -> None:
            if self.report:
                total = max(self.offer.survey.total, before + done)
                self.report(
                    Transfer(file=remote.path, done=done, size=remote.size, all_done=before + done, all_size=total)
                )

        download(remote, part, self.access, tell)
        try:
            return checked(spec, remote, part)
        except _Damaged:
            part.unlink()
            raise


class _Damaged(Exception):
    """What arrived is not what the source declares, or not what addsr's list has."""


def checked(spec: FileSpec, remote: Remote, part: Path) -> Entry:
    """The entry of a complete file, hashed once. Raises _Damaged when it is not what it should be."""
    found, note = store.digest(part), ""
    if remote.sha256 and found != remote.sha256:
        raise _Damaged(f"sent {spec.path} with SHA-256 {found}, but declares {remote.sha256}")
    if remote.blob and store.digest(part, "git") != remote.blob:
        raise _Damaged(f"sent {spec.path} damaged: it is not the git blob {remote.blob}")
    check: Check = "hub" if remote.sha256 else "git" if remote.blob else "first use"
    if store.must_match(spec):
        if found != spec.sha256:
            raise _Damaged(_differs(spec, found))
        check = "manifest"
    elif spec.sha256 and found != spec.sha256:
        note = f"{spec.path} has SHA-256 {found}; addsr's list has {spec.sha256}, but is not sure of it."
    return Entry(size=part.stat().st_size, mtime_ns=0, sha256=found, declared=remote.etag, check=check, note=note)


def _differs(spec: FileSpec, found: str) -> str:
    return f"has another {spec.path}: SHA-256 {found}, not {spec.sha256}"


def offer(component: Component, source: Source, access: Access) -> Offer:
    """What ``source`` declares for every file; the first answer fixes the commit. Raises SourceFailed."""
    record, place = Record.read(component.name), folder(component.name)
    here, kept = store.held_files(component, record), {}
    revision, remotes, planned = source.revision, [], []
    for spec in component.files:
        remote = describe(source, spec, revision, access)
        revision = remote.commit or revision
        if store.must_match(spec) and remote.sha256 and remote.sha256 != spec.sha256:
            raise SourceFailed(_differs(spec, remote.sha256))
        if source.kind != "url" and not (remote.sha256 or remote.blob):
            raise SourceFailed(f"declares no checksum for {spec.path}")
        entry = here.get(spec.path)
        if entry and (remote.etag in (entry.declared, entry.sha256) if remote.etag else entry.sha256 == spec.sha256):
            kept[spec.path] = entry
        part = remote.part(place)
        partial = part.stat().st_size if remote.etag and part.exists() else 0
        size = remote.size if remote.size is not None else spec.size
        planned.append(Planned(path=spec.path, size=size, here=spec.path in kept, partial=partial))
        remotes.append(remote)
    found = Survey(component=component.name, source=source, revision=revision, files=tuple(planned))
    return Offer(survey=found, remotes=tuple(remotes), kept=kept)


def demand_space(component: Component, place: Path, missing: int) -> None:
    """Make sure that ``missing`` bytes fit on the disk of ``place``. Raises OutputRefused."""
    free = shutil.disk_usage(place).free
    if missing and missing + SPARE > free:
        raise OutputRefused(
            f"{component.title} needs {missing / 1e9:.2f} GB more, but only {free / 1e9:.2f} GB are free at {place}.",
            "Free some space, or set ADDSR_HOME to a folder on a larger disk.",
        )

"""A component's weights on this computer: fetched from the first source that serves them, checked, recorded once.

``fetch`` makes sure, ``survey`` says beforehand what that would take, ``held`` looks without the
network; ``verify`` and ``remove`` do what they say. ``ADDSR_<COMPONENT>_REPO`` (ORG/REPO or
ORG/REPO@REVISION) takes the place of a component's sources; digests of confidence A and B hold for
it too.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from addsr_cli.errors import ModelUnavailable, UsageError
from addsr_cli.files import write_error
from addsr_cli.weights import cache
from addsr_cli.weights.cache import FileState, Record, folder, remove, verify
from addsr_cli.weights.components import Component, Source
from addsr_cli.weights.progress import ProgressCallback
from addsr_cli.weights.pull import Manifest, Planned, Pull, asked, compared, kept_files
from addsr_cli.weights.transfer import AGAIN, Access, Remote, SourceFailed

__all__ = [
    "FileState",
    "Manifest",
    "Planned",
    "fetch",
    "find_cached",
    "folder",
    "manifest",
    "notes",
    "override",
    "remove",
    "sources",
    "verify",
]

T = TypeVar("T")
OVERRIDE = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?")
TRUE = ("1", "ON", "YES", "TRUE")


def override(component: Component) -> str:
    """The name of the environment variable that replaces a component's sources."""
    return f"ADDSR_{component.name.removeprefix('addsr-').upper().replace('-', '_')}_REPO"


def sources(component: Component) -> tuple[Source, ...]:
    """Where a component is looked for, in order. Raises UsageError for an override that makes no sense."""
    value = os.environ.get(override(component)) if component.movable else None
    if not value:
        return component.sources
    match = OVERRIDE.fullmatch(value)
    if not match:
        raise UsageError(
            f"{override(component)} must be ORG/REPO or ORG/REPO@REVISION, not {value!r}."
        )
    return (Source(repo=match["repo"], revision=match["revision"] or "main"),)


def find_cached(component: Component) -> Path | None:
    """The component's folder if every file lies there as it was checked, else None; never asks the network.

    Sizes and times are compared with the record; a file whose time changed is hashed again.
    """
    cache.refuse_odd_names(component)
    return cache.find_cached(component, sources(component))


def origin(component: Component) -> dict[str, object]:
    """Where the files that lie here came from, as data: repository or file, commit, sha256 by path."""
    record = Record.read(component.name)
    digests = {path: entry.sha256 for path, entry in record.files.items()}
    return {
        "repo": record.repo,
        "revision": record.revision,
        "licence": component.licence,
        "files": digests,
    }


def notes(component: Component) -> tuple[str, ...]:
    """What is odd about the files that lie here: sentences, such as on a digest that differs from an unsure one."""
    return tuple(entry.note for entry in Record.read(component.name).files.values() if entry.note)


def manifest(
    component: Component,
    *,
    offline: bool | None = None,
    endpoint: str | None = None,
    token: str | None = None,
) -> Manifest:
    """What a fetch would do, without fetching; no request where everything lies here. Raises ModelUnavailable."""
    if find_cached(component):
        record = Record.read(component.name)
        files = tuple(
            Planned(
                path=each.path,
                size=record.files[each.path].size,
                here=True,
            )
            for each in component.files
        )
        source = Source(
            repo=record.repo,
            revision=record.revision,
            kind=record.kind,
        )
        return Manifest(
            component=component.name,
            source=source,
            revision=record.revision,
            files=files,
        )
    _demand_network(component, offline)
    access = Access(endpoint=endpoint, token=token)

    def ask(source: Source) -> Manifest:
        remotes = asked(component, source, access)
        return compared(component, source, remotes, kept_files(component, remotes))

    with _local(component):
        return _first(component, sources(component), access, ask)


def fetch(
    component: Component,
    *,
    found: Manifest | None = None,
    report: ProgressCallback | None = None,
    offline: bool | None = None,
    endpoint: str | None = None,
    token: str | None = None,
) -> Path:
    """The component's folder with every file there and checked; fetches what is missing, going on where it stopped.

    No request is made when everything lies here. ``found`` is what ``survey`` said a moment ago:
    its source comes first and is not asked again for sizes and digests. ``offline`` None means
    HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE; ``endpoint`` and ``token`` None mean the Hub's usual
    settings. A second process waits for the first. Raises ModelUnavailable when no source serves
    it, OutputRefused when it cannot be stored, UsageError.
    """
    ready = find_cached(component)
    if ready:
        return ready
    _demand_network(component, offline)
    access = Access(endpoint=endpoint, token=token)
    with _local(component), cache.locked(component.name):
        ready = find_cached(component)  # another process may have been at it
        if ready:
            return ready
        told: Mapping[Source, tuple[Remote, ...]] = (
            {found.source: found.remotes} if found and found.remotes else {}
        )

        def pull(source: Source) -> Path:
            return Pull(
                component,
                source,
                told.get(source) or asked(component, source, access),
                access,
                report,
            ).run()

        return _first(component, dict.fromkeys((*told, *sources(component))), access, pull)


def _first(
    component: Component,
    candidates: Iterable[Source],
    access: Access,
    attempt: Callable[[Source], T],
) -> T:
    """What the first source that can serve gives. Raises ModelUnavailable, naming every source and its reason."""
    failed: list[tuple[Source, SourceFailed]] = []
    silent: set[str] = set()
    for source in candidates:
        if access.host(source) in silent:
            continue
        try:
            return attempt(source)
        except SourceFailed as exc:
            failed.append((source, exc))
            if exc.unreachable:
                silent.add(access.host(source))
    if not failed:
        raise ModelUnavailable(
            f"{component.title} has no public source.",
            f"Import it, or set {override(component)}=ORG/REPO.",
        )
    reasons = "; ".join(f"{source.repo.rstrip('/')} {exc.reason}" for source, exc in failed)
    hint = next((exc.hint for _, exc in failed if exc.hint), "")
    copy = f"Update addsr, or set {override(component)}=ORG/REPO to a copy that you trust."
    raise ModelUnavailable(
        f"{component.title} cannot be fetched: {reasons}.",
        hint or (copy if component.movable else "Check the name."),
    ) from failed[-1][1]


def _demand_network(component: Component, offline: bool | None) -> None:
    if offline is None:
        offline = any(
            os.environ.get(name, "").upper() in TRUE
            for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
        )
    if offline and sources(component):  # what has none is not to be had online either
        raise ModelUnavailable(
            f"{component.title} is not complete on this computer, and offline mode is on.",
            "Unset HF_HUB_OFFLINE and TRANSFORMERS_OFFLINE to fetch it.",
        )


@contextmanager
def _local(component: Component) -> Iterator[None]:
    """What goes wrong with files inside, as one of our errors."""
    try:
        yield
    except OSError as exc:
        raise write_error(
            f"{exc.filename or folder(component.name)} ({component.title})",
            exc,
            f"Free some space, or set ADDSR_HOME to another folder. {AGAIN}",
        ) from exc

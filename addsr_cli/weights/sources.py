"""A component's weights on this computer: downloaded from the first source that serves them.

``fetch`` returns the folder, ``request_manifest`` says beforehand what that would take, and
``find_cached`` looks without the network. ``ADDSR_<COMPONENT>_REPO`` (ORG/REPO or
ORG/REPO@REVISION) replaces a component's sources; digests of confidence A and B hold for it too.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from addsr_cli.errors import ModelUnavailable, UsageError
from addsr_cli.files import write_error
from addsr_cli.models.component import Component, Source
from addsr_cli.weights import cache
from addsr_cli.weights.cache import Record, component_folder
from addsr_cli.weights.component_download import ComponentDownload
from addsr_cli.weights.manifest import (
    Manifest,
    build_manifest,
    manifest_of_cached,
    request_files,
    usable_files,
)
from addsr_cli.weights.progress import ProgressCallback
from addsr_cli.weights.remote import RESUME_HINT, Access, RemoteFile, SourceFailed

T = TypeVar("T")
OVERRIDE = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?")
TRUE = ("1", "ON", "YES", "TRUE")


def override_variable(component: Component) -> str:
    """Return the name of the environment variable that replaces a component's sources."""
    return f"ADDSR_{component.name.removeprefix('addsr-').upper().replace('-', '_')}_REPO"


def sources_of(component: Component) -> tuple[Source, ...]:
    """Return the sources of a component in order. Raises UsageError for an invalid override."""
    value = os.environ.get(override_variable(component)) if component.overridable else None
    if not value:
        return component.sources
    match = OVERRIDE.fullmatch(value)
    if not match:
        raise UsageError(
            f"{override_variable(component)} must be ORG/REPO or ORG/REPO@REVISION, not {value!r}."
        )
    return (
        Source(
            repo=match["repo"],
            revision=match["revision"] or "main",
        ),
    )


def find_cached(component: Component) -> Path | None:
    """Return the component's folder if every file is there and unchanged, without the network.

    Sizes and times are compared with the record; a file whose time changed is hashed again.
    """
    cache.check_names(component)
    return cache.find_cached(component, sources_of(component))


def origin(component: Component) -> dict[str, object]:
    """Return where the cached files came from: repository or file, commit, digests by path."""
    record = Record.read(component.name)
    digests = {path: entry.sha256 for path, entry in record.files.items()}
    return {
        "repo": record.repo,
        "revision": record.revision,
        "licence": component.licence,
        "files": digests,
    }


def notes(component: Component) -> tuple[str, ...]:
    """Return sentences about odd files, such as a digest that differs from an unsure one."""
    return tuple(entry.note for entry in Record.read(component.name).files.values() if entry.note)


def request_manifest(
    component: Component,
    *,
    offline: bool | None = None,
    endpoint: str | None = None,
    token: str | None = None,
) -> Manifest:
    """Return what a download would do; no request is sent for a complete component.

    The options are those of ``fetch``. Raises ModelUnavailable.
    """
    if find_cached(component):
        return manifest_of_cached(component)
    _require_online(component, offline)
    access = Access(endpoint=endpoint, token=token)

    def request(source: Source) -> Manifest:
        remote_files = request_files(component, source, access)
        usable = usable_files(component, remote_files)
        return build_manifest(component, source, remote_files, usable)

    with _translated_file_errors(component):
        return _from_first_source(
            component,
            sources_of(component),
            access,
            request,
        )


def fetch(
    component: Component,
    *,
    manifest: Manifest | None = None,
    on_progress: ProgressCallback | None = None,
    offline: bool | None = None,
    endpoint: str | None = None,
    token: str | None = None,
) -> Path:
    """Return the component's folder with every file checked; downloads resume where they stopped.

    No request is sent for a complete component. ``manifest`` is the recent result of
    ``request_manifest``: its source comes first and is not asked for metadata again. ``offline``
    None stands for HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE; ``endpoint`` and ``token`` None stand
    for the Hub's own settings. A second process waits for the first. Raises ModelUnavailable when
    no source serves it, OutputRefused when it cannot be stored, and UsageError.
    """
    folder = find_cached(component)
    if folder:
        return folder
    _require_online(component, offline)
    access = Access(endpoint=endpoint, token=token)
    known: dict[Source, tuple[RemoteFile, ...]] = {}
    if manifest and manifest.remote_files:
        known[manifest.source] = manifest.remote_files

    def download(source: Source) -> Path:
        remote_files = known.get(source) or request_files(component, source, access)
        return ComponentDownload(
            component,
            source,
            remote_files,
            access,
            on_progress,
        ).run()

    with _translated_file_errors(component), cache.locked_folder(component.name):
        folder = find_cached(component)  # another process may have downloaded it meanwhile
        if folder:
            return folder
        candidates = dict.fromkeys((*known, *sources_of(component)))
        return _from_first_source(component, candidates, access, download)


def _from_first_source(
    component: Component,
    candidates: Iterable[Source],
    access: Access,
    attempt: Callable[[Source], T],
) -> T:
    """Return the result of the first source that can serve.

    Raises ModelUnavailable, naming every source and its reason.
    """
    failures: list[tuple[Source, SourceFailed]] = []
    unreachable: set[str] = set()
    for source in candidates:
        if access.host(source) in unreachable:
            continue
        try:
            return attempt(source)
        except SourceFailed as exc:
            failures.append((source, exc))
            if exc.unreachable:
                unreachable.add(access.host(source))
    if not failures:
        raise ModelUnavailable(
            f"{component.title} has no public source.",
            f"Import it, or set {override_variable(component)}=ORG/REPO.",
        )
    raise _all_failed(component, failures) from failures[-1][1]


def _all_failed(
    component: Component,
    failures: list[tuple[Source, SourceFailed]],
) -> ModelUnavailable:
    reasons = "; ".join(f"{source.repo.rstrip('/')} {exc.reason}" for source, exc in failures)
    hints = [exc.hint for _, exc in failures if exc.hint]
    if component.overridable:
        variable = override_variable(component)
        hints.append(f"Update addsr, or set {variable}=ORG/REPO to a copy that you trust.")
    else:
        hints.append("Check the name.")
    return ModelUnavailable(f"{component.title} cannot be downloaded: {reasons}.", hints[0])


def _require_online(component: Component, offline: bool | None) -> None:
    """Raise ModelUnavailable in offline mode, unless the component has no source anyway."""
    if offline is None:
        variables = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
        offline = any(os.environ.get(name, "").upper() in TRUE for name in variables)
    if offline and sources_of(component):
        raise ModelUnavailable(
            f"{component.title} is not complete on this computer, and offline mode is on.",
            "Unset HF_HUB_OFFLINE and TRANSFORMERS_OFFLINE to download it.",
        )


@contextmanager
def _translated_file_errors(component: Component) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise write_error(
            f"{exc.filename or component_folder(component.name)} ({component.title})",
            exc,
            f"Free some space, or set ADDSR_HOME to another folder. {RESUME_HINT}",
        ) from exc

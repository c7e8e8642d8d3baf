"""From a model's name to a converted bundle on this computer: download, convert, put together."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError

from addsr_cli.files import link_or_copy, write_error
from addsr_cli.models.component import Component
from addsr_cli.models.published import Downloads
from addsr_cli.models.seesr.published import STUDENT
from addsr_cli.weights import cache, google_drive, installed, sources
from addsr_cli.weights.components import MODEL_COMPONENTS, PUBLISHED
from addsr_cli.weights.download_plan import PlannedComponent, components_of, plan_download
from addsr_cli.weights.progress import ProgressCallback

MessageCallback = Callable[[str], None]


def install(
    name: str,
    *,
    student: Path | None = None,
    plan: tuple[PlannedComponent, ...] | None = None,
    dtype: torch.dtype = torch.float16,
    on_progress: ProgressCallback | None = None,
    on_message: MessageCallback = lambda _: None,
) -> Path:
    """Return the bundle folder of a model that addsr has a recipe for, or of ORG/REPO.

    Downloads and converts what is missing. ``student`` is the authors' archive or folder with UNet
    and ControlNet; ``plan`` is the recent result of ``plan_download``. A second process waits for
    the first. Raises ModelUnavailable, OutputRefused and UsageError; nothing unfinished becomes
    visible.
    """
    folder = installed.find_installed(name)
    if folder:
        return folder
    with _installation_folder(name, on_message) as scratch:
        folder = installed.find_installed(name)  # another process may have installed it meanwhile
        if folder:
            return folder
        if "/" in name:
            planned = (plan or plan_download(name))[0]
            return _install_from_hub(planned, scratch, on_progress, on_message)
        components = list(components_of(name, networks_imported=student is not None))
        if STUDENT in components and not sources.sources_of(STUDENT):
            student = google_drive.download_student(on_message, on_progress)
            components.remove(STUDENT)
        folders = _fetch(components, plan or (), on_progress, on_message)
        on_message("converting")
        downloads = Downloads(
            name=name,
            components=MODEL_COMPONENTS[name],
            folders=folders,
            output=installed.model_folder(name),
            scratch=scratch,
            dtype=dtype,
            origins=_origins(name, folders, student),
            digests=_recorded_digests(folders),
            own_networks=student,
            find_component=sources.find_cached,
            find_model=installed.find_installed,
            on_message=on_message,
        )
        PUBLISHED[name].convert(downloads)
    return installed.model_folder(name)


def _fetch(
    components: Iterable[Component],
    plan: Iterable[PlannedComponent],
    on_progress: ProgressCallback | None,
    on_message: MessageCallback,
) -> dict[str, Path]:
    """Download what is missing; returns the folder of every component, by its name."""
    manifests = {each.component.name: each.manifest for each in plan}
    folders = {}
    for component in components:
        notice = f"{component.title} ({component.licence}). {component.notice}"
        on_message(notice.rstrip(". ") + ".")
        folders[component.name] = sources.fetch(
            component,
            manifest=manifests.get(component.name),
            on_progress=on_progress,
        )
        for note in sources.notes(component):
            on_message(f"warning: {note}")
    return folders


def _origins(
    name: str,
    folders: Mapping[str, Path],
    student: Path | None,
) -> dict[str, object]:
    """Return where every component of a model came from, by its name."""
    origins: dict[str, object] = {
        component.name: sources.origin(component)
        for component in MODEL_COMPONENTS[name]
        if component.name in folders
    }
    networks = PUBLISHED[name].networks
    if student is not None and networks is not None:
        origins[networks.name] = {"repo": student.name}  # no path: push publishes the record
    return origins


def _recorded_digests(folders: Mapping[str, Path]) -> dict[Path, str]:
    """Return the sha256 of every downloaded file, as recorded when it arrived."""
    digests = {}
    for name, folder in folders.items():
        for path, entry in cache.Record.read(name).files.items():
            digests[folder / path] = entry.sha256
    return digests


def _install_from_hub(
    planned: PlannedComponent,
    scratch: Path,
    on_progress: ProgressCallback | None,
    on_message: MessageCallback,
) -> Path:
    """Install a complete bundle from a Hub repository, in the layout that ``push`` writes."""
    component = planned.component
    on_message(f"{component.title} ({component.licence}).")
    folder = sources.fetch(
        component,
        manifest=planned.manifest,
        on_progress=on_progress,
    )
    for file in component.files:
        target = scratch / "bundle" / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        link_or_copy(folder / file.path, target)
    output = installed.model_folder(component.title)
    (scratch / "bundle").rename(output)
    cache.remove(component)
    return output


@contextmanager
def _installation_folder(name: str, on_message: MessageCallback) -> Iterator[Path]:
    """Yield a temporary folder, locked against other processes. Raises OutputRefused."""

    def on_wait() -> None:
        on_message(f"another addsr is installing {name}; waiting for it")

    try:
        with installed.installation_folder(name, on_wait) as scratch:
            yield scratch
    except (OSError, SafetensorError) as exc:
        hint = "Free some space, or set ADDSR_HOME to another folder."
        raise write_error(installed.model_folder(name), exc, hint) from exc

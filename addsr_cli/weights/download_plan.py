"""What installing a model would download, and which downloads it no longer needs.

Does not import torch.
"""

from dataclasses import dataclass

from addsr_cli.errors import ModelUnavailable, UsageError
from addsr_cli.models.bundle import RECORD, Bundle
from addsr_cli.models.component import Component, FileSpec, Source
from addsr_cli.weights import cache, installed, sources
from addsr_cli.weights.cache import Record
from addsr_cli.weights.components import MODEL_COMPONENTS, PUBLISHED
from addsr_cli.weights.manifest import Manifest

GOOGLE_DRIVE_URL = "https://drive.google.com/uc?id=19IB8vIdYeF65ixIvwIjZzPPuVka4sjec"


@dataclass(frozen=True, kw_only=True)
class PlannedComponent:
    """One component of a model: what its download would take, or why it is not possible."""

    component: Component
    manifest: Manifest | None
    problem: str = ""


def components_of(name: str, *, networks_imported: bool = False) -> tuple[Component, ...]:
    """Return the components of a model, without UNet and ControlNet if they are imported.

    Raises UsageError for a name that addsr has no recipe for.
    """
    if name not in MODEL_COMPONENTS:
        raise UsageError(
            f"There is no recipe for {name!r}.", f"Use {', '.join(MODEL_COMPONENTS)} or ORG/REPO."
        )
    networks = PUBLISHED[name].networks if networks_imported else None
    excluded = networks.name if networks else None
    return tuple(part for part in MODEL_COMPONENTS[name] if part.name != excluded)


def plan_download(name: str, *, networks_imported: bool = False) -> tuple[PlannedComponent, ...]:
    """Return what ``install`` would download; asks the sources for metadata only.

    For ORG/REPO the record is downloaded, which lists the files. Raises UsageError for a name
    without a recipe, and ModelUnavailable where ORG/REPO does not serve a bundle.
    """
    if "/" in name:
        component = hub_bundle(name)
        manifest = sources.request_manifest(component)
        return (PlannedComponent(component=component, manifest=manifest),)
    components = components_of(name, networks_imported=networks_imported)
    return tuple(_plan_component(component) for component in components)


def _plan_component(component: Component) -> PlannedComponent:
    try:
        manifest = sources.request_manifest(component)
    except ModelUnavailable as exc:
        return PlannedComponent(
            component=component,
            manifest=None,
            problem=f"{exc.message} {exc.hint}",
        )
    return PlannedComponent(component=component, manifest=manifest)


def hub_bundle(name: str) -> Component:
    """Return ORG/REPO, in the layout that ``push`` writes, as a component at its newest commit."""
    flat = installed.model_folder(name).name
    record = Component(
        name=f"{flat}-record",
        title=name,
        sources=(Source(repo=name),),
        files=(FileSpec(path=RECORD),),
        licence="see the model card",
        overridable=False,
    )
    folder = sources.fetch(record)
    bundle = Bundle.read(folder)
    downloaded = Record.read(record.name)
    cache.remove(record)  # so that the next call sees the next commit
    digests = ((RECORD, downloaded.files[RECORD].sha256), *bundle.files)
    return Component(
        name=flat,
        title=name,
        sources=(Source(repo=name, revision=downloaded.revision),),
        files=tuple(FileSpec(path=path, sha256=digest, confidence="A") for path, digest in digests),
        licence=bundle.licence,
        overridable=False,
    )


def downloaded_bytes(name: str) -> int:
    """Return the bytes of downloads that an installed model no longer needs."""
    folders = (cache.component_folder(component.name) for component in components_of(name))
    return sum(installed.folder_size(folder) for folder in folders if folder.is_dir())


def delete_downloads(name: str) -> int:
    """Delete the downloads of a model; returns the bytes freed."""
    return sum(cache.remove(component) for component in components_of(name))

"""What a model is made of: what fetching that would take, and what of it is no longer needed. Loads no torch."""

from dataclasses import dataclass

from addsr_cli.errors import ModelUnavailable, UsageError
from addsr_cli.models.bundle import RECORD, Bundle
from addsr_cli.weights import installed, sources
from addsr_cli.weights.cache import Record
from addsr_cli.weights.components import MADE_OF, SEESR, STUDENT, Component, FileSpec, Source

DRIVE = "https://drive.google.com/uc?id=19IB8vIdYeF65ixIvwIjZzPPuVka4sjec"
OWN = {"addsr": STUDENT.name, "seesr": SEESR.name}  # the component that a user may bring along


@dataclass(frozen=True, kw_only=True)
class Needed:
    """One component of a model: what fetching it would take, or why it cannot be fetched."""

    component: Component
    manifest: sources.Manifest | None
    problem: str = ""


def made_of(name: str, *, brought: bool = False) -> tuple[Component, ...]:
    """The components of a model with a recipe; without UNet and ControlNet where the user has ``brought`` them.

    Raises UsageError for any other name.
    """
    if name not in MADE_OF:
        raise UsageError(
            f"There is no recipe for {name!r}.", f"Use {', '.join(MADE_OF)} or ORG/REPO."
        )
    return tuple(part for part in MADE_OF[name] if not brought or part.name != OWN.get(name))


def needed(name: str, *, brought: bool = False) -> tuple[Needed, ...]:
    """What ``install`` would fetch, asking the sources for sizes only.

    Of ORG/REPO the record is fetched, which lists the files. Raises UsageError for a name without
    recipe, and ModelUnavailable where ORG/REPO does not serve a bundle.
    """
    if "/" in name:
        whole = bundle_on_the_hub(name)
        return (Needed(component=whole, manifest=sources.manifest(whole)),)
    found = []
    for component in made_of(name, brought=brought):
        try:
            found.append(Needed(component=component, manifest=sources.manifest(component)))
        except ModelUnavailable as exc:
            found.append(
                Needed(
                    component=component,
                    manifest=None,
                    problem=f"{exc.message} {exc.hint}",
                )
            )
    return tuple(found)


def bundle_on_the_hub(name: str) -> Component:
    """ORG/REPO in the layout that ``push`` writes, as a component at the commit that its record has now."""
    flat = installed.folder_of(name).name
    record = Component(
        name=f"{flat}-record",
        title=name,
        sources=(Source(repo=name),),
        files=(FileSpec(path=RECORD),),
        licence="see the model card",
        movable=False,
    )
    folder = sources.fetch(record)
    bundle, fetched = Bundle.read(folder), Record.read(record.name)
    sources.remove(record)  # so that the next call sees the next commit
    listed = ((RECORD, fetched.files[RECORD].sha256), *bundle.files)
    return Component(
        name=flat,
        title=name,
        sources=(Source(repo=name, revision=fetched.revision),),
        files=tuple(
            FileSpec(
                path=path,
                sha256=digest,
                confidence="A",
            )
            for path, digest in listed
        ),
        licence=bundle.licence,
        movable=False,
    )


def downloads(name: str) -> int:
    """Bytes of fetched originals that an installed model no longer needs."""
    return sum(
        installed.size(sources.folder(part.name))
        for part in made_of(name)
        if sources.folder(part.name).is_dir()
    )


def drop_downloads(name: str) -> int:
    """Delete those originals; returns the bytes freed."""
    return sum(sources.remove(part) for part in made_of(name))

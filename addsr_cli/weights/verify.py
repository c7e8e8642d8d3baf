"""Whether installed models, and the downloads they were made of, are intact."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from addsr_cli.errors import ModelUnavailable
from addsr_cli.models.bundle import RECORD
from addsr_cli.models.component import Component
from addsr_cli.models.registry import BUNDLED
from addsr_cli.weights import cache, installed, loader
from addsr_cli.weights.cache import Record
from addsr_cli.weights.components import COMPONENTS, MODEL_COMPONENTS
from addsr_cli.weights.progress import ProgressCallback

Condition = Literal["intact", "damaged", "incomplete"]


@dataclass(frozen=True, kw_only=True)
class Verification:
    """Result for one model or download; an unfinished download is ``incomplete``."""

    name: str
    kind: Literal["model", "download"]
    state: Condition
    problems: tuple[str, ...] = ()


def verify(
    name: str | None,
    on_progress: ProgressCallback | None = None,
) -> tuple[Verification, ...]:
    """Read every file of a model or component, and of a model's downloads.

    With ``name`` None, verify everything on this machine. Raises ModelUnavailable when there is
    nothing of that name.
    """
    if name is None:
        models = [*BUNDLED, *installed.list_installed()]
        return (
            *(_verify_model(model, on_progress) for model in models),
            *_verify_downloads(COMPONENTS.values(), on_progress),
        )
    components = MODEL_COMPONENTS.get(name, ())
    if name in COMPONENTS and not components:
        components = (COMPONENTS[name],)
    downloads = _verify_downloads(components, on_progress)
    if downloads and not installed.find_installed(name):
        return downloads
    return (_verify_model(name, on_progress), *downloads)


def _verify_model(name: str, on_progress: ProgressCallback | None) -> Verification:
    try:
        problems = _find_problems(loader.locate(name), on_progress)
    except ModelUnavailable as exc:  # there is none, or its record is damaged
        if not (loader.MODEL_NAME.fullmatch(name) and installed.find_installed(name)):
            raise
        problems = (exc.message,)
    return Verification(
        name=name,
        kind="model",
        state="damaged" if problems else "intact",
        problems=problems,
    )


def _find_problems(
    located: loader.Located,
    on_progress: ProgressCallback | None,
) -> tuple[str, ...]:
    """Return changed or missing files of a bundle; where there are none, unusable weights."""
    if (located.file.parent / RECORD).is_file():
        changed = installed.find_problems(located.file.parent, on_progress)
        if changed:
            return changed
    return located.architecture.problems(located.file)


def _verify_downloads(
    components: Iterable[Component],
    on_progress: ProgressCallback | None,
) -> tuple[Verification, ...]:
    """Verify the components of which something was downloaded."""
    return tuple(
        _verify_download(component, on_progress)
        for component in components
        if Record.read(component.name).files
    )


def _verify_download(
    component: Component,
    on_progress: ProgressCallback | None,
) -> Verification:
    damaged = []
    missing = []
    for status in cache.verify(component, on_progress):
        problem = f"{status.path} {status.problem}"
        if status.check is None:
            missing.append(problem)
        elif not status.ok:
            damaged.append(problem)
    state: Condition = "intact"
    if damaged:
        state = "damaged"
    elif missing:
        state = "incomplete"
    return Verification(
        name=component.name,
        kind="download",
        state=state,
        problems=(*damaged, *missing),
    )

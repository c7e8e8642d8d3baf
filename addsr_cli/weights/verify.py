"""Whether what lies here is still what it was: installed models, and the originals they were made of."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from addsr_cli.errors import ModelUnavailable
from addsr_cli.models.bundle import RECORD
from addsr_cli.models.registry import BUNDLED
from addsr_cli.weights import installed, loader, sources
from addsr_cli.weights.cache import Record
from addsr_cli.weights.components import COMPONENTS, MADE_OF, Component
from addsr_cli.weights.progress import ProgressCallback

State = Literal["intact", "damaged", "incomplete"]


@dataclass(frozen=True, kw_only=True)
class Checked:
    """One model or download: intact, damaged, or incomplete, which a download is that was never finished."""

    name: str
    kind: Literal["model", "download"]
    state: State
    problems: tuple[str, ...] = ()


def verify_all(name: str | None, report: ProgressCallback | None = None) -> tuple[Checked, ...]:
    """Read every file of a model and of the originals it was made of, or None: of everything that lies here.

    ``name`` may also be that of a component. Raises ModelUnavailable when nothing of that name lies
    here.
    """
    if name is None:
        models = [*BUNDLED, *installed.installed()]
        return (
            *(_model(each, report) for each in models),
            *_downloads(COMPONENTS.values(), report),
        )
    parts = MADE_OF.get(name) or ((COMPONENTS[name],) if name in COMPONENTS else ())
    downloads = _downloads(parts, report)
    if downloads and not installed.find_installed(name):
        return downloads
    return (_model(name, report), *downloads)


def _model(name: str, report: ProgressCallback | None) -> Checked:
    try:
        problems = _problems(loader.locate(name), report)
    except ModelUnavailable as exc:  # not here, or with a record that cannot be read
        if not (loader.MODEL_NAME.fullmatch(name) and installed.find_installed(name)):
            raise
        problems = (exc.message,)
    return Checked(
        name=name,
        kind="model",
        state="damaged" if problems else "intact",
        problems=problems,
    )


def _problems(located: loader.Located, report: ProgressCallback | None) -> tuple[str, ...]:
    """Return changed or missing files of a bundle; where there are none, unusable weights."""
    if located.file.name == RECORD:
        changed = installed.problems(located.file.parent, report)
        if changed:
            return changed
    return located.architecture.problems(located.file)


def _downloads(parts: Iterable[Component], report: ProgressCallback | None) -> tuple[Checked, ...]:
    """The components of which something was fetched."""
    return tuple(_download(part, report) for part in parts if Record.read(part.name).files)


def _download(part: Component, report: ProgressCallback | None) -> Checked:
    states = sources.verify(part, report)
    known = [state for state in states if state.check is not None]
    damaged = tuple(f"{state.path} {state.problem}" for state in known if not state.ok)
    missing = tuple(f"{state.path} {state.problem}" for state in states if state.check is None)
    state: State = "damaged" if damaged else "incomplete" if missing else "intact"
    return Checked(
        name=part.name,
        kind="download",
        state=state,
        problems=damaged + missing,
    )

"""What a component of weights is: files with their sources, digests and licence, as data.

Confidence of a digest: **A** means that three independent sources or a stored page of the Hub
agree, **B** one or two, **C** that it was inferred. A digest of A or B must match; one of C only
warns. ``scripts/refresh_registry.py`` asks the Hub again.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Kind = Literal["model", "space", "url", "file"]
Confidence = Literal["A", "B", "C", ""]


@dataclass(frozen=True, kw_only=True)
class Source:
    """One place that serves a component.

    ``repo`` is ORG/REPO on the Hub (a model or a space), for ``url`` an address that file paths
    are appended to, for ``file`` the name of a file that the user imported. ``revision`` is a
    40-hex commit, or a branch where none is known; ``prefix`` the folder inside, ending in a slash.
    """

    repo: str
    revision: str = "main"
    prefix: str = ""
    kind: Kind = "model"


@dataclass(frozen=True, kw_only=True)
class FileSpec:
    """One file: its path below the source's prefix; size in bytes and SHA-256 where known.

    ``approximate_size`` is read off a page or estimated, to be shown before a source is asked.
    """

    path: str
    size: int | None = None
    approximate_size: int | None = None
    sha256: str | None = None
    confidence: Confidence = ""

    @property
    def digest_is_binding(self) -> bool:
        """Whether a file with another digest is refused."""
        return self.sha256 is not None and self.confidence in ("A", "B")


@dataclass(frozen=True, kw_only=True)
class Component:
    """Files that are downloaded together, with sources in order of preference and their licence.

    ``notice`` is shown to the user. With ``overridable``, ``ADDSR_<COMPONENT>_REPO`` replaces the
    sources. With ``importable``, ``addsr models import`` recognises the user's copies of its files
    by name and digest.
    """

    name: str
    title: str
    sources: tuple[Source, ...]
    files: tuple[FileSpec, ...]
    licence: str
    notice: str = ""
    overridable: bool = True
    importable: bool = False


def licences(components: Iterable[Component]) -> str:
    """Return the licences of several components, each named once."""
    return "; ".join(dict.fromkeys(component.licence for component in components))

"""Models that others publish: what to download, and how that becomes a model of addsr.

An architecture lists its own in its record. ``weights`` downloads the components and calls
``convert``; it knows nothing of what is in the files.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from addsr_cli.models.component import Component, licences

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class Downloads:
    """The downloaded components of one model, and where its conversion goes.

    ``folders`` and ``origins`` (for the record) are by the name of a component. ``own_networks`` is
    the user's folder or archive that stands for ``PublishedModel.networks``. ``digests`` are the
    sha256 of downloaded files. ``output`` must not exist yet; ``scratch`` exists and is removed
    later. ``dtype`` is that of the weights to write. ``find_component`` and ``find_model`` return
    the folder of anything else on this computer, or None.
    """

    name: str
    components: tuple[Component, ...]
    folders: Mapping[str, Path]
    output: Path
    scratch: Path
    dtype: "torch.dtype"
    origins: Mapping[str, object] = field(default_factory=dict)
    digests: Mapping[Path, str] = field(default_factory=dict)
    own_networks: Path | None = None
    find_component: Callable[[Component], Path | None] = lambda _: None
    find_model: Callable[[str], Path | None] = lambda _: None
    on_message: Callable[[str], None] = lambda _: None

    def file(self, component: Component, number: int = 0) -> Path:
        """Return a downloaded file of a component, by default the first."""
        return self.folders[component.name] / component.files[number].path

    @property
    def licence(self) -> str:
        """The licences of all components."""
        return licences(self.components)


@dataclass(frozen=True, kw_only=True)
class PublishedModel:
    """A model that ``--model NAME`` downloads and converts.

    ``convert`` writes a bundle to ``Downloads.output``, which appears only when it is complete;
    raises ModelUnavailable and OutputRefused. ``networks`` is the component that a folder or
    archive of the user's may replace, ``scale`` the factor of a network that answers in one pass.
    """

    name: str
    components: tuple[Component, ...]
    convert: Callable[[Downloads], None]
    networks: Component | None = None
    scale: int | None = None

    @property
    def licence(self) -> str:
        """The licences of all components."""
        return licences(self.components)

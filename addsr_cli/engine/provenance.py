"""``Provenance``: all that a result was made from, as one JSON text that is embedded in its file.

It names the photo and a mask by the digests of their pixels and the model by that of its weights,
and holds every option by the name that configuration files use. No path is in it.
"""

import json
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from addsr_cli import imageio
from addsr_cli.engine.plan import Plan
from addsr_cli.errors import UsageError
from addsr_cli.imageio import Photo, WriteOptions
from addsr_cli.options import annotated_fields, option_of
from addsr_cli.settings import NATIVE_SCALE, Machine, Settings
from addsr_cli.version import __version__

KEY = "addsr"  # of the embedded text
_WRITE_OPTIONS = ("quality", "lossless", "bit_depth", "dpi", "frames")


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """How a result was made: ``options`` by name, digests hexadecimal, ``addsr`` the version.

    ``mask_sha256`` is that of the picture that ``protect`` named, empty where it named none.
    """

    addsr: str
    model: str
    model_sha256: str
    input_sha256: str
    options: dict[str, Any]
    mask_sha256: str = ""

    @property
    def text(self) -> str:
        """The origin as JSON, without spaces and what is empty, its keys in a fixed order."""
        fields = {name: value for name, value in asdict(self).items() if value != ""}
        return json.dumps(fields, separators=(",", ":"), sort_keys=True)

    def for_file(self, options: WriteOptions) -> "Provenance":
        """Return the origin with the options that a file is encoded with."""
        written = {name: getattr(options, name) for name in _WRITE_OPTIONS}
        written["format"] = options.format.lower() if options.format else None
        present = {name: value for name, value in written.items() if value is not None}
        return replace(self, options=self.options | present)

    @property
    def settings(self) -> Settings:
        """What was asked of the picture. Raises UsageError for an option of another version."""
        return _from_options(Settings, self.options)

    @property
    def machine(self) -> Machine:
        """Precision and tiles, where the picture depends on them."""
        return _from_options(Machine, self.options)

    @property
    def write_options(self) -> WriteOptions:
        """How the file was encoded. Raises UsageError for an option of another version."""
        names = (*_WRITE_OPTIONS, "format")
        return WriteOptions(**{name: self.options[name] for name in names if name in self.options})


def provenance_of(
    photo: Photo,
    settings: Settings,
    plan: Plan,
    model: tuple[str, str],
    steps: int,
    mask_sha256: str = "",
) -> Provenance:
    """Return how a result of ``photo`` was made.

    ``model`` is the name and the sha256 of the weights; ``steps`` are those that were run, 0 for a
    network that answers in one pass; ``mask_sha256`` is that of a mask's pixels.
    """
    options = _to_options(settings)
    if not settings.asks_for_size:
        options["scale"] = float(NATIVE_SCALE)
    if not settings.protected_kinds:  # a mask is a file, whose path stays here
        options.pop("protect", None)
    if steps:
        options["steps"] = steps
    options["precision"] = plan.dtype
    # Only then does the picture depend on the tiles; official ones follow from the settings.
    if plan.halo is None and plan.tile and not plan.official:
        options |= {"tile": plan.tile, "overlap": plan.overlap}
    return Provenance(
        addsr=__version__,
        model=model[0],
        model_sha256=model[1],
        input_sha256=digest_of(photo),
        options=options,
        mask_sha256=mask_sha256,
    )


def read_provenance(source: Path | bytes) -> Provenance:
    """Return the origin in a file that addsr wrote.

    Raises UnreadableInput for no picture, and UsageError when there is no origin in it.
    """
    text = imageio.read_settings(source).get(KEY)
    name = str(source) if isinstance(source, Path) else "The picture"
    if text is None:
        raise UsageError(
            f"{name} contains no settings of addsr.",
            "Take a file that addsr upscaled, not resized only, GIF, or with --no-metadata.",
        )
    try:
        origin = Provenance(**json.loads(text))
        _check(origin)
    except (TypeError, ValueError) as exc:
        raise UsageError(f"The settings in {name} are damaged.", "Take another file.") from exc
    return origin


def digest_of(photo: Photo) -> str:
    """Return the sha256 of a photo's pixels, upright as decoded, hexadecimal.

    Shape and depth count, metadata do not; it is that of the first frame of an animation.
    """
    samples = photo.samples
    digest = sha256(f"{samples.dtype} {samples.shape}".encode())
    digest.update(np.ascontiguousarray(samples).data)
    return digest.hexdigest()


def _check(origin: Provenance) -> None:
    texts = (
        origin.addsr,
        origin.model,
        origin.model_sha256,
        origin.input_sha256,
        origin.mask_sha256,
    )
    if not all(isinstance(text, str) for text in texts) or not isinstance(origin.options, dict):
        raise ValueError("not a origin")


def _to_options(settings: Settings) -> dict[str, Any]:
    """Return the values that are set, by the names of their options."""
    options: dict[str, Any] = {}
    for field, annotation in annotated_fields(Settings):
        option = option_of(annotation)
        value = getattr(settings, field.name)
        if option is not None and value is not None:
            options[option.name(field.name)] = value
    return options


def _from_options(kind: Any, options: dict[str, Any]) -> Any:  # noqa: ANN401 (a dataclass)
    values = {}
    for field, annotation in annotated_fields(kind):
        option = option_of(annotation)
        if option is not None and option.name(field.name) in options:
            values[field.name] = options[option.name(field.name)]
    try:
        return kind(**values)
    except TypeError as exc:
        raise UsageError(
            "The embedded settings come from another version of addsr.",
            "Use the version that the file names.",
        ) from exc

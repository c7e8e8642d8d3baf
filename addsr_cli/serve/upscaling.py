"""The models of the page, and the work on one photo; everything here runs in the queue's thread."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from addsr_cli import imageio
from addsr_cli.engine.job import Job
from addsr_cli.engine.progress import OnProgress
from addsr_cli.engine.result import Result
from addsr_cli.engine.trust import Trust, measure_trust
from addsr_cli.engine.upscaler import Upscaler
from addsr_cli.errors import ModelUnavailable, UsageError
from addsr_cli.imageio import AnimatedPhoto, Photo
from addsr_cli.models.registry import BUNDLED
from addsr_cli.serve.choices import Choices
from addsr_cli.settings import Machine
from addsr_cli.weights import installed

MAX_CROP_PIXELS = 1024 * 1024
CROP_MARGIN = 16  # pixels of the photo around a crop, which the network sees but the page does not


class Models(Mapping[str, Upscaler]):
    """The `Upscaler` of every model that is offered; at most one has its weights in memory."""

    def __init__(self, default: str, machine: Machine) -> None:
        """Offer ``default``, the bundled models and the installed ones. Raises ModelUnavailable."""
        first = Upscaler(default, machine)
        self.default = first.spec.name if default == "auto" else default
        self._upscalers = {self.default: first}
        self._loaded = ""
        for name in [*BUNDLED, *installed.list_installed()]:
            if name not in self._upscalers:
                with suppress(ModelUnavailable):  # `addsr models verify` reports damage
                    self._upscalers[name] = Upscaler(name, machine)

    def __getitem__(self, name: str) -> Upscaler:
        return self._upscalers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._upscalers)

    def __len__(self) -> int:
        return len(self._upscalers)

    def take(self, name: str) -> Upscaler:
        """Return a model to run now; frees the weights of the one before, if it is another."""
        if self._loaded not in ("", name):
            self[self._loaded].model.unload()
        self._loaded = name
        return self[name]

    def records(self) -> list[dict[str, Any]]:
        """Return what the page shows of every model."""
        records = []
        for name, upscaler in self.items():
            spec = upscaler.spec
            records.append(
                {
                    "name": name,
                    "title": spec.title,
                    "parameters": spec.footprint.parameters,
                    "steps": spec.default_steps,
                    "reads_text": spec.reads_text,
                    "one_pass": spec.native_scale is not None,
                }
            )
        return records


def upscale_photo(job: Job, upscaler: Upscaler, on_progress: OnProgress) -> Result:
    """Upscale and write one photo, as ``addsr upscale`` does, and return the result.

    Raises the errors of `Upscaler.upscale` and `imageio.write`.
    """
    if job.output is None:
        raise UsageError("The page writes files only.")
    upscaler.plan(*job.header.size, job.settings)  # refuses what does not fit before decoding it
    photo = imageio.read(job.source)
    result = upscaler.upscale(photo, job.settings, on_progress)
    notes, texts = list(result.warnings), result.provenance(job.options)
    imageio.write(result.photo, job.output, job.options, texts, warn=notes.append)
    return replace(result, warnings=tuple(notes), trust=_trust(result, photo))


def _trust(result: Result, photo: Photo) -> Trust | None:
    """Return what a result invented; None for animations and for photos that were made smaller."""
    if result.plan is None or isinstance(photo, AnimatedPhoto):
        return None
    return measure_trust(result.photo.colour, imageio.fill_transparent(photo))


@dataclass(frozen=True, kw_only=True)
class Crop:
    """A part of a photo, in its pixels. Raises UsageError for a part that is no picture."""

    left: int
    top: int
    width: int
    height: int

    def __post_init__(self) -> None:
        sides = (self.left, self.top, self.width, self.height)
        if any(isinstance(side, bool) or not isinstance(side, int) for side in sides):
            raise UsageError("The sides of the crop are not whole numbers.")
        if min(self.left, self.top) < 0 or min(self.width, self.height) < 1:
            raise UsageError("The crop lies outside of the photo.")
        if self.width * self.height > MAX_CROP_PIXELS:
            raise UsageError("The crop is too large for a preview.")

    def check_within(self, width: int, height: int) -> None:
        """Raise UsageError unless the crop lies within a photo of this size."""
        if self.left + self.width > width or self.top + self.height > height:
            raise UsageError("The crop lies outside of the photo.")

    def of(self, photo: Photo, margin: int = 0) -> Photo:
        """Return this part of a photo, with up to ``margin`` pixels more on each side."""
        top = max(0, self.top - margin)
        left = max(0, self.left - margin)
        bottom = min(photo.height, self.top + self.height + margin)
        right = min(photo.width, self.left + self.width + margin)
        return imageio.crop(photo, (left, top, right, bottom))


def upscale_crop(
    photo: Photo,
    crop: Crop,
    choices: Choices,
    upscaler: Upscaler,
    on_progress: OnProgress,
) -> tuple[Photo, Photo]:
    """Return a part of a photo before and after, as it will look in the whole result.

    Raises UsageError for a crop outside of the photo, and the errors of `Upscaler.upscale`.
    """
    crop.check_within(*photo.size)
    factor = choices.settings.output_size(*photo.size)[0] / photo.width
    settings = replace(choices.settings, scale=factor, longest=None)
    surroundings = crop.of(photo, CROP_MARGIN)
    upscaled = upscaler.upscale(surroundings, settings, on_progress).photo
    width, height = settings.output_size(crop.width, crop.height)
    inner = Crop(
        left=round(min(crop.left, CROP_MARGIN) * factor),
        top=round(min(crop.top, CROP_MARGIN) * factor),
        width=min(width, upscaled.width),
        height=min(height, upscaled.height),
    )
    return crop.of(photo), inner.of(upscaled)

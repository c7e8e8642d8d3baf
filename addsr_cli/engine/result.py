"""The result of one upscale: the photo, and how it was made."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from addsr_cli import hardware, imageio
from addsr_cli.detection import Area
from addsr_cli.engine.auto_settings import Decision
from addsr_cli.engine.drift import Drift
from addsr_cli.engine.plan import Plan
from addsr_cli.engine.progress import StageTimer
from addsr_cli.engine.provenance import KEY, Provenance
from addsr_cli.engine.trust import Trust
from addsr_cli.imageio import Photo, WriteOptions
from addsr_cli.imageio.photo import Samples
from addsr_cli.settings import Settings
from addsr_cli.version import __version__


@dataclass(frozen=True, kw_only=True, repr=False)
class Result:
    """An upscaled photo and how it was made.

    ``seconds`` are by stage, ``peak_memory`` is in bytes. A photo that was made smaller went
    through no network: its ``plan`` is None, ``steps`` 0 and ``model`` empty. ``steps`` is also 0
    for a network that answers in one pass. ``fidelity`` is that of a decoder that reads the canvas,
    None for other models. ``drift`` is None where it was not bounded;
    ``written_drift`` is that of the file, measured where its format is lossy. ``trust`` is None
    unless ``Settings.trust_map`` asked for it, ``origin`` where there was no network. ``protected``
    are the areas that were detected for ``--protect``. ``decision`` is None unless settings were
    ``auto``; ``settings`` hold what was decided.
    """

    photo: Photo
    plan: Plan | None
    settings: Settings
    model: str
    model_sha256: str
    steps: int
    seconds: dict[str, float]
    peak_memory: int
    tags: str = ""
    prompt: str = ""
    fidelity: float | None = None
    drift: Drift | None = None
    written_drift: Drift | None = None
    protected: tuple[Area, ...] = ()
    origin: Provenance | None = None
    trust: Trust | None = None
    decision: Decision | None = None
    warnings: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Return one short line."""
        size = f"{self.photo.width}x{self.photo.height}"
        method = "resized"
        if self.plan:
            method = f"{self.model}, one pass"
            if self.steps:
                method = f"{self.model}, steps={self.steps}, seed={self.settings.seed}"
        return f"<Result {size}, {method}, {sum(self.seconds.values()):.1f} s>"

    @property
    def image(self) -> Image.Image:
        """The photo as an 8-bit Pillow image, with its colour profile and EXIF."""
        return self.photo.to_pil()

    def provenance(self, options: WriteOptions | None = None) -> dict[str, str]:
        """Return the texts to embed in a file of these options; empty without a network."""
        if self.plan is None:
            return {}
        settings = self.settings
        choices: dict[str, object] = {"model": self.model, "model_sha256": self.model_sha256}
        if self.steps:
            choices |= {
                "steps": self.steps,
                "seed": settings.seed,
                "psr": settings.effective_psr,
                "start": settings.start,
                "color": settings.effective_color,
            }
        choices["blend"] = settings.blend(self.steps)
        if self.plan.halo is None:  # only then does the picture depend on the tiles
            choices["tile"] = self.plan.tile or "none"
            choices["overlap"] = self.plan.overlap if self.plan.tile else 0
        if self.plan.official:
            choices["tiles"] = "official"
        if self.fidelity is not None:
            choices["fidelity"] = self.fidelity
        if self.drift is not None:
            choices["max_drift"] = settings.max_drift
            choices["drift_mean"] = f"{self.drift.mean:.3f}"
            choices["drift_p999"] = f"{self.drift.p999:.3f}"
        if self.trust is not None:
            choices["invented_detail"] = f"{100 * self.trust.invented:.1f}%"
        if self.prompt:
            choices["prompt"] = self.prompt
        text = ", ".join(f"{name}={value}" for name, value in choices.items())
        texts = {"Software": f"addsr {__version__}", "Comment": f"AI-upscaled with addsr: {text}"}
        if self.origin is not None:
            texts[KEY] = self.origin.for_file(options or WriteOptions()).text
        return texts

    def save(self, path: str | Path, options: WriteOptions | None = None) -> Path:
        """Write the photo atomically and return its path; the suffix names the format.

        Raises OutputRefused, also when the file exists.
        """
        options = options or WriteOptions()
        imageio.write(
            self.photo,
            Path(path),
            options,
            self.provenance(options),
        )
        return Path(path)


def empty_samples(
    size: tuple[int, int],
    channels: int,
    bit_depth: int,
) -> Samples:
    """Return memory for a picture: (height, width, channels), uint8 or uint16.

    ``size`` is (width, height), ``bit_depth`` 8 or 16.
    """
    dtype = np.uint8 if bit_depth == 8 else np.uint16
    return np.empty((size[1], size[0], channels), dtype)


def with_samples(photo: Photo, samples: Samples) -> Photo:
    """Return ``photo`` with new samples, whose alpha, if there is any, is resized from its own."""
    if photo.has_alpha:
        imageio.resize_into(photo.samples[:, :, -1:], samples[:, :, -1:])
    return replace(photo, samples=samples, jpeg_table=None)


def resize_only(
    photo: Photo,
    settings: Settings,
    timer: StageTimer,
) -> Result:
    """Make a photo smaller by bicubic resizing, without a network."""
    size = settings.output_size(photo.width, photo.height)
    with timer.stage("finish"):
        resized = imageio.resize_photo(photo, size)
    note = (
        f"{size[0]}x{size[1]} is smaller than the photo, so it was only resized, without the model"
    )
    return Result(
        photo=resized,
        plan=None,
        settings=settings,
        model="",
        model_sha256="",
        steps=0,
        seconds=dict(timer.seconds),
        peak_memory=hardware.peak_bytes("cpu"),
        warnings=(*photo.warnings, note),
    )

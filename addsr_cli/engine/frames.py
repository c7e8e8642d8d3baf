"""An animation, frame by frame: the same noise in every frame, so that nothing flickers."""

from dataclasses import replace
from typing import Protocol

from addsr_cli import hardware
from addsr_cli.engine.drift import worst_drift
from addsr_cli.engine.progress import OnProgress, part_of
from addsr_cli.engine.result import Result
from addsr_cli.engine.trust import worst_trust
from addsr_cli.errors import OutOfMemory
from addsr_cli.imageio import AnimatedPhoto, Photo


class Upscale(Protocol):
    """A function that upscales one frame."""

    def __call__(self, image: Photo, *, on_progress: OnProgress | None) -> Result:
        """Return the upscaled frame."""


_BYTES_PER_SAMPLE = 4  # float32


def upscale_frames(
    photo: AnimatedPhoto,
    size: tuple[int, int],
    upscale: Upscale,
    on_progress: OnProgress | None = None,
) -> Result:
    """Return the result of all frames; ``size`` is the output (width, height) of the first.

    The result's warnings are those of any frame, its seconds are sums, its drift and trust are
    the worst. Raises OutOfMemory when the upscaled frames do not fit into memory, and what
    ``upscale`` raises.
    """
    frames = photo.frames
    _check_memory(photo, len(frames), size)
    results: list[Result] = []
    for number, frame in enumerate(frames):
        results.append(upscale(frame, on_progress=part_of(on_progress, number, len(frames))))
    seconds: dict[str, float] = {}
    for result in results:
        for stage, duration in result.seconds.items():
            seconds[stage] = seconds.get(stage, 0.0) + duration
    return replace(
        results[0],
        photo=photo.with_frames([result.photo for result in results]),
        drift=worst_drift([result.drift for result in results]),
        trust=worst_trust([result.trust for result in results]),
        seconds=seconds,
        peak_memory=max(result.peak_memory for result in results),
        warnings=tuple(dict.fromkeys(note for result in results for note in result.warnings)),
    )


def _check_memory(
    photo: AnimatedPhoto,
    count: int,
    size: tuple[int, int],
) -> None:
    needed = count * size[0] * size[1] * photo.channels * _BYTES_PER_SAMPLE
    free = hardware.probe("cpu").free_bytes
    if needed > free:
        raise OutOfMemory(
            f"{count} frames of {size[0]}x{size[1]} pixels need {needed / 1e9:.1f} GB, and "
            f"{free / 1e9:.1f} GB are free.",
            "Use a smaller --scale, or --frames first.",
        )

"""Which photos can go through a network at once."""

from collections.abc import Sequence
from dataclasses import replace

from addsr_cli.engine.seeds import seeds_needed
from addsr_cli.imageio import AnimatedPhoto, Photo
from addsr_cli.models.architecture import ModelSpec
from addsr_cli.settings import Settings


def can_be_batched(
    photos: Sequence[Photo],
    settings: Sequence[Settings],
    spec: ModelSpec,
) -> bool:
    """Return whether photos can go through the network at once.

    None is animated or needs other seeds for its map, all have one size, and settings differ in
    seeds only.
    """
    return (
        all(seeds_needed(each, spec) == 1 for each in settings)
        and not any(isinstance(photo, AnimatedPhoto) for photo in photos)
        and len({photo.size for photo in photos}) == 1
        and len({replace(each, seed=0) for each in settings}) == 1
    )

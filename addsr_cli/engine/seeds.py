"""How far pictures of other seeds differ from the first: what a model invents by chance."""

from collections.abc import Callable
from dataclasses import replace

from addsr_cli.engine.progress import OnProgress, part_of
from addsr_cli.engine.result import Result
from addsr_cli.engine.trust import SEEDS, seed_spread
from addsr_cli.imageio import Photo
from addsr_cli.imageio.photo import FloatArray, Samples
from addsr_cli.models.architecture import ModelSpec
from addsr_cli.settings import Settings

_SEEDS_IN_ALL = 2**63


def seeds_needed(settings: Settings, spec: ModelSpec) -> int:
    """Return how many seeds a result takes: several for the trust map of a model that samples."""
    return SEEDS if settings.trust_map and spec.invents_by_seed else 1


def spread_over_seeds(
    upscale: Callable[[Photo, Settings, OnProgress | None], Result],
    photo: Photo,
    settings: Settings,
    first: Samples,
    on_progress: OnProgress | None,
) -> FloatArray:
    """Return the variance over seeds by cell, see ``seed_spread``.

    ``first`` is the picture of ``settings``, before protection and bounds; the others have the
    seeds after its own.
    """
    plain = replace(settings, trust_map=False, max_drift=None, protect="")
    others = (
        upscale(
            photo,
            replace(plain, seed=(settings.seed + number) % _SEEDS_IN_ALL),
            part_of(on_progress, number, SEEDS),
        )
        for number in range(1, SEEDS)
    )
    return seed_spread(first, (result.photo.colour for result in others))

"""The passes by which a photo is enlarged further than a network does at once."""

import math

from addsr_cli.canvas import canvas_size
from addsr_cli.models.architecture import ModelSpec
from addsr_cli.settings import NATIVE_SCALE


def pass_sizes(
    size: tuple[int, int],
    target: tuple[int, int],
    factor: int = NATIVE_SCALE,
) -> list[tuple[int, int]]:
    """Return the output size of every pass from ``size`` to ``target``, all (width, height).

    Each is at most ``factor`` times the one before; there is one pass if that is 1. The list is
    empty when the target is smaller than the photo, since making it smaller needs no network.
    """
    width, height = size
    target_width, target_height = target
    if target != size and target_width <= width and target_height <= height:
        return []
    sizes = [target]
    while factor > 1 and (target_width > factor * width or target_height > factor * height):
        target_width = math.ceil(target_width / factor)
        target_height = math.ceil(target_height / factor)
        sizes.insert(0, (target_width, target_height))
    return sizes


def passes_of(
    spec: ModelSpec,
    size: tuple[int, int],
    target: tuple[int, int],
) -> list[tuple[int, int]]:
    """Return the output size of every pass of a model, as ``pass_sizes`` does."""
    return pass_sizes(size, target, spec.native_scale or NATIVE_SCALE)


def planned_canvas(
    spec: ModelSpec,
    source: tuple[int, int],
    target: tuple[int, int],
) -> tuple[int, int]:
    """Return the size that a pass from ``source`` to ``target`` is planned for."""
    if spec.native_scale is None:
        return canvas_size(*target, spec.shortest_side)
    return source[0] * spec.native_scale, source[1] * spec.native_scale

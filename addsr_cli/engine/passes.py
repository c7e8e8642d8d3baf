"""The passes by which a photo is enlarged further than a network does at once.

All but the last enlarge by the whole factor, the last one by what is left. A network draws sharp
edges at any size: after a first pass that enlarges by little, the next one takes them for shapes of
the photo and enlarges their faults. Where little is left, the picture is resampled instead: a
network would sharpen once more what it has just drawn.
"""

import math
from itertools import pairwise

from addsr_cli.canvas import canvas_size
from addsr_cli.engine.plan import PictureMemory
from addsr_cli.engine.planner import picture_memory
from addsr_cli.models.architecture import ModelSpec
from addsr_cli.settings import NATIVE_SCALE

LEAST_FACTOR = 1.5  # up to which what is left is resampled

Size = tuple[int, int]  # width and height in pixels


def pass_sizes(
    size: Size,
    target: Size,
    factor: int = NATIVE_SCALE,
) -> list[Size]:
    """Return the output size of every pass from ``size`` to ``target``.

    The last one is ``target`` unless at most ``LEAST_FACTOR`` is left, for resampling. There is
    one pass if ``factor`` is 1. The list is empty when the target is smaller than the photo, since
    making it smaller needs no network.
    """
    width, height = size
    target_width, target_height = target
    if target != size and target_width <= width and target_height <= height:
        return []
    sizes = []
    while factor > 1 and not _within(target, (width, height), factor):
        width, height = factor * width, factor * height
        sizes.append((width, height))
    if sizes and _within(target, (width, height), LEAST_FACTOR):
        return sizes
    return [*sizes, target]


def native_pass_sizes(
    size: Size,
    target: Size,
    factor: int,
) -> list[Size]:
    """Return the same for a network that always enlarges by ``factor``, or by 1.

    Its result is resampled to what a pass asks for, so that no pass enlarges by little. The first
    one makes the smallest picture from which the others reach the target, which is least work.
    """
    sizes = pass_sizes(size, target, factor)
    if sizes:
        sizes[-1] = target
    for number in reversed(range(len(sizes) - 1)):
        width, height = sizes[number + 1]
        sizes[number] = math.ceil(width / factor), math.ceil(height / factor)
    return sizes


def _within(target: Size, size: Size, factor: float) -> bool:
    """Whether no side of ``target`` is more than ``factor`` times that of ``size``."""
    return target[0] <= factor * size[0] and target[1] <= factor * size[1]


def passes_of(
    spec: ModelSpec,
    size: Size,
    target: Size,
) -> list[Size]:
    """Return the output size of every pass of a model, as ``pass_sizes`` does."""
    if spec.native_scale is None:
        return pass_sizes(size, target)
    return native_pass_sizes(size, target, spec.native_scale)


def planned_passes(
    spec: ModelSpec,
    size: Size,
    target: Size,
    channels: int,
    bit_depth: int,
) -> list[tuple[Size, PictureMemory]]:
    """Return what every pass is planned for: its canvas, and the memory of its pictures.

    What is between two passes has 16 bits. Where the last one is resampled to ``target``, these two
    pictures count, which are more than what it reads.
    """
    sizes = passes_of(spec, size, target)
    planned = []
    for source, result in pairwise([size, *sizes]):
        canvas = planned_canvas(spec, source, result)
        if result == sizes[-1] != target:
            source, result = result, target
        pictures = picture_memory(
            source,
            result,
            channels,
            bit_depth if result == target else 16,
            input_depth=bit_depth if source == size else 16,
        )
        planned.append((canvas, pictures))
    return planned


def planned_canvas(
    spec: ModelSpec,
    source: Size,
    target: Size,
) -> Size:
    """Return the size that a pass from ``source`` to ``target`` is planned for."""
    if spec.native_scale is None:
        return canvas_size(*target, spec.shortest_side)
    return source[0] * spec.native_scale, source[1] * spec.native_scale

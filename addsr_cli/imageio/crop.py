"""A part of a photo, with the metadata of the whole."""

from dataclasses import replace

import numpy as np

from addsr_cli.imageio.animation import AnimatedPhoto
from addsr_cli.imageio.photo import Photo


def crop(photo: Photo, box: tuple[int, int, int, int]) -> Photo:
    """Return the part within ``box``, (left, top, right, bottom) in pixels, as a copy.

    Of an animation, every frame is cropped.
    """
    if isinstance(photo, AnimatedPhoto):
        return photo.with_frames([crop(frame, box) for frame in photo.frames])
    left, top, right, bottom = box
    part = (slice(top, bottom), slice(left, right))
    alpha = photo.alpha
    return replace(
        photo,
        rgb=np.ascontiguousarray(photo.rgb[part]),
        alpha=None if alpha is None else np.ascontiguousarray(alpha[part]),
    )

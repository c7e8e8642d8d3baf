"""A part of a photo, with the metadata of the whole."""

from dataclasses import replace

import numpy as np

from addsr_cli.imageio.photo import Photo


def crop(photo: Photo, box: tuple[int, int, int, int]) -> Photo:
    """Return the part within ``box``, (left, top, right, bottom) in pixels, as a copy."""
    left, top, right, bottom = box
    part = (slice(top, bottom), slice(left, right))
    alpha = photo.alpha
    return replace(
        photo,
        rgb=np.ascontiguousarray(photo.rgb[part]),
        alpha=None if alpha is None else np.ascontiguousarray(alpha[part]),
    )

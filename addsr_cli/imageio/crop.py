"""A part of a photo, with the metadata of the whole."""

from dataclasses import replace

from addsr_cli.imageio.animation import AnimatedPhoto
from addsr_cli.imageio.photo import Photo


def crop(photo: Photo, box: tuple[int, int, int, int]) -> Photo:
    """Return the part within ``box``, (left, top, right, bottom) in pixels, as a copy.

    Of an animation, every frame is cropped.
    """
    if isinstance(photo, AnimatedPhoto):
        return photo.with_frames([crop(frame, box) for frame in photo.frames])
    left, top, right, bottom = box
    return replace(photo, samples=photo.samples[top:bottom, left:right].copy())

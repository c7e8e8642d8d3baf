"""Find faces and text in a photo."""

from collections.abc import Collection

import cv2
import numpy as np

from addsr_cli.detection.areas import KINDS, Area, Kind, reduced
from addsr_cli.detection.faces import find_faces
from addsr_cli.detection.text import find_text
from addsr_cli.imageio import Photo
from addsr_cli.imageio.photo import FloatArray, as_float, bands

_LONGEST = 1280  # pixels of the copy that is looked at
_WEIGHTS = np.array([0.299, 0.587, 0.114], np.float32)  # of luma, ITU-R BT.601


def detect(photo: Photo, kinds: Collection[Kind] = KINDS) -> list[Area]:
    """Return the areas of these kinds in the photo, in its pixels, the largest first.

    Faces are frontal and upright, at least about a fifteenth of the longer side. Text is a line of
    at least four characters of similar height in one polarity, roughly horizontal. Both miss some
    and take some for what it is not; a mask of one's own is exact.
    """
    gray, factor = _reduced_gray(photo)
    areas: list[Area] = []
    if "faces" in kinds:
        areas += find_faces(gray)
    if "text" in kinds:
        areas += find_text(gray)
    areas.sort(key=lambda area: area.width * area.height, reverse=True)
    return [area.scaled(1 / factor) for area in areas]


def _reduced_gray(photo: Photo) -> tuple[FloatArray, float]:
    """Return luma (h, w) in [0, 255], reduced, and the factor; a band of rows is float at once."""
    gray = np.empty((photo.height, photo.width), np.float32)
    for rows in bands(photo.height, photo.width):
        colour = as_float(photo.colour[rows])
        gray[rows] = colour[:, :, 0] if photo.gray else cv2.transform(colour, _WEIGHTS[None])
    gray *= 255
    return reduced(gray, _LONGEST)

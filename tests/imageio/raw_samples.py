"""A small DNG file: four patches of known linear colours behind a Bayer filter."""

from io import BytesIO

import numpy as np
import tifffile

HEIGHT, WIDTH = 32, 48
PATCHES = {  # linear sRGB of each quarter: (row, column) of its middle
    (8, 12): (1.0, 1.0, 1.0),
    (8, 36): (0.1, 0.5, 0.1),
    (24, 12): (0.5, 0.1, 0.1),
    (24, 36): (0.1, 0.1, 0.5),
}
XYZ_TO_SRGB = (3.2406, -1.5372, -0.4986, -0.9689, 1.8758, 0.0415, 0.0557, -0.2040, 1.0570)
BYTE, SHORT, LONG, RATIONAL, SIGNED_RATIONAL, TEXT = 1, 3, 4, 5, 10, 2


def scene():
    """Linear light (H, W, 3) of the patches."""
    light = np.zeros((HEIGHT, WIDTH, 3))
    for (row, column), colour in PATCHES.items():
        light[row - 8 : row + 8, column - 12 : column + 12] = colour
    return light


def make_dng(orientation=1, brightness=1.0):
    light = scene() * brightness
    mosaic = np.empty((HEIGHT, WIDTH))
    for row, column, channel in ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 2)):  # RGGB
        mosaic[row::2, column::2] = light[row::2, column::2, channel]
    matrix = [number for value in XYZ_TO_SRGB for number in (round(value * 10000), 10000)]
    tags = [
        (271, TEXT, 0, "Acme", True),
        (272, TEXT, 0, "Acme One", True),
        (274, SHORT, 1, orientation, True),
        (33421, SHORT, 2, (2, 2), True),  # CFARepeatPatternDim
        (33422, BYTE, 4, bytes((0, 1, 1, 2)), True),  # CFAPattern
        (50706, BYTE, 4, bytes((1, 4, 0, 0)), True),  # DNGVersion
        (50708, TEXT, 0, "Acme One", True),  # UniqueCameraModel
        (50717, LONG, 1, 65535, True),  # WhiteLevel
        (50721, SIGNED_RATIONAL, 9, tuple(matrix), True),  # ColorMatrix1
        (50728, RATIONAL, 3, (1, 1, 1, 1, 1, 1), True),  # AsShotNeutral
        (50778, SHORT, 1, 21, True),  # CalibrationIlluminant1: D65
    ]
    with BytesIO() as out:
        tifffile.imwrite(
            out,
            (mosaic * 65535).astype(np.uint16),
            photometric=32803,
            extratags=tags,
            metadata=None,
            software=None,
        )
        return out.getvalue()

"""Files of other programs against the pictures that those say they show.

``ADDSR_SAMPLES`` names a folder with files such as ``turned.jxl`` beside ``turned.png``:
the sources of KDE's kimageformats have some in ``autotests/read/jxl``, ``heif`` and ``avif``.
"""

import os
from pathlib import Path

import numpy as np
import pytest

from addsr_cli.imageio import read

TOLERANCE = 2 / 255
FOLDER = Path(os.environ.get("ADDSR_SAMPLES", "no-such-folder")).absolute()
UNLIKE = {
    "bug_496350.jxl",  # pyjpegxl decodes it to black
    "orientation6_notranfs.jxl",  # shown as it is stored, on purpose
}
SAMPLES = [
    path
    for suffix in ("jxl", "heif", "avif")
    for path in sorted(FOLDER.rglob(f"*.{suffix}"))
    if path.with_suffix(".png").exists() and path.name not in UNLIKE
]


def premultiplied(photo):
    alpha = photo.samples[:, :, 3:] if photo.has_alpha and not photo.gray else None
    scale = np.iinfo(photo.samples.dtype).max
    colours = photo.rgb
    return colours if alpha is None else colours * (alpha / scale)


@pytest.mark.skipif(not SAMPLES, reason="set ADDSR_SAMPLES to the test pictures of kimageformats")
@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_a_file_shows_the_picture_that_is_beside_it(path):
    photo, expected = read(path), read(path.with_suffix(".png"))
    assert photo.size == expected.size
    assert np.abs(premultiplied(photo) - premultiplied(expected)).max() <= TOLERANCE

import numpy as np
import pytest
from imageio_samples import SHARED

from addsr_cli.imageio import WriteOptions, encode, read, read_header

PHOTOS = sorted((SHARED / "photos").glob("*")) if SHARED.exists() else []


@pytest.mark.skipif(not PHOTOS, reason="../shared/data/photos is not here")
@pytest.mark.parametrize("path", PHOTOS, ids=lambda path: path.name)
def test_every_sample_photo_survives_png(path):
    photo = read(path)
    assert read_header(path).size == photo.size
    back = read(encode(photo, WriteOptions(format="PNG"), {"a": "b"}))
    np.testing.assert_array_equal(back.to_array(), photo.to_array())
    assert (back.icc, back.gray, back.bit_depth) == (photo.icc, photo.gray, photo.bit_depth)

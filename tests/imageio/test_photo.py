import numpy as np
import pytest
from imageio_samples import noise

from addsr_cli.errors import OutputRefused, UsageError
from addsr_cli.imageio import Photo, from_array, from_pil

SHAPES = [(5, 7), (5, 7, 2), (5, 7, 3), (5, 7, 4)]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", SHAPES)
def test_integers_survive_the_way_to_float_and_back(shape, dtype):
    array = noise(*shape, dtype=dtype)
    np.testing.assert_array_equal(from_array(array).to_array(), array)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_level_survives(dtype):
    levels = np.arange(np.iinfo(dtype).max + 1, dtype=dtype)[None]
    np.testing.assert_array_equal(from_array(levels).to_array(), levels)


@pytest.mark.parametrize(
    ("shape", "mode"), list(zip(SHAPES, ["L", "LA", "RGB", "RGBA"], strict=True))
)
def test_pillow_images_survive(shape, mode):
    array = noise(*shape)
    image = from_array(array).to_pil()
    assert image.mode == mode
    np.testing.assert_array_equal(from_pil(image).to_array(), array)


def test_rounding_is_to_nearest_and_clips():
    levels = np.array([[-0.2, 0.4 / 255, 0.6 / 255, 254.6 / 255, 1.2]], np.float32)
    np.testing.assert_array_equal(from_array(levels).to_array(8), [[0, 0, 1, 255, 255]])


def test_gray_has_three_equal_channels():
    photo = from_array(noise(4, 5))
    assert photo.gray
    assert photo.rgb.shape == (4, 5, 3)
    assert np.ptp(photo.rgb, axis=2).max() == 0


def test_size_is_width_then_height():
    assert from_array(noise(4, 5, 3)).size == (5, 4)


@pytest.mark.parametrize("shape", [(4,), (4, 5, 5), (0, 4, 3), (2, 4, 5, 3)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(UsageError):
        from_array(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("dtype", [np.int32, np.complex64])
def test_other_types_are_refused(dtype):
    with pytest.raises(UsageError):
        from_array(np.zeros((4, 4), dtype))


def test_infinite_input_is_refused():
    with pytest.raises(UsageError):
        from_array(np.full((4, 4), np.inf))


def test_results_that_are_not_numbers_are_never_written():
    photo = Photo(samples=np.full((4, 4, 3), np.nan, np.float32))
    with pytest.raises(OutputRefused):
        photo.to_array()


def test_a_photo_checks_its_arrays():
    for shape in ((4, 4), (4, 4, 5), (0, 4, 3)):
        with pytest.raises(ValueError, match="samples"):
            Photo(samples=np.zeros(shape, np.float32))
    with pytest.raises(ValueError, match="int32"):
        Photo(samples=np.zeros((4, 4, 3), np.int32))
    with pytest.raises(ValueError, match="bit_depth"):
        Photo(samples=np.zeros((4, 4, 3), np.uint8), bit_depth=12)

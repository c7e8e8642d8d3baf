import pytest
from imageio_samples import smooth

from addsr_cli.imageio import Photo, from_array


@pytest.fixture
def photo() -> Photo:
    return from_array(smooth(30, 40))


@pytest.fixture
def rgba() -> Photo:
    return from_array(smooth(30, 40, 4))

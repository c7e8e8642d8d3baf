"""The writer of PNG files: what it compresses, in parts and in parallel."""

import zlib
from io import BytesIO

import numpy as np
import pytest
from imageio_samples import noise, smooth
from PIL import Image

from addsr_cli.imageio import parallel, png


@pytest.fixture
def small_bands(monkeypatch):
    monkeypatch.setattr(png, "_BAND_BYTES", 1000)


@pytest.mark.parametrize("shape", [(41, 37), (41, 37, 2), (41, 37, 3), (41, 37, 4)])
def test_a_file_of_many_bands_holds_the_picture(shape, small_bands):
    array = noise(*shape)
    array[20:] = 7  # rows that suit another filter
    with Image.open(BytesIO(b"".join(png.encode(array)))) as image:
        np.testing.assert_array_equal(np.asarray(image), array)


def test_the_checksum_is_that_of_all_bands_together(small_bands):
    parts = list(png.encode(smooth(40, 50)))
    stream = b"".join(part[8:-4] for part in parts if part[4:8] == b"IDAT")
    assert len(zlib.decompress(stream)) == 40 * (50 * 3 + 1)  # which compares the checksums


def test_the_number_of_cores_changes_nothing(small_bands, monkeypatch):
    files = []
    for cores in (1, 5):
        monkeypatch.setattr(parallel, "_available_cores", lambda cores=cores: cores)
        files.append(b"".join(png.encode(smooth(40, 50))))
    assert files[0] == files[1]


def test_a_photo_is_hardly_larger_than_with_the_best_level():
    array = smooth(300, 400) + noise(300, 400, 3) % 5
    with BytesIO() as best:
        Image.fromarray(array).save(best, "PNG")
        assert len(b"".join(png.encode(array))) < 1.06 * len(best.getvalue())


def test_parallel_results_come_in_order_and_errors_end_them():
    assert list(parallel.ordered_map(lambda n: n * n, range(50))) == [n * n for n in range(50)]
    with pytest.raises(ZeroDivisionError):
        list(parallel.ordered_map(lambda n: 1 // (n - 20), range(10**9)))


def test_few_parallel_results_wait_to_be_taken():
    begun = []
    results = parallel.ordered_map(begun.append, range(1000))
    next(results)
    assert len(begun) <= 2 * parallel.MAX_THREADS + 1
    results.close()

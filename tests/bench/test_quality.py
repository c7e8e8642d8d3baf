import math

import numpy as np
import pytest
from PIL import Image

from addsr_cli.bench.dataset import find_test_sets
from addsr_cli.bench.metrics import BASIC_METRICS
from addsr_cli.bench.peers import interpolation, result_folder
from addsr_cli.bench.quality import measure, model_methods, picture_saver
from addsr_cli.bench.variants import Sweep, variants
from addsr_cli.errors import OutputRefused, UsageError
from addsr_cli.settings import Machine
from addsr_cli.weights.loader import locate

TWO = BASIC_METRICS[:2]


def test_every_method_is_scored_on_every_photo(pairs):
    methods = [
        *interpolation(),
        *model_methods(locate("nano"), Machine(device="cpu"), variants(Sweep(steps=[1]), ())),
    ]
    rows = measure(find_test_sets(pairs), methods, TWO)
    assert [row.method for row in rows] == ["bicubic", "lanczos", "nano, 1 step"]
    assert {(row.case, row.count) for row in rows} == {("LR_small", 2)}
    for row in rows:
        assert row.means["psnr"] == pytest.approx(
            np.mean([photo["psnr"] for photo in row.photos.values()])
        )
        assert row.seconds > 0
    assert rows[2].means["psnr"] > 15
    assert rows[2].steps == 1


def test_the_references_themselves_are_perfect(pairs):
    (row,) = measure(find_test_sets(pairs), [result_folder(pairs / "HR")], TWO)
    assert row.means == {"psnr": math.inf, "ssim": pytest.approx(1, abs=1e-9)}
    assert row.seconds is None


def test_photos_without_a_result_are_not_counted(pairs, save, clean):
    folder = save("theirs/b.png", clean).parent
    (row,) = measure(find_test_sets(pairs), [result_folder(folder)], TWO)
    assert (row.count, list(row.photos)) == (1, ["b"])


def test_a_folder_without_any_of_the_pictures_is_refused(pairs, save, clean):
    folder = save("theirs/other.png", clean).parent
    with pytest.raises(UsageError, match="theirs has no picture for LR_small"):
        measure(find_test_sets(pairs), [result_folder(folder)], TWO)


def test_a_border_that_eats_the_picture_is_refused(pairs):
    with pytest.raises(UsageError, match="too small"):
        measure(find_test_sets(pairs), list(interpolation()), TWO, border=45)


def test_pictures_are_saved_and_never_written_twice(pairs, tmp_path):
    saver = picture_saver(tmp_path / "kept")
    measure(find_test_sets(pairs), list(interpolation()), TWO, on_picture=[saver])
    files = sorted(
        str(path.relative_to(tmp_path / "kept")) for path in (tmp_path / "kept").rglob("*.png")
    )
    assert files == [
        f"LR_small/{m}/{p}.png" for m in ("bicubic", "lanczos", "reference") for p in "ab"
    ]
    with (
        Image.open(tmp_path / "kept/LR_small/reference/a.png") as saved,
        Image.open(pairs / "HR/a.png") as true,
    ):
        assert np.array_equal(np.asarray(saved), np.asarray(true))
    with pytest.raises(OutputRefused):
        measure(find_test_sets(pairs), list(interpolation()), TWO, on_picture=[saver])


def test_any_whole_scale_is_measured(save, clean, tmp_path):
    save("set/HR/a.png", clean)
    save("set/LR/a.png", clean[::2, ::2])
    sweep = variants(Sweep(steps=[1]), ())
    (row,) = measure(
        find_test_sets(tmp_path / "set"),
        list(model_methods(locate("nano"), Machine(device="cpu"), sweep)),
        TWO,
    )
    assert row.count == 1

import numpy as np
import pytest

from addsr_cli.bench.dataset import crop_to_multiple, degraded, find_test_sets, parse_steps
from addsr_cli.errors import UnreadableInput, UsageError


def test_pairs_are_found_by_folder_and_stem(pairs):
    (case,) = find_test_sets(pairs)
    assert case.name == "LR_small"
    pictures = list(case.pictures())
    assert [item.stem for item, _, _ in pictures] == ["a", "b"]
    assert {lr.shape for _, lr, _ in pictures} == {(24, 32, 3)}
    assert {hr.shape for _, _, hr in pictures} == {(96, 128, 3)}


def test_every_input_folder_is_a_case_unless_one_is_named(pairs, save, clean):
    save("set/LR_other/a.png", clean[::4, ::4])
    assert [case.name for case in find_test_sets(pairs)] == ["LR_other", "LR_small"]
    assert [case.name for case in find_test_sets(pairs, lr=["LR_other"])] == ["LR_other"]
    with pytest.raises(UsageError, match="no folder LR_none"):
        find_test_sets(pairs, lr=["LR_none"])


def test_photos_without_a_reference_are_left_out(pairs, save, clean):
    save("set/LR_small/stranger.png", clean[::4, ::4])
    assert [item.stem for item in find_test_sets(pairs)[0].photos] == ["a", "b"]


def test_inputs_alone_have_no_reference(save, clean, tmp_path):
    save("set/LR/a.png", clean)
    ((_, lr, hr),) = find_test_sets(tmp_path / "set")[0].pictures()
    assert (lr.shape, hr) == (clean.shape, None)


def test_references_alone_are_degraded(save, clean, tmp_path):
    save("plain/a.png", clean[:95, :126])
    (case,) = find_test_sets(tmp_path / "plain")
    ((_, lr, hr),) = case.pictures()
    assert (case.name, lr.shape, hr.shape) == ("bicubic", (23, 31, 3), (92, 124, 3))


def test_a_limit_takes_the_first(pairs):
    assert [item.stem for item in find_test_sets(pairs, limit=1)[0].photos] == ["a"]


@pytest.mark.parametrize(
    "name",
    [
        "blind",
        "mild",
        "camera",
        "sensor",
        "chroma",
        "blocks",
        "print",
        "blur=2,noise=20",
        "noise=5,jpeg=50",
    ],
)
def test_a_degradation_depends_on_seed_and_name_alone(clean, name):
    first, again = (degraded(clean, name, 3, "a") for _ in range(2))
    assert np.array_equal(first, again)
    assert first.shape == (24, 32, 3)
    assert not np.array_equal(first, degraded(clean, name, 4, "a"))
    assert not np.array_equal(first, degraded(clean, name, 3, "b"))


def test_every_degradation_step_has_its_stated_effect(clean):
    plain = degraded(clean, "bicubic", 0, "a").astype(float)
    noise = degraded(clean, "noise=20", 0, "a") - plain
    assert 15 < noise.std() < 21
    smooth = degraded(clean, "blur=4", 0, "a").astype(float)
    assert np.abs(np.diff(smooth, axis=1)).mean() < 0.7 * np.abs(np.diff(plain, axis=1)).mean()
    coarse, fine = (degraded(clean, f"jpeg={quality}", 0, "a") - plain for quality in (10, 95))
    assert 0 < np.abs(fine).mean() < np.abs(coarse).mean()


@pytest.mark.parametrize("text", ["fog", "blur", "blur=x", "blur=2,fog=1", "jpeg=0", ""])
def test_an_unknown_degradation_is_refused(text):
    with pytest.raises(UsageError, match="unknown"):
        parse_steps(text)


def test_a_reference_is_cut_to_a_multiple_of_its_input(clean):
    assert crop_to_multiple(clean[:95, :126], clean[:23, :31], "a").shape == (92, 124, 3)
    with pytest.raises(UsageError, match="do not match: 128x96 and 20x24"):
        crop_to_multiple(clean, clean[:24, :20], "a")


def test_a_folder_that_holds_nothing_is_refused(tmp_path):
    with pytest.raises(UnreadableInput, match="no picture"):
        find_test_sets(tmp_path)
    with pytest.raises(UsageError, match="not a folder"):
        find_test_sets(tmp_path / "none")

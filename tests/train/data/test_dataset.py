"""Training pairs depend on seed and position alone; bad files are skipped and counted."""

from collections import Counter
from itertools import chain

import cv2
import numpy as np
import pytest
import torch

from addsr_cli.degradation import degrade, usm_sharpen
from addsr_cli.errors import UnreadableInput, UsageError
from addsr_cli.imageio import resize
from addsr_cli.train.data import dataset
from addsr_cli.train.data.dataset import PairDataset, Photos, find_photos, photos_of
from addsr_cli.train.data.loader import StepSampler, loader
from addsr_cli.train.processes import StepShare

WHOLE = StepShare(samples=2, batch_size=2)


@pytest.fixture
def pairs_of(configured):
    """Makes the pairs of a run."""

    def make(known=None, **changes):
        config = configured(**changes)
        return PairDataset(photos_of(config), config, known)

    return make


@pytest.fixture
def quarters(photos, tmp_path):
    """Write photos and their LR versions whose values identify them: photos are even, LR odd."""
    for path in photos.rglob("*.png"):
        pixels = cv2.imread(str(path)) & 0xFE
        cv2.imwrite(str(path), pixels)
        lr = tmp_path / "lr" / path.relative_to(photos)
        lr.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(lr), pixels[::4, ::4] | 1)
    return tmp_path / "lr"


def equal(a, b):
    return torch.equal(a["hr"], b["hr"]) and torch.equal(a["canvas"], b["canvas"])


def chosen(pairs, positions, monkeypatch):
    """The photos at these positions."""
    seen, photo = [], PairDataset._photo
    monkeypatch.setattr(
        PairDataset, "_photo", lambda self, index: (seen.append(index), photo(self, index))[1]
    )
    for position in positions:
        pairs[position]
    return seen


def test_a_pair_is_a_crop_and_its_degraded_enlargement(pairs_of):
    item = pairs_of()[0]
    assert item["tags"] == ""
    for picture in (item["hr"], item["canvas"]):
        assert (picture.shape, picture.dtype) == ((3, 64, 64), torch.float32)
        assert 0 <= picture.min() <= picture.max() <= 1
    assert 0 < (item["hr"] - item["canvas"]).abs().mean() < 0.3


def test_the_crop_is_a_piece_of_a_photo_flipped_or_not(pairs_of, monkeypatch):
    monkeypatch.setattr("addsr_cli.train.data.augmentation.DEFOCUS_PROBABILITY", 0)
    monkeypatch.setattr("addsr_cli.train.data.augmentation.DOWNSCALE_PROBABILITY", 0)
    pairs = pairs_of(mix=(("clean", 1.0),))
    hr = (pairs[0]["hr"].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    turned = [np.rot90(flip, k) for flip in (hr, hr[:, ::-1]) for k in range(4)]
    photos = [cv2.imread(str(path))[..., ::-1].copy() for path in pairs.photos.paths]
    exact = [
        cv2.matchTemplate(p, np.ascontiguousarray(t), cv2.TM_SQDIFF).min()
        for p in photos
        for t in turned
    ]
    assert min(exact) < 500  # of 12,288 values; the search works in float32


def test_the_canvas_of_a_clean_pair_is_bicubic_down_and_up(pairs_of):
    item = pairs_of(mix=(("clean", 1.0),), scales=(4.0, 4.0))[1]
    small = np.round(
        np.clip(resize(item["hr"].permute(1, 2, 0).numpy(), (16, 16)), 0, 1) * 255
    ) / np.float32(255)
    canvas = np.clip(resize(small.astype(np.float32), (64, 64)), 0, 1)
    assert np.abs(item["canvas"].permute(1, 2, 0).numpy() - canvas).max() < 1e-6


def test_targets_are_sharpened_on_request(pairs_of):
    plain, sharp = pairs_of()[0]["hr"], pairs_of(usm=True)[0]["hr"]
    expected = usm_sharpen(np.ascontiguousarray(plain.permute(1, 2, 0).numpy()))
    assert np.array_equal(sharp.permute(1, 2, 0).numpy(), expected)


def test_a_pair_depends_on_seed_and_position_alone(pairs_of):
    pairs, others = pairs_of(), pairs_of()
    backwards = {p: others[p] for p in reversed(range(5))}
    assert all(equal(pairs[p], backwards[p]) for p in range(5))
    assert not equal(pairs[0], pairs_of(seed=1)[0])


def test_other_settings_of_the_run_do_not_change_the_draws(pairs_of):
    assert equal(pairs_of()[3], pairs_of(steps=99, batch_size=1, lr=1.0)[3])


@pytest.mark.slow
def test_worker_processes_change_nothing(pairs_of):
    alone, helped = (list(loader(pairs_of(workers=n, steps=3), WHOLE, 0, 3)) for n in (0, 2))
    assert len(alone) == 3
    assert all(equal(a, b) for a, b in zip(alone, helped, strict=True))


def test_every_epoch_takes_every_photo_once_in_an_order_of_its_own(pairs_of, monkeypatch):
    order = chosen(pairs_of(), range(30), monkeypatch)
    epochs = [tuple(order[k : k + 3]) for k in range(0, 30, 3)]
    assert all(sorted(epoch) == [0, 1, 2] for epoch in epochs)
    assert len(set(epochs)) > 2


def test_the_same_photo_is_cropped_anew_in_the_next_epoch(pairs_of):
    pairs = pairs_of()
    assert len({pairs[p]["hr"].numpy().tobytes() for p in range(12)}) == 12


def test_recipes_come_in_their_shares(pairs_of, monkeypatch):
    seen = Counter()
    monkeypatch.setattr(
        dataset,
        "degrade",
        lambda hr, rng, recipe, size: (seen.update([recipe.name]), hr[::4, ::4])[1],
    )
    pairs = pairs_of(mix=(("clean", 0.2), ("strong", 0.8)))
    for position in range(200):
        pairs[position]
    assert seen["clean"] / 200 == pytest.approx(0.2, abs=0.08)
    assert seen["mild"] == 0


@pytest.mark.parametrize("scales", [(1.0, 4.0), (2.0, 3.0), (3.0, 3.0)])
def test_inputs_are_smaller_by_a_factor_within_the_scales(pairs_of, monkeypatch, scales):
    sizes = []

    def seen(hr, rng, recipe, size):
        sizes.append(size)
        return degrade(hr, rng, recipe, size)

    monkeypatch.setattr(dataset, "degrade", seen)
    pairs = pairs_of(scales=scales)
    for position in range(60):
        item = pairs[position]
        assert item["hr"].shape == item["canvas"].shape == (3, 64, 64)
    assert all(width == height for width, height in sizes)
    widths, low, high = Counter(width for width, _ in sizes), *scales
    assert set(widths) <= set(range(round(64 / high), round(64 / low) + 1))
    if low < high:
        assert widths[round(64 / high)] / 60 == pytest.approx(1 / 2, abs=0.2)
        assert widths[round(64 / low)] >= 1
        assert len(widths) > 5


def test_a_clean_input_of_the_size_of_the_original_is_the_original(pairs_of):
    item = pairs_of(mix=(("clean", 1.0),), scales=(1.0, 1.0))[0]
    assert (item["canvas"] - item["hr"]).abs().max() <= 0.51 / 255  # it was rounded to 8 bits


def test_sizes_and_letters_depend_on_seed_and_position_alone(pairs_of):
    settings = {"lettering": 0.5, "scales": (1.0, 4.0)}
    forwards, backwards = pairs_of(**settings), pairs_of(**settings)
    later = {p: backwards[p] for p in reversed(range(6))}
    assert all(equal(forwards[p], later[p]) for p in range(6))
    assert not equal(pairs_of(seed=1, **settings)[0], later[0])


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_letters_are_drawn_in_their_share(pairs_of, monkeypatch, share):
    drawn = []
    monkeypatch.setattr(dataset, "lettering", lambda image, rng: drawn.append(image.shape) or image)
    pairs = pairs_of(lettering=share)
    for position in range(100):
        pairs[position]
    assert set(drawn) <= {(64, 64, 3)}
    assert len(drawn) / 100 == pytest.approx(share, abs=0.15 if share < 1 else 0)


@pytest.mark.parametrize(("processes", "batch_size"), [(1, 8), (2, 2), (3, 2), (5, 4), (8, 1)])
def test_processes_share_every_step_and_no_sample_is_seen_twice(processes, batch_size):
    shares = [
        StepShare(samples=8, batch_size=batch_size, rank=rank, processes=processes)
        for rank in range(processes)
    ]
    for share in shares:
        batches = list(StepSampler(share, 16, 3))
        assert len(batches) == len(StepSampler(share, 16, 3)) == 3 * share.batches
        assert max(map(len, batches)) <= batch_size
    for step in range(3):
        own = [batch for share in shares for batch in share.positions(16 + 8 * step)]
        assert sorted(chain.from_iterable(own)) == list(range(16 + 8 * step, 24 + 8 * step))


def test_more_processes_than_samples_are_refused():
    with pytest.raises(UsageError, match="cannot be shared by 4 processes"):
        StepShare(samples=3, batch_size=1, processes=4)


def test_batches_of_two_processes_are_the_pairs_of_that_step(pairs_of):
    pairs = pairs_of(steps=4)
    shares = [StepShare(samples=4, batch_size=2, rank=rank, processes=2) for rank in (0, 1)]
    one, two = (next(iter(loader(pairs, share, 4, 3))) for share in shares)
    for k, position in enumerate((4, 5, 6, 7)):
        batch, place = ((one, two)[k % 2], k // 2)
        assert batch["position"][place] == position
        assert torch.equal(batch["hr"][place], pairs[position]["hr"])


def test_unreadable_and_small_files_are_counted_with_reasons(photos):
    (photos / "broken.png").write_bytes(b"not a picture")
    (photos / "empty.jpg").touch()
    (photos / "notes.txt").write_text("no photo and not counted")
    (photos / ".hidden.png").write_bytes(b"not counted")
    cv2.imwrite(str(photos / "small.png"), np.zeros((20, 200, 3), np.uint8))
    usable = find_photos(photos, 64)
    assert usable.summary() == "3 photos, 1 smaller than 64 px, 2 unreadable"
    assert [path.name for path in usable.paths] == ["a.png", "b.png", "c.png"]


def names(found):
    return [path.name for path in found.paths]


def test_folders_are_mixed_and_the_first_photos_of_each_are_counted(configured, photos, tmp_path):
    more = tmp_path / "more"
    for name in ("3.png", "1.png", "2.png"):
        (more / "deep").mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(more / "deep" / name), np.zeros((64, 64, 3), np.uint8))
    (more / "deep" / "0.png").write_bytes(b"broken, and not counted as one of the first")
    found = photos_of(configured(data=(photos, tmp_path / "more:2")))
    assert names(found) == ["a.png", "b.png", "c.png", "1.png", "2.png"]
    assert found.located() == f"5 photos, 1 unreadable: 3 in {photos}, 2 in {more}"
    first, second = (PairDataset(found, configured(data=(photos,), seed=seed)) for seed in (0, 1))
    orders = [chosen_photos(pairs, 10) for pairs in (first, first, second)]
    assert orders[0] == orders[1] != orders[2]
    assert Counter(orders[0]) == dict.fromkeys(range(5), 2)


def chosen_photos(pairs, count):
    """The photos that the first samples of a run come from."""
    with pytest.MonkeyPatch.context() as patch:
        return chosen(pairs, range(count), patch)


def test_a_photo_of_two_folders_is_taken_once_where_it_comes_first(configured, photos):
    found = photos_of(configured(data=(photos / "below", photos)))
    assert names(found) == ["c.png", "a.png", "b.png"]
    assert found.located().endswith(f"1 in {photos / 'below'}, 2 in {photos}")


def test_a_folder_may_end_in_a_number_after_a_colon(configured, photos):
    photos.rename(photos.with_name("set:2"))
    assert len(photos_of(configured(data=(photos.with_name("set:2"),))).paths) == 3


def test_no_photo_of_a_folder_is_refused(configured, photos):
    with pytest.raises(UsageError, match=":0 takes no photo"):
        photos_of(configured(data=(photos.with_name("photos:0"),)))


def test_a_photo_may_be_exactly_as_small_as_a_crop(photos):
    assert len(find_photos(photos, 64).paths) == 3
    assert len(find_photos(photos, 65).paths) == 2


@pytest.mark.parametrize("content", [[], ["broken.png"]])
def test_a_folder_without_a_usable_photo_is_refused(tmp_path, content):
    for name in content:
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(UnreadableInput, match="No photo") as caught:
        find_photos(tmp_path, 64)
    assert "64" in caught.value.hint


@pytest.mark.parametrize("name", ["missing", "file"])
def test_a_file_instead_of_a_folder_is_refused(tmp_path, name):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="not a folder"):
        find_photos(tmp_path / name, 64)


def test_a_photo_that_becomes_unreadable_is_replaced_by_the_next(pairs_of):
    pairs = pairs_of()
    pairs.photos.paths[0].write_bytes(b"gone")
    for position in range(6):
        assert pairs[position]["hr"].shape == (3, 64, 64)


def test_the_run_ends_with_an_error_when_no_photo_is_readable(pairs_of):
    pairs = pairs_of()
    for path in pairs.photos.paths:
        path.unlink()
    with pytest.raises(UnreadableInput, match="any more"):
        pairs[0]


def test_photos_beyond_the_cache_are_read_again(pairs_of, monkeypatch):
    expected = pairs_of()[0]
    monkeypatch.setattr(dataset, "CACHE_BYTES", 0)
    pairs = pairs_of()
    assert equal(pairs[0], expected)
    assert pairs.cache == {}


def test_pairs_are_the_same_crop_with_the_same_flip(pairs_of, quarters):
    pairs, flips = pairs_of(pairs=quarters), Counter()
    for item in (pairs[position] for position in range(12)):
        direction = {}
        for turned in (False, True):
            hr, canvas = (
                item[name].flip(-1) if turned else item[name] for name in ("hr", "canvas")
            )
            lr = (
                (hr[:, ::4, ::4] * 255).round() + 1
            ) / 255  # every fourth pixel of the photo as stored
            expected = np.clip(resize(lr.permute(1, 2, 0).numpy(), (64, 64)), 0, 1)
            direction[turned] = np.abs(canvas.permute(1, 2, 0).numpy() - expected).max()
        assert min(direction.values()) < 1e-5
        flips[min(direction, key=direction.get)] += 1
    assert set(flips) == {False, True}


def test_pairs_are_cropped_anywhere(pairs_of, quarters):
    pairs = pairs_of(pairs=quarters)
    assert len({pairs[position]["hr"].numpy().tobytes() for position in range(30)}) > 10


def test_photos_without_a_matching_lr_are_counted_with_reasons(photos, quarters):
    (quarters / "a.png").unlink()
    (quarters / "b.png").write_bytes(b"broken")
    cv2.imwrite(str(quarters / "below" / "c.png"), np.zeros((18, 17, 3), np.uint8))
    with pytest.raises(
        UnreadableInput,
        match="1 whose LR is not 1/4 as large, 1 whose LR is unreadable, 1 without an",
    ):
        find_photos(photos, 64, quarters)


def test_an_lr_photo_may_have_another_suffix(photos, quarters):
    (quarters / "a.png").rename(quarters / "a.bmp")
    assert len(find_photos(photos, 64, quarters).paths) == 3


def test_an_lr_photo_that_disappears_is_an_error(pairs_of, quarters):
    pairs = pairs_of(pairs=quarters)
    for path in quarters.rglob("*.png"):
        path.unlink()
    with pytest.raises(UnreadableInput, match=r"LR of .* is gone"):
        pairs[0]


def test_tags_come_from_a_text_file_or_are_precomputed(pairs_of, photos):
    for name in ("a", "b", "below/c"):
        (photos / f"{name}.txt").write_text(f" a photo called {name}\n")
    assert {pairs_of()[p]["tags"] for p in range(3)} == {
        f"a photo called {name}" for name in ("a", "b", "below/c")
    }
    known = {str(photos / "a.png"): "a fox", str(photos / "b.png"): ""}
    assert {pairs_of(known)[p]["tags"] for p in range(3)} == {"a fox", "", "a photo called below/c"}
    assert {pairs_of(known, tags="none")[p]["tags"] for p in range(3)} == {"none"}


def test_photos_are_held_out_evenly_and_never_trained_on(tmp_path):
    photos = Photos(paths=tuple(tmp_path / f"{k}.png" for k in range(10)), skipped=())
    training, validation = photos.split(3)
    assert [path.stem for path in validation.paths] == ["0", "3", "6"]
    assert sorted(training.paths + validation.paths) == list(photos.paths)
    assert photos.split(0) == (photos, Photos(paths=(), skipped=()))


@pytest.mark.parametrize("held_out", [10, 11])
def test_holding_out_everything_is_refused(tmp_path, held_out):
    photos = Photos(paths=tuple(tmp_path / f"{k}.png" for k in range(10)), skipped=())
    with pytest.raises(UsageError, match="--validation"):
        photos.split(held_out)

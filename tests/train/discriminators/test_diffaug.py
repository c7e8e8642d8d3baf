"""DiffAugment: the official result for fixed draws, and laws for any draws."""

import pytest
import torch
from discriminator_samples import CASE, seeded
from safetensors.torch import load_file

from addsr_cli.train.discriminators.diffaug import Augmentation, augment, cut_out, draw, translate


def test_fixed_draws_reproduce_the_official_image():
    golden = load_file(CASE / "tensors.safetensors")

    def pairs(name):
        return torch.stack([golden[f"in.diffaug.{name}_{axis}"].flatten() for axis in "xy"], dim=1)

    drawn = Augmentation(shift=pairs("translation"), cutout=pairs("cutout_offset"))
    assert torch.equal(augment(golden["in.x"], drawn), golden["out.diffaug"])


def test_a_shift_moves_whole_pixels_and_leaves_zeros():
    image = torch.arange(1.0, 13).reshape(1, 1, 3, 4)
    moved = translate(image, torch.tensor([[1, -2]]))[0, 0]
    assert moved.tolist() == [[0, 0, 5, 6], [0, 0, 9, 10], [0, 0, 0, 0]]


def test_a_cutout_has_a_fifth_of_each_side():
    holed = cut_out(torch.ones(2, 3, 40, 60), torch.tensor([[20, 30], [0, 60]]))
    assert (holed == 0).sum(dim=(2, 3)).tolist() == [[8 * 12] * 3, [4 * 6] * 3]


def test_draws_stay_within_an_eighth_of_the_side_and_reach_it():
    drawn = draw((40, 80), [seeded()] * 4000)
    assert drawn.shift.amin(0).tolist() == [-5, -10]
    assert drawn.shift.amax(0).tolist() == [5, 10]
    assert drawn.cutout.amin(0).tolist() == [0, 0]
    assert drawn.cutout.amax(0).tolist() == [40, 80]


def test_each_sample_is_augmented_on_its_own_and_a_seed_repeats_it():
    first, again, other = (draw((64, 64), [seeded(seed)] * 8) for seed in (1, 1, 2))
    assert torch.equal(first.shift, again.shift)
    assert torch.equal(first.cutout, again.cutout)
    assert not torch.equal(first.cutout, other.cutout)
    assert len({tuple(row) for row in first.cutout.tolist()}) > 1


@pytest.mark.parametrize("sides", [(64, 64), (37, 50)])
def test_the_shape_stays_and_the_gradient_is_one_where_the_picture_remains(sides):
    image = torch.rand(3, 3, *sides, requires_grad=True)
    altered = augment(image, draw(sides, [seeded()] * 3))
    assert altered.shape == image.shape
    altered.sum().backward()
    assert set(image.grad.unique().tolist()) == {0.0, 1.0}
    assert image.grad.sum().item() == (altered != 0).sum().item()

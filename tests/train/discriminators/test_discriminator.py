"""The convolutional discriminator, and the laws of the adversarial losses."""

import pytest
import torch
from discriminator_samples import seeded
from torch import nn
from torch.nn.functional import avg_pool2d

from addsr_cli.train.discriminators.base import ConvDiscriminator, Discriminator
from addsr_cli.train.losses.adversarial import discriminator_loss, generator_loss, r1


class Linear(Discriminator):
    """Two linear heads on the pixels."""

    def __init__(self):
        super().__init__()
        self.weights = nn.Parameter(torch.randn(2, 3 * 4 * 4))

    def condition(self, canvas):
        return canvas

    def features(self, image, generators=None):
        return [image, 2 * image]

    def compute_logits(self, features, condition):
        return [
            each.flatten(1) @ weight[:, None]
            for each, weight in zip(features, self.weights, strict=True)
        ]


def pictures(seed, count=8, side=32):
    """Noise, and the same noise without its fine part."""
    sharp = torch.rand(count, 3, side, side, generator=seeded(seed))
    return sharp, avg_pool2d(sharp, 3, stride=1, padding=1)


def test_the_hinge_loss_is_zero_beyond_the_margin_and_two_at_zero_logits():
    two, zero, less = [torch.full((3, 7), 2.0)], [torch.zeros(3, 7)], [torch.full((3, 7), -2.0)]
    assert discriminator_loss(two, less).tolist() == [0, 0, 0]
    assert discriminator_loss(zero, zero).tolist() == [2, 2, 2]
    assert discriminator_loss(less, two).tolist() == [6, 6, 6]
    assert generator_loss(two).tolist() == [-2, -2, -2]


def test_heads_count_alike_whatever_their_number_of_logits():
    coarse, fine = torch.full((2, 4), 3.0), torch.full((2, 400), -1.0)
    assert generator_loss([coarse, fine]).tolist() == [-1, -1]
    assert discriminator_loss([coarse, fine], [coarse, fine]).tolist() == [
        3,
        3,
    ]  # (0 + 2) / 2 and (4 + 0) / 2


def test_the_loss_of_heads_of_one_size_is_the_mean_over_all_logits():
    real, fake = torch.randn(2, 3, 5, 12, generator=seeded())  # 3 samples, 5 heads of 12 places
    together = torch.relu(1 - real).mean((1, 2)) + torch.relu(1 + fake).mean((1, 2))
    assert torch.allclose(discriminator_loss(list(real.unbind(1)), list(fake.unbind(1))), together)
    assert torch.allclose(generator_loss(list(fake.unbind(1))), -fake.mean((1, 2)))


def test_r1_of_linear_heads_is_the_squared_norm_of_their_weights():
    torch.manual_seed(0)
    discriminator, image = Linear(), torch.rand(3, 3, 4, 4)
    penalty = r1(discriminator, discriminator.features(image), image)
    assert torch.allclose(penalty, discriminator.weights.square().sum(1).mean().expand(3))
    penalty.mean().backward()
    assert torch.allclose(discriminator.weights.grad, discriminator.weights)


def test_r1_of_one_sample_does_not_depend_on_the_others():
    discriminator, (image, canvas) = ConvDiscriminator(4).eval(), pictures(0, 2)
    both = r1(discriminator, discriminator.features(image), canvas)
    assert torch.allclose(
        both[1:], r1(discriminator, discriminator.features(image[1:]), canvas[1:]), rtol=1e-4
    )


def test_there_is_a_logit_for_every_four_pixels_of_each_scale():
    discriminator, (image, canvas) = ConvDiscriminator(4), pictures(0, 2, 64)
    assert [tuple(logits.shape) for logits in discriminator.logits([image], canvas)] == [
        (2, 256),
        (2, 64),
        (2, 16),
    ]
    assert discriminator(image, discriminator.condition(canvas)).shape == (2, 336)


def test_a_shifted_picture_shifts_the_logits():
    discriminator, (image, canvas) = ConvDiscriminator(4).eval(), pictures(0, 1, 96)
    moved, still = (
        discriminator.logits([x[..., k : k + 80]], c[..., k : k + 80])[0]
        for x, c, k in ((image, canvas, 4), (image, canvas, 0))
    )
    moved, still = (logits.view(24, 20)[:, 5:15] for logits in (moved, still))
    assert torch.allclose(moved[:, :-1], still[:, 1:], atol=1e-5)


def test_it_learns_to_tell_sharp_from_smooth_in_a_few_dozen_steps():
    torch.manual_seed(0)
    discriminator = ConvDiscriminator(8)
    optimiser = torch.optim.Adam(discriminator.parameters(), 2e-3, betas=(0.0, 0.99))
    for step in range(40):
        real, fake = pictures(step)
        canvas = discriminator.condition(fake)
        loss = discriminator_loss(
            discriminator.logits([real], canvas), discriminator.logits([fake], canvas)
        ).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    real, fake = pictures(1000)
    with torch.no_grad():
        believed, doubted = discriminator(real, fake).mean(1), discriminator(fake, fake).mean(1)
    assert (believed > 0.5).all()
    assert (doubted < -0.5).all()


def test_a_generator_step_raises_the_logits_and_leaves_the_discriminator_unchanged():
    torch.manual_seed(0)
    discriminator, (_, fake) = ConvDiscriminator(8).eval().requires_grad_(False), pictures(0)
    picture = fake.clone().requires_grad_()
    before = generator_loss(discriminator.logits([picture], fake)).mean()
    before.backward()
    assert (
        generator_loss(discriminator.logits([picture.detach() - 100 * picture.grad], fake)).mean()
        < before
    )
    assert all(parameter.grad is None for parameter in discriminator.parameters())


def test_detached_images_get_no_gradient():
    discriminator, (real, fake) = ConvDiscriminator(4), pictures(0)
    fake.requires_grad_()
    discriminator_loss(
        discriminator.logits([real], real), discriminator.logits([fake.detach()], real)
    ).mean().backward()
    assert fake.grad is None
    assert all(parameter.grad is not None for parameter in discriminator.parameters())


def test_a_state_dict_restores_the_power_iteration_exactly(same):
    discriminator, (image, canvas) = ConvDiscriminator(4).train(), pictures(0)
    discriminator(image, canvas)
    state = {key: value.clone() for key, value in discriminator.state_dict().items()}
    assert any(key.endswith("weight_u") for key in state)
    other = ConvDiscriminator(4).train()
    other.load_state_dict(state)
    assert same(dict(other.state_dict()), state)
    assert torch.equal(other(image, canvas), discriminator(image, canvas))
    assert not same(dict(discriminator.state_dict()), state)


@pytest.mark.parametrize("side", [32, 50])
def test_logits_are_float32_and_the_same_within_autocast(side):
    discriminator, (image, canvas) = ConvDiscriminator(4).eval(), pictures(0, 2, side)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = discriminator(image, canvas)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, discriminator(image, canvas))

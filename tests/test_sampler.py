"""The sampling loop, step by step, with networks of a few lines."""

from itertools import pairwise

import pytest
import torch

from addsr_cli.models.restorer import Conditioning
from addsr_cli.sampler import InitialState, cpu_noise, refine, sample, sampling_steps
from addsr_cli.schedule import STEPS, Schedule


class Fake:
    """Record every call. The latent is twice the picture; the network predicts ``answer``."""

    factor, channels, exact_codec, halo, latent_control = 1, 3, True, None, False

    def __init__(self, answer=None, prediction="sample"):
        self.schedule = Schedule(prediction=prediction)
        self.answer, self.calls, self.decoded, self.embedded = answer, [], [], []

    def encode(self, image, noise=None):
        return 2 * image

    def decode(self, z, canvas=None, cond=None):
        self.decoded.append(z)
        return z / 2

    def describe(self, photo, guide):
        return Conditioning(tags=guide.tags)

    def embed(self, image, cond):
        self.embedded.append(image)
        return Conditioning(tags=cond.tags + "+")

    def denoise(self, z, t, control, cond):
        self.calls.append((z, t, control, cond))
        return z * 0.1 if self.answer is None else self.answer


class Oracle(Fake):
    """A network that predicts ``answer`` exactly, in any parametrisation."""

    def denoise(self, z, t, control, cond):
        super().denoise(z, t, control, cond)
        signal, sigma = self.schedule.coefficients(t, z)
        noise = (z - signal * self.answer) / sigma
        return {"sample": self.answer, "epsilon": noise, "v": signal * noise - sigma * self.answer}[
            self.schedule.prediction
        ]


@pytest.fixture
def canvas():
    torch.manual_seed(0)
    return torch.rand(1, 3, 6, 5)


def go(restorer, canvas, **options):
    options = {"timesteps": STEPS, "noise": cpu_noise(0)} | options
    return sample(restorer, canvas, Conditioning(tags="cat"), **options)


def listed(draws):
    """A noise source that records its draws."""
    source = cpu_noise(0)

    def draw(shape):
        draws.append(source(shape))
        return draws[-1]

    return draw


def test_the_network_runs_at_the_timesteps_in_order(canvas):
    fake = Fake()
    go(fake, canvas)
    assert [t.tolist() for _, t, _, _ in fake.calls] == [[999], [749], [499], [249]]


def test_every_sample_of_a_batch_gets_its_timestep(canvas):
    fake = Fake()
    go(fake, canvas.expand(3, -1, -1, -1), timesteps=(999,))
    assert fake.calls[0][1].tolist() == [999, 999, 999]


def test_each_step_gets_fresh_noise_on_the_latent_before(canvas):
    fake, draws = Fake(), []
    go(fake, canvas, noise=listed(draws))
    assert len(draws) == 4
    assert not any(torch.equal(a, b) for a, b in pairwise(draws))
    for k in range(3):
        z0 = fake.calls[k][0] * 0.1
        assert torch.equal(
            fake.calls[k + 1][0], fake.schedule.add_noise(z0, draws[k + 1], STEPS[k + 1])
        )


def test_starting_from_lr_hides_the_canvas_under_the_noise(canvas):
    fake, draws = Fake(), []
    go(fake, canvas, noise=listed(draws), start="lr")
    assert torch.equal(fake.calls[0][0], fake.schedule.add_noise(2 * canvas, draws[0], 999))


def test_starting_from_noise_starts_from_noise_alone(canvas):
    fake, draws = Fake(), []
    go(fake, canvas, noise=listed(draws), start="noise")
    assert torch.equal(fake.calls[0][0], draws[0])


@pytest.mark.parametrize("weight", [0.25, 0.4, 1.0])
def test_the_next_control_is_the_clamped_prediction_blended_with_the_first_canvas(canvas, weight):
    answer = torch.linspace(-3, 5, canvas.numel()).reshape(canvas.shape)
    fake = Fake(answer)
    go(fake, canvas, psr=weight)
    assert torch.equal(fake.calls[0][2], canvas)
    for _, _, control, _ in fake.calls[1:]:
        assert torch.allclose(
            control, weight * (answer / 2).clamp(0, 1) + (1 - weight) * canvas, atol=1e-7
        )


def test_without_refinement_the_canvas_stays_control_and_only_the_end_is_decoded(canvas):
    fake = Fake()
    go(fake, canvas, psr=0)
    assert all(control is canvas for _, _, control, _ in fake.calls)
    assert len(fake.decoded) == 1
    assert [image is canvas for image in fake.embedded] == [True] * 3


def test_every_refined_image_is_embedded_once_for_the_next_step(canvas):
    fake = Fake()
    go(fake, canvas, psr=0.4)
    assert all(seen is call[2] for seen, call in zip(fake.embedded, fake.calls[1:], strict=True))
    assert [cond.tags for *_, cond in fake.calls] == ["cat", "cat+", "cat++", "cat+++"]


def test_one_step_embeds_and_refines_nothing(canvas):
    fake = Fake()
    go(fake, canvas, timesteps=(999,))
    assert (len(fake.calls), len(fake.decoded), fake.embedded) == (1, 1, [])


@pytest.mark.parametrize("prediction", ["epsilon", "v", "sample"])
@pytest.mark.parametrize("start", ["lr", "noise"])
def test_a_network_that_knows_the_picture_returns_it(canvas, prediction, start):
    picture = torch.rand(1, 3, 6, 5)
    result = go(Oracle(2 * picture, prediction), canvas, start=start)
    assert torch.allclose(result, picture, atol=1e-5)


def test_the_result_is_not_clamped(canvas):
    assert torch.equal(go(Fake(torch.full_like(canvas, 4.0)), canvas), torch.full_like(canvas, 2.0))


def test_every_clean_latent_is_reported(canvas):
    seen, fake = [], Fake()
    go(fake, canvas, on_step=lambda k, z0: seen.append((k, z0)))
    assert [k for k, _ in seen] == [0, 1, 2, 3]
    assert all(
        torch.equal(z0, call[0] * 0.1) for (_, z0), call in zip(seen, fake.calls, strict=True)
    )


def test_a_seed_means_one_picture(canvas):
    first, again, other = (go(Fake(), canvas, noise=cpu_noise(seed)) for seed in (7, 7, 8))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_global_generator_is_neither_used_nor_changed(canvas):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = go(Fake(), canvas)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(go(Fake(), canvas), first)


def test_refining_clamps_the_prediction_but_not_the_canvas():
    out = refine(torch.tensor([-1.0, 2.0]), torch.tensor([1.5, -0.5]), 0.5)
    assert out.tolist() == [0.75, 0.25]


def test_refining_takes_one_weight_per_sample():
    weights = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1)
    out = refine(torch.ones(2, 1, 1, 1), torch.zeros(2, 1, 1, 1), weights)
    assert out.flatten().tolist() == [0, 1]


def initial(canvas, z, tags="cat"):
    return InitialState(z=z, canvas=canvas, cond=Conditioning(tags=tags))


def test_a_step_reports_its_timestep_and_the_control_image_that_the_network_saw(canvas):
    fake = Fake()
    options = {"timesteps": STEPS[:2], "noise": cpu_noise(0), "psr": 0.4}
    first, second = sampling_steps(fake, initial(canvas, torch.zeros_like(canvas)), **options)
    assert [(step.k, step.t) for step in (first, second)] == [(0, 999), (1, 749)]
    assert first.control is canvas
    assert second.control is fake.calls[1][2]


def test_gradients_flow_through_the_steps_that_the_caller_enables_them_for(canvas):
    class Scaled(Fake):
        weight = torch.tensor(0.1, requires_grad=True)

        def denoise(self, z, t, control, cond):
            return z * self.weight

    options = {"timesteps": STEPS[:2], "noise": cpu_noise(0), "psr": 0.4}
    steps = sampling_steps(Scaled(), initial(canvas, torch.ones_like(canvas)), **options)
    with torch.no_grad():
        assert not next(steps).z0.requires_grad
    last = next(steps)
    assert last.z0.requires_grad
    assert not last.control.requires_grad


def test_chains_of_different_lengths_end_together_as_they_would_alone(canvas):
    torch.manual_seed(1)
    z, noise = torch.randn(2, 1, 3, 6, 5)
    alone = [
        list(
            sampling_steps(
                Fake(),
                initial(canvas, z),
                timesteps=timesteps,
                noise=lambda _: noise,
                psr=0.4,
            )
        )[-1]
        for timesteps in (STEPS[:2], STEPS[:1])
    ]
    *_, together = sampling_steps(
        Fake(),
        initial(canvas, z),
        timesteps=[torch.tensor([999]), torch.tensor([749, 999])],
        noise=lambda _: noise,
        psr=torch.full((2, 1, 1, 1), 0.4),
        joining={1: initial(canvas, z)},
    )
    assert torch.equal(together.z0, torch.cat([step.z0 for step in alone]))
    assert torch.equal(together.control, torch.cat([step.control for step in alone]))


def test_a_forced_latent_replaces_the_predicted_one(canvas):
    fake, draws, clean = Fake(), [], torch.rand_like(canvas)
    options = {"timesteps": STEPS[:2], "noise": listed(draws), "psr": None}
    list(sampling_steps(fake, initial(canvas, torch.ones_like(canvas)), forced=clean, **options))
    assert torch.equal(fake.calls[1][0], fake.schedule.add_noise(clean, draws[0], 749))


class LatentControlled(Fake):
    """Read the canvas's latent at every step, and the canvas when decoding."""

    latent_control = True

    def encode(self, image, noise=None):
        self.encoded = image if noise is None else image + noise(image.shape)
        return self.encoded

    def decode(self, z, canvas=None, cond=None):
        self.seen = canvas, cond
        return z


@pytest.mark.parametrize("start", ["lr", "noise"])
def test_one_draw_of_the_latent_is_the_control_of_all_steps_and_the_start(canvas, start):
    fake, cond, draws = LatentControlled(), Conditioning(fidelity=0.3), []
    options = {"timesteps": (999, 0), "noise": listed(draws), "psr": None, "start": start}
    sample(fake, canvas, cond, **options)
    first, second = fake.calls
    assert first[2] is second[2] is fake.encoded
    assert torch.equal(fake.encoded, canvas + draws[1])
    noised = fake.schedule.add_noise(fake.encoded, draws[0], 999)
    assert torch.equal(first[0], noised if start == "lr" else draws[0])
    assert fake.seen == (canvas, cond)


def test_self_refinement_encodes_the_picture_for_a_network_that_reads_latents(canvas):
    fake = LatentControlled()
    sample(fake, canvas, Conditioning(), timesteps=(999, 0), noise=cpu_noise(0), psr=0.4)
    predicted = fake.calls[0][0] * 0.1
    assert torch.allclose(fake.calls[1][2], refine(predicted, canvas, 0.4))

"""The three formulas: against the official scheduler's tensors, and as laws."""

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from addsr_cli.errors import UsageError
from addsr_cli.schedule import STEPS, Schedule, steps

GOLDEN = Path(__file__).parent / "golden" / "scheduler.safetensors"
PREDICTIONS = ("epsilon", "v", "sample")


@pytest.fixture(scope="module")
def golden():
    return load_file(GOLDEN)


@pytest.fixture
def latents():
    torch.manual_seed(0)
    return torch.randn(3, 4, 5, 7), torch.randn(3, 4, 5, 7)


def close(ours, reference):
    return (ours - reference).abs().max() <= 1e-5 * max(1.0, float(reference.abs().max()))


def velocity(schedule, z0, noise, t):
    signal, sigma = schedule.coefficients(t, z0)
    return signal * noise - sigma * z0


def network_output(schedule, z0, noise, t):
    outputs = {"epsilon": noise, "sample": z0, "v": velocity(schedule, z0, noise, t)}
    return outputs[schedule.prediction]


def test_alphas_cumprod_are_those_of_the_official_scheduler(golden):
    assert close(Schedule().alphas_cumprod, golden["out.alphas_cumprod"])


def test_noise_is_added_like_the_official_scheduler_does(golden):
    ours = Schedule().add_noise(golden["in.x"], golden["in.noise"], golden["in.timesteps"])
    assert close(ours, golden["out.add_noise"])


def test_the_clean_latent_of_a_noise_prediction_is_the_official_z0(golden):
    ours = Schedule().predict_z0(golden["in.x"], golden["in.noise"], golden["in.timesteps"])
    assert close(ours, golden["out.get_z0"])


def test_the_signal_coefficient_is_the_official_weight(golden):
    signal, sigma = Schedule().coefficients(golden["in.timesteps"], golden["in.x"])
    assert close(signal, golden["out.get_weights"])
    assert torch.allclose(signal**2 + sigma**2, torch.ones(()))


def test_the_official_velocity_leads_back_to_the_clean_latent(golden):
    schedule, t = Schedule(prediction="v"), golden["in.timesteps"]
    assert close(
        velocity(schedule, golden["in.x"], golden["in.noise"], t), golden["out.get_velocity"]
    )
    z = schedule.add_noise(golden["in.x"], golden["in.noise"], t)
    assert close(schedule.predict_z0(z, golden["out.get_velocity"], t), golden["in.x"])


@pytest.mark.parametrize("t", [0, 1, *STEPS])
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_a_perfect_prediction_undoes_the_noise(prediction, t, latents):
    schedule, (z0, noise) = Schedule(prediction=prediction), latents
    z = schedule.add_noise(z0, noise, t)
    assert torch.allclose(
        schedule.predict_z0(z, network_output(schedule, z0, noise, t), t), z0, atol=2e-5
    )


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_an_int_and_one_timestep_per_sample_agree(prediction, latents):
    schedule, (z0, noise) = Schedule(prediction=prediction), latents
    together = schedule.add_noise(z0, noise, torch.tensor([999, 499, 3]))
    back = schedule.predict_z0(together, noise, torch.tensor([999, 499, 3]))
    for k, t in enumerate((999, 499, 3)):
        alone = schedule.add_noise(z0[k : k + 1], noise[k : k + 1], t)
        assert torch.equal(together[k : k + 1], alone)
        assert torch.equal(back[k : k + 1], schedule.predict_z0(alone, noise[k : k + 1], t))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_results_are_float32_whatever_comes_in(prediction, dtype, latents):
    schedule, (z0, noise) = Schedule(prediction=prediction), [x.to(dtype) for x in latents]
    assert schedule.add_noise(z0, noise, 999).dtype == torch.float32
    assert schedule.predict_z0(z0, noise, 999).dtype == torch.float32


def test_n_steps_are_the_first_n_of_four():
    assert [steps(n) for n in (1, 2, 3, 4)] == [
        (999,),
        (999, 749),
        (999, 749, 499),
        (999, 749, 499, 249),
    ]


@pytest.mark.parametrize("n", [0, 5, -1])
def test_any_other_number_of_steps_is_refused(n):
    with pytest.raises(UsageError, match="1 to 4"):
        steps(n)


def scheduler(spacing, n):
    """diffusers' DDPM with Stable Diffusion 2-base's numbers."""
    from diffusers import DDPMScheduler

    betas = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    offset = {"leading": 1}.get(spacing, 0)
    made = DDPMScheduler(**betas, clip_sample=False, steps_offset=offset, timestep_spacing=spacing)
    made.set_timesteps(n)
    return made


@pytest.mark.parametrize(
    ("rule", "n"),
    [("leading", 50), ("leading", 20), ("trailing", 2), ("trailing", 7), ("linspace", 4)],
)
def test_ancestral_steps_are_those_of_ddpm(rule, n):
    theirs, ours = scheduler(rule, n), Schedule(scheduler=rule)
    times = ours.timesteps(n)
    assert list(times) == theirs.timesteps.tolist()
    torch.manual_seed(0)
    z, eps = torch.randn(1, 4, 6, 5), torch.randn(1, 4, 6, 5)
    for t, following in pairwise(times):
        draws = torch.randn(z.shape, generator=torch.Generator().manual_seed(t))
        expected = theirs.step(eps, t, z, generator=torch.Generator().manual_seed(t))
        z0 = ours.predict_z0(z, eps, t)
        assert torch.allclose(z0, expected.pred_original_sample, rtol=1e-5, atol=1e-5)
        assert torch.allclose(
            ours.advance(z, z0, draws, t, following), expected.prev_sample, rtol=1e-4, atol=1e-4
        )


def test_the_last_ancestral_step_is_the_prediction_itself():
    theirs, ours = scheduler("leading", 50), Schedule(scheduler="leading")
    z, eps = torch.randn(1, 4, 6, 5), torch.randn(1, 4, 6, 5)
    last = ours.timesteps(50)[-1]
    assert torch.allclose(
        theirs.step(eps, last, z).prev_sample, ours.predict_z0(z, eps, last), atol=1e-4
    )


def test_the_rule_of_addsr_forgets_the_latent_before():
    ours, z0, noise = Schedule(), torch.randn(1, 4, 2, 2), torch.randn(1, 4, 2, 2)
    assert torch.equal(ours.advance(noise * 9, z0, noise, 999, 749), ours.add_noise(z0, noise, 749))
    assert ours.timesteps(3) == STEPS[:3]


@pytest.mark.parametrize(
    ("rule", "n"), [("consistency", 5), ("consistency", 0), ("leading", 1001), ("trailing", 0)]
)
def test_too_many_or_no_steps_are_refused(rule, n):
    with pytest.raises(UsageError, match="steps must be"):
        Schedule(scheduler=rule).timesteps(n)


STABLESR = {
    int(key.rpartition(".")[2]): value
    for key, value in load_file(GOLDEN.parent / "stablesr" / "schedule.safetensors").items()
    if key.startswith("out.timesteps.")
}


@pytest.mark.parametrize("n", STABLESR)
def test_stablesr_takes_its_official_timesteps_from_both_ends(n):
    assert Schedule(scheduler="linspace").timesteps(n)[::-1] == tuple(STABLESR[n].tolist())


def test_one_step_of_stablesr_is_the_noisiest():
    assert Schedule(scheduler="linspace").timesteps(1) == (999,)


@pytest.mark.parametrize("n", [4, 200])
def test_the_ancestral_steps_of_stablesr_have_the_official_coefficients(n):
    tables = load_file(GOLDEN.parent / "stablesr" / "schedule.safetensors")
    schedule = Schedule(scheduler="linspace")
    one, zero = torch.ones(1, 1, 1, 1), torch.zeros(1, 1, 1, 1)
    times = schedule.timesteps(n)
    for i, (t, following) in enumerate(pairwise(times)):
        row = n - 1 - i
        of_z0 = schedule.advance(zero, one, zero, t, following).squeeze()
        of_z = schedule.advance(one, zero, zero, t, following).squeeze()
        sigma = schedule.advance(zero, zero, one, t, following).squeeze()
        assert close(of_z0, tables[f"out.respaced{n}.posterior_mean_coef1"][row])
        assert close(of_z, tables[f"out.respaced{n}.posterior_mean_coef2"][row])
        assert close(sigma**2, tables[f"out.respaced{n}.posterior_variance"][row])
    assert close(schedule.alphas_cumprod, tables["out.full1000.alphas_cumprod"])

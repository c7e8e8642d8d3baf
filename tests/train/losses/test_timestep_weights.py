"""The weights of TA-ADD, against the tables of the papers."""

import pytest
import torch

from addsr_cli.errors import UsageError
from addsr_cli.schedule import STEPS, Schedule
from addsr_cli.train.losses.timestep_weights import TaWeights

TIMES = (0, 249, 499, 749, 999)
# d(s, t) of AddSR eq. 3 with mu 0.5 and nu 2.1: a row per t, a column for s = 999, 749, 499, 249
TABLE = (
    (0.499787, 1.049554, 2.204063, 4.628532),
    (0.410923, 0.862939, 1.812173, 3.805562),
    (0.263472, 0.553291, 1.161911, 2.440013),
    (0.118978, 0.249855, 0.524695, 1.101859),
    (0.034132, 0.071678, 0.150524, 0.316101),
)


def weights(*, times=TIMES, **form):
    """d(s, t) with a row per t and a column per s."""
    index = torch.arange(len(STEPS))
    return TaWeights(**form)(Schedule(), index, torch.tensor(times)[:, None].expand(-1, len(STEPS)))


def test_the_weights_are_those_of_the_paper():
    assert torch.allclose(weights(), torch.tensor(TABLE), atol=1e-6)


def test_the_last_timestep_counts_nu_cubed_times_the_first():
    d = weights()
    assert torch.allclose(d[:, 3] / d[:, 0], torch.full((5,), 2.1**3), rtol=1e-6)


def test_weights_fall_with_noise_and_rise_with_the_steps():
    d = weights(times=range(1000))
    assert (d.diff(dim=0) < 0).all()
    assert (d.diff(dim=1) > 0).all()


def test_the_official_table_is_shifted_by_one():
    assert TaWeights(indexing="official").table() == pytest.approx((4.6305, 0.5, 1.05, 2.205))


def test_plain_add_remains_without_a_form_and_with_neutral_numbers():
    plain = Schedule().alphas_cumprod[list(TIMES)].sqrt()[:, None].expand(-1, 4)
    assert torch.equal(weights(form="none"), plain)
    assert torch.equal(weights(mu=1.0, nu=1.0), plain)


def test_the_linear_form_is_a_line():
    assert TaWeights(form="linear").table() == pytest.approx((0.9, 1.3, 1.7, 2.1))
    assert TaWeights(form="linear", gamma=0.2, kappa=1.0, indexing="official").table()[
        0
    ] == pytest.approx(1.8)


def test_a_timestep_that_the_student_does_not_know_has_no_weight():
    with pytest.raises(IndexError):
        TaWeights().factor(torch.tensor([4]))


@pytest.mark.parametrize(
    "wrong",
    [
        {"form": "cubic"},
        {"indexing": "first"},
        {"mu": 0.0},
        {"nu": -1.0},
        {"nu": float("nan")},
        {"form": "linear", "gamma": -1.0},
    ],
)
def test_invalid_timestep_weights_are_refused(wrong):
    with pytest.raises(UsageError, match=r"--ta|indexing"):
        TaWeights(**wrong)

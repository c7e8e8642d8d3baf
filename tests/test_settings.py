import pytest

from addsr_cli.errors import UsageError
from addsr_cli.settings import Settings


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({}, (400, 200)),
        ({"scale": 3.37}, (337, 168)),
        ({"width": 333}, (333, 166)),
        ({"height": 333}, (666, 333)),
        ({"longest": 777}, (777, 388)),
        ({"shortest": 777}, (1554, 777)),
        ({"scale": 0.001}, (1, 1)),
    ],
)
def test_target_is_the_exact_output_size(options, size):
    assert Settings(**options).output_size(100, 50) == size


@pytest.mark.parametrize("side", [1, 7, 99, 333, 1001, 1999])
def test_a_named_side_is_met_whatever_the_input(side):
    for width in (1, 3, 7, 640, 641):
        assert Settings(width=side).output_size(width, 10)[0] == side
        assert max(Settings(longest=side).output_size(width, 5)) == side
        assert min(Settings(shortest=side).output_size(width, 5)) == side


@pytest.mark.parametrize(
    "options",
    [
        {"scale": 2, "width": 10},
        {"width": 10, "height": 10},
        {"scale": 0},
        {"scale": float("nan")},
        {"longest": -5},
        {"steps": 0},
        {"guidance": 21},
        {"conditioning_scale": -1},
        {"psr": 1.1},
        {"fidelity": -0.1},
        {"seed": -1},
        {"seed": 2**63},
    ],
)
def test_nonsense_is_refused(options):
    with pytest.raises(UsageError):
        Settings(**options)


def test_an_output_beyond_reason_is_refused():
    with pytest.raises(UsageError, match="beyond"):
        Settings(scale=10_000).output_size(1000, 1000)


@pytest.mark.parametrize(
    ("fidelity", "steps", "psr", "blend"),
    [(None, 4, 0.4, 0), (0, 4, 0.8, 0), (0.5, 4, 0.4, 0), (0.75, 2, 0.2, 0.15), (1, 1, 0, 0.3)],
)
def test_the_fidelity_dial_sets_steps_psr_and_blend(fidelity, steps, psr, blend):
    settings = Settings(fidelity=fidelity)
    assert settings.effective_steps(4) == steps
    assert (settings.effective_psr, settings.blend(4)) == pytest.approx((psr, blend))


def test_explicit_steps_and_psr_win_over_fidelity():
    settings = Settings(fidelity=1, steps=3, psr=0.7)
    assert (settings.effective_steps(4), settings.effective_psr) == (3, 0.7)

import pytest

from addsr_cli.bench.variants import Sweep, default_steps, variants
from addsr_cli.errors import UsageError


def test_every_combination_is_measured_once():
    found = variants(Sweep(steps=[1, 4], psr=[0, 0.4], color=["none", "lab"], seed=7), ())
    assert [each.label for each in found] == [
        "1 step, color none",
        "1 step, color lab",
        "4 steps, psr 0, color none",
        "4 steps, psr 0, color lab",
        "4 steps, psr 0.4, color none",
        "4 steps, psr 0.4, color lab",
    ]
    assert {each.settings.seed for each in found} == {7}
    assert len({each.settings for each in found}) == len(found)


def test_without_lists_the_usual_steps_are_measured():
    assert [each.settings.steps for each in variants(Sweep(), default_steps("consistency", 4))] == [
        1,
        4,
    ]
    assert [each.label for each in variants(Sweep(), default_steps("leading", 50))] == ["50 steps"]


def test_precisions_are_told_apart():
    found = variants(Sweep(steps=[1], start=["noise"], precision=["fp32", "bf16"]), ())
    assert [(each.precision, each.label) for each in found] == [
        ("fp32", "1 step, from noise, fp32"),
        ("bf16", "1 step, from noise, bf16"),
    ]


def test_impossible_values_are_refused():
    with pytest.raises(UsageError):
        variants(Sweep(steps=[4], psr=[7]), ())

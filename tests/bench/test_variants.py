from dataclasses import replace

import pytest

from addsr_cli.bench.variants import Sweep, default_steps, variants
from addsr_cli.errors import UsageError
from addsr_cli.models.nano.architecture import NANO


def test_every_combination_is_measured_once():
    combinations = variants(Sweep(steps=[1, 4], psr=[0, 0.4], color=["none", "lab"], seed=7), ())
    assert [variant.label for variant in combinations] == [
        "1 step, color none",
        "1 step, color lab",
        "4 steps, psr 0, color none",
        "4 steps, psr 0, color lab",
        "4 steps, psr 0.4, color none",
        "4 steps, psr 0.4, color lab",
    ]
    assert {variant.settings.seed for variant in combinations} == {7}
    assert len({variant.settings for variant in combinations}) == len(combinations)


def test_without_lists_the_default_steps_are_measured():
    few = variants(Sweep(), default_steps(NANO))
    assert [variant.settings.steps for variant in few] == [1, 4]
    seesr = replace(NANO, scheduler="leading", default_steps=50)
    assert [variant.label for variant in variants(Sweep(), default_steps(seesr))] == ["50 steps"]


def test_precisions_have_different_labels():
    combinations = variants(Sweep(steps=[1], start=["noise"], precision=["fp32", "bf16"]), ())
    assert [(variant.precision, variant.label) for variant in combinations] == [
        ("fp32", "1 step, from noise, fp32"),
        ("bf16", "1 step, from noise, bf16"),
    ]


def test_impossible_values_are_refused():
    with pytest.raises(UsageError):
        variants(Sweep(steps=[4], psr=[7]), ())

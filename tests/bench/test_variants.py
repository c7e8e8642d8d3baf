from dataclasses import replace

import pytest

from addsr_cli.bench.variants import Sweep, default_steps, for_model, variants
from addsr_cli.errors import UsageError
from addsr_cli.models.nano.architecture import NANO


def test_all_variants_have_the_tiles_that_were_asked_for():
    found = variants(Sweep(steps=[1, 4], tiles="official"), ())
    assert {each.settings.tiles for each in found} == {"official"}
    assert {each.settings.effective_color for each in found} == {"adain"}


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
    addsr = replace(NANO, most_steps=None)
    for spec, expected in ((addsr, [1, 4]), (NANO, [1])):
        few = variants(Sweep(), default_steps(spec))
        assert [variant.settings.steps for variant in few] == expected
    seesr = replace(addsr, scheduler="leading", default_steps=50)
    assert [variant.label for variant in variants(Sweep(), default_steps(seesr))] == ["50 steps"]


def test_steps_that_a_model_does_not_run_are_measured_once_and_named():
    sweep = Sweep(steps=(1, 2, 4), psr=(0.4,))
    assert for_model(sweep, NANO) == (replace(sweep, steps=(1,)), ["steps above 1"])
    assert for_model(Sweep(steps=(1,)), NANO)[1] == []
    assert for_model(sweep, replace(NANO, most_steps=None)) == (sweep, [])


def test_precisions_have_different_labels():
    combinations = variants(Sweep(steps=[1], start=["noise"], precision=["fp32", "bf16"]), ())
    assert [(variant.precision, variant.label) for variant in combinations] == [
        ("fp32", "1 step, from noise, fp32"),
        ("bf16", "1 step, from noise, bf16"),
    ]


def test_impossible_values_are_refused():
    with pytest.raises(UsageError):
        variants(Sweep(steps=[4], psr=[7]), ())

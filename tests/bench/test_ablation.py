import json
from dataclasses import asdict, replace

import pytest

from addsr_cli.bench.ablation import ABLATIONS, find_variants, missing_variants, other_differences
from addsr_cli.bench.published import ABLATION_TABLES
from addsr_cli.errors import UnreadableInput, UsageError
from addsr_cli.train.config import TrainConfig
from addsr_cli.train.losses.timestep_weights import TaWeights
from addsr_cli.train.recipe import PAPER, PSR_OFF, parse_teacher_sees, psr_range
from addsr_cli.weights.loader import ASSETS

LABELS = {
    "psr": [
        ({"psr": PSR_OFF}, "without PSR"),
        ({}, "with PSR, weight 1"),
        ({"psr": (0.4, 1.0)}, "with PSR, weight 0.4 to 1"),
    ],
    "ta": [
        ({}, "TA-ADD exponential, mu=0.5, nu=2.1"),
        ({"ta": TaWeights(form="linear", kappa=0.3)}, "TA-ADD linear, gamma=0.4, kappa=0.3"),
        ({"ta": TaWeights(form="none")}, "without TA, plain ADD"),
    ],
    "teacher": [
        ({}, "teacher sees HR in control, tagger, text"),
        ({"teacher_sees": ("control",)}, "teacher sees HR in control"),
        ({"teacher_sees": ()}, "teacher sees LR alone"),
    ],
}


@pytest.fixture
def trained(tmp_path):
    """Writes a run folder as training leaves it, with nano's weights."""

    def write(name, recipe=None, **changes):
        export = tmp_path / "runs" / name / "export"
        export.mkdir(parents=True)
        (export / "nano.safetensors").symlink_to(ASSETS / "nano.safetensors")
        config = TrainConfig(data=(tmp_path / name,), output=tmp_path / name, **changes)
        config = replace(config, recipe=replace(PAPER, **recipe or {}))
        (export / "training.json").write_text(config.portable().to_json())
        return tmp_path / "runs"

    return write


@pytest.mark.parametrize("name", list(LABELS))
def test_variants_are_told_apart_by_the_choice_of_the_ablation(trained, name):
    for number, (recipe, _) in enumerate(LABELS[name]):
        runs = trained(f"run{number}", recipe, seed=7, workers=number, shard_optimizer=number > 0)
    variants = find_variants(name, [runs])
    assert [variant.label for variant in variants] == sorted(label for _, label in LABELS[name])
    assert {variant.located.spec.name for variant in variants} == {"nano"}
    assert other_differences(name, variants) == []


@pytest.mark.parametrize("name", list(ABLATIONS))
def test_variants_that_were_not_trained_are_named_with_the_options_that_train_them(trained, name):
    variants = find_variants(name, [trained("paper")])
    first, *others = ABLATIONS[name].train.items()
    assert variants[0].label == first[0]
    assert missing_variants(name, variants) == [f"{label} ({flags})" for label, flags in others]


@pytest.mark.parametrize(
    ("name", "label", "flags"),
    [(name, *each) for name, entry in ABLATIONS.items() for each in entry.train.items()],
)
def test_the_options_of_a_variant_train_what_its_label_says(name, label, flags):
    values = dict(zip(flags.split()[::2], flags.split()[1::2], strict=True))
    changes = {
        "psr": lambda: {"psr": psr_range(values["--psr-train-weight"])},
        "ta": lambda: {"ta": TaWeights(form=values["--ta"])},
        "teacher": lambda: {"teacher_sees": parse_teacher_sees(values["--teacher-sees"])},
    }[name]()
    recipe = json.loads(json.dumps(asdict(replace(PAPER, **changes))))
    assert ABLATIONS[name].label(recipe) == label


def test_variants_without_psr_are_run_without_it(trained):
    trained("without", {"psr": PSR_OFF})
    variants = find_variants("ta", [trained("with")])
    assert sorted(variant.uses_psr for variant in variants) == [False, True]


def test_other_settings_in_which_the_variants_differ_are_named(trained):
    trained("a", lr=1e-3)
    variants = find_variants("ta", [trained("b", {"teacher_samples": 4}, lr=2e-3)])
    assert other_differences("ta", variants) == ["lr", "recipe.teacher_samples"]


def test_a_run_may_be_named_itself_and_other_folders_are_passed_over(trained):
    runs = trained("one")
    (runs / "empty").mkdir()
    (runs / "notes.txt").touch()
    assert len(find_variants("psr", [runs / "one"])) == 1
    assert len(find_variants("psr", [runs])) == 1


def test_runs_of_older_versions_are_read(trained):
    runs = trained("old")
    record = runs / "old" / "export" / "training.json"
    written = json.loads(record.read_text())
    written["recipe"]["teacher_sees"] = "lr"
    record.write_text(json.dumps(written))
    assert find_variants("teacher", [runs])[0].label == "teacher sees LR alone"


@pytest.mark.parametrize("name", list(ABLATIONS))
def test_without_a_trained_model_the_commands_that_train_one_are_shown(tmp_path, name):
    with pytest.raises(UsageError, match="no trained model") as caught:
        find_variants(name, [tmp_path / "runs"])
    assert "addsr distill --" in caught.value.hint


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", json.dumps({"recipe": asdict(PAPER) | {"psr": 1}})]
)
def test_a_damaged_record_is_named(trained, text):
    runs = trained("broken")
    (runs / "broken" / "export" / "training.json").write_text(text)
    with pytest.raises(UnreadableInput, match=r"training\.json"):
        find_variants("psr", [runs])


def test_every_ablation_is_published():
    assert ABLATIONS.keys() == ABLATION_TABLES.keys()

"""Ablations of the AddSR papers: the variants that were trained here, told apart by one choice.

A training run leaves ``training.json`` beside its model; its recipe names the variant.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from addsr_cli.errors import UnreadableInput, UsageError
from addsr_cli.weights import loader
from addsr_cli.weights.loader import Located

RECORD = "training.json"
PSR_OFF = [0.0, 0.0]
TEACHER_INPUTS = ["control", "tagger", "text"]
# of a run, and no part of what is compared
PLACES = ("data", "output", "device", "workers", "tracker", "keep")
MEMORY = ("ema_on_cpu", "checkpointing", "shard_optimizer")
LOGGING = ("save_every", "sample_every", "log_every", "validation", "precompute")

Json = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Ablation:
    """One choice of the training that the papers vary.

    ``label`` names the variant of a recipe, ``field`` is the recipe's entry; ``train`` has the
    options that train the main variants, by their labels.
    """

    field: str
    label: Callable[[Json], str]
    train: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class TrainedVariant:
    """A model that was trained here; without PSR it is run without it, too."""

    label: str
    located: Located
    training: Json
    uses_psr: bool


def _psr_label(recipe: Json) -> str:
    low, high = recipe["psr"]
    if recipe["psr"] == PSR_OFF:
        return "without PSR"
    return f"with PSR, weight {low:g}" + (f" to {high:g}" if high > low else "")


def _ta_label(recipe: Json) -> str:
    ta = recipe["ta"]
    if ta["form"] == "none":
        return "without TA, plain ADD"
    names = ("mu", "nu") if ta["form"] == "exponential" else ("gamma", "kappa")
    official = ", official index" if ta.get("indexing") == "official" else ""
    return f"TA-ADD {ta['form']}, {', '.join(f'{n}={ta[n]:g}' for n in names)}{official}"


def _teacher_label(recipe: Json) -> str:
    sees = recipe["teacher_sees"]
    sees = {"hr": TEACHER_INPUTS, "lr": []}[sees] if isinstance(sees, str) else sees
    return f"teacher sees HR in {', '.join(sees)}" if sees else "teacher sees LR alone"


ABLATIONS = {
    "psr": Ablation(
        field="psr",
        label=_psr_label,
        train={
            "with PSR, weight 1": "--psr-train-weight 1",
            "without PSR": "--psr-train-weight off",
        },
    ),
    "ta": Ablation(
        field="ta",
        label=_ta_label,
        train={
            "TA-ADD exponential, mu=0.5, nu=2.1": "--ta exponential --mu 0.5 --nu 2.1",
            "TA-ADD linear, gamma=0.4, kappa=0.5": "--ta linear",
            "without TA, plain ADD": "--ta none",
        },
    ),
    "teacher": Ablation(
        field="teacher_sees",
        label=_teacher_label,
        train={
            "teacher sees HR in control, tagger, text": "--teacher-sees hr",
            "teacher sees HR in control": "--teacher-sees control",
            "teacher sees LR alone": "--teacher-sees lr",
        },
    ),
}


def find_variants(name: str, folders: Sequence[Path]) -> list[TrainedVariant]:
    """The trained models in some folders, and in the folders within them, sorted by label.

    Raises UsageError when there is none, UnreadableInput for a damaged record, ModelUnavailable.
    """
    ablation = ABLATIONS[name]
    variants = [
        _variant(ablation, record) for folder in folders for record in sorted({*_records(folder)})
    ]
    if not variants:
        places = ", ".join(map(str, folders))
        train = " and ".join(f"addsr distill {options}" for options in ablation.train.values())
        raise UsageError(
            f"There is no trained model in {places}.", f"Train one with {train}, or set --trained."
        )
    return sorted(variants, key=lambda variant: variant.label)


def missing_variants(name: str, variants: Sequence[TrainedVariant]) -> list[str]:
    """The main variants that were not trained, each with the options that train it."""
    trained = {variant.label for variant in variants}
    wanted = ABLATIONS[name].train
    return [f"{label} ({flags})" for label, flags in wanted.items() if label not in trained]


def other_differences(name: str, variants: Sequence[TrainedVariant]) -> list[str]:
    """Settings besides the compared one in which the trained variants differ."""
    ignored = {*PLACES, *MEMORY, *LOGGING, f"recipe.{ABLATIONS[name].field}"}
    flat = [dict(_flattened(variant.training, ignored)) for variant in variants]
    settings = sorted({name for each in flat for name in each})
    return [name for name in settings if len({json.dumps(each.get(name)) for each in flat}) > 1]


def _records(folder: Path) -> Iterator[Path]:
    for place in (folder, *(sorted(folder.iterdir()) if folder.is_dir() else ())):
        for inner in (place, place / "export"):
            if (inner / RECORD).is_file():
                yield inner / RECORD


def _variant(ablation: Ablation, record: Path) -> TrainedVariant:
    try:
        training = json.loads(record.read_text(encoding="utf-8"))
        recipe = training["recipe"]
        label = ablation.label(recipe)
        uses_psr = recipe["psr"] != PSR_OFF
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
        raise UnreadableInput(
            f"{record} is not the record of a training run: {exc!r}",
            "addsr distill writes it. Leave this folder out of --trained.",
        ) from exc
    return TrainedVariant(
        label=label,
        located=loader.locate(str(record.parent)),
        training=training,
        uses_psr=uses_psr,
    )


def _flattened(
    values: Json,
    ignored: set[str],
    prefix: str = "",
) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        path = prefix + name
        if path in ignored:
            continue
        if isinstance(value, dict):
            yield from _flattened(value, ignored, f"{path}.")
        else:
            yield path, value

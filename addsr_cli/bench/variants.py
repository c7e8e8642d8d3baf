"""What is measured one against another: every combination of the settings that were listed."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import product

from addsr_cli.settings import Color, Precision, Settings, Start


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """Values to go through; an empty list means the default alone. ``base`` holds everything that does not vary."""

    steps: Sequence[int] = ()
    psr: Sequence[float] = ()
    start: Sequence[Start] = ()
    color: Sequence[Color] = ()
    precision: Sequence[Precision] = ()
    base: Settings = field(default_factory=Settings)


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One combination, and the words that tell it from the others."""

    settings: Settings
    precision: Precision
    label: str


def variants(sweep: Sweep, usual_steps: Sequence[int]) -> list[Variant]:
    """All combinations, without those that cannot differ: PSR does nothing in a single step.

    Raises UsageError for values that ``Settings`` or the planner refuse.
    """
    found: dict[tuple[Settings, str], Variant] = {}
    for steps, psr, start, color, precision in product(
        sweep.steps or usual_steps,
        sweep.psr or (None,),
        sweep.start or (None,),
        sweep.color or (None,),
        sweep.precision or ("auto",),
    ):
        settings = replace(sweep.base, steps=steps)
        words = [f"{steps} step{'' if steps == 1 else 's'}"]
        if psr is not None and steps > 1:
            settings = replace(settings, psr=psr)
            words.append(f"psr {psr:g}")
        if start is not None:
            settings = replace(settings, start=start)
            words.append(f"from {start}")
        if color is not None:
            settings = replace(settings, color=color)
            words.append(f"color {color}")
        if sweep.precision:
            words.append(precision)
        variant = Variant(
            settings=settings,
            precision=precision,
            label=", ".join(words),
        )
        found.setdefault((settings, precision), variant)
    return list(found.values())


def usual_steps(rule: str, default: int) -> tuple[int, ...]:
    """Steps to measure when none are given: one and four for AddSR's few, else what the model is made for."""
    return (1, 4) if rule == "renoise" else (default,)

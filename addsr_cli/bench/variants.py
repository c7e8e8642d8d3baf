"""The combinations of settings that a benchmark compares."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Annotated, TypeVar, get_args

from addsr_cli.errors import UsageError
from addsr_cli.models.architecture import ModelSpec
from addsr_cli.options import Option, with_overrides
from addsr_cli.settings import Color, Precision, SeedOption, Settings, Start, TilesOption

T = TypeVar("T")
PANEL = "Sweeps: lists; every combination is measured"

_list_option = partial(
    Option,
    panel=PANEL,
    metavar="A,B...",
    variable=False,
)


def split_list(text: str) -> tuple[str, ...]:
    """``a, b`` as ("a", "b")."""
    return tuple(item.strip() for item in text.split(",") if item.strip())


def _parse_numbers(flag: str, kind: Callable[[str], T]) -> Callable[[str], tuple[T, ...]]:
    """A parser of ``1,4``. It raises UsageError."""

    def parse(text: str) -> tuple[T, ...]:
        try:
            return tuple(kind(item) for item in split_list(text))
        except ValueError as exc:
            raise UsageError(
                f"{flag} {text} is not a list of numbers.", f"Write {flag} 1,4."
            ) from exc

    return parse


def _parse_choices(flag: str, choices: Sequence[str]) -> Callable[[str], tuple[str, ...]]:
    """A parser of ``lr,noise``. It raises UsageError for an item that is not one of ``choices``."""

    def parse(text: str) -> tuple[str, ...]:
        items = split_list(text)
        unknown = [item for item in items if item not in choices]
        if unknown:
            raise UsageError(f"{flag} {unknown[0]} is unknown.", f"Use {', '.join(choices)}.")
        return items

    return parse


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """Values of which every combination is measured; an empty list means the default alone."""

    steps: Annotated[
        Sequence[int],
        _list_option(
            "Numbers of steps.",
            default="1,4",
            parse=_parse_numbers("--steps", int),
        ),
    ] = ()
    psr: Annotated[
        Sequence[float], _list_option("PSR weights.", parse=_parse_numbers("--psr", float))
    ] = ()
    start: Annotated[
        Sequence[Start],
        _list_option("lr, noise.", parse=_parse_choices("--start", get_args(Start))),
    ] = ()
    color: Annotated[
        Sequence[Color],
        _list_option(
            "wavelet, adain, lab, none.", parse=_parse_choices("--color", get_args(Color))
        ),
    ] = ()
    precision: Annotated[
        Sequence[Precision],
        _list_option(
            "auto, fp32, bf16, fp16.", parse=_parse_choices("--precision", get_args(Precision))
        ),
    ] = ()
    seed: SeedOption = 0
    tiles: TilesOption = "auto"

    @property
    def base(self) -> Settings:
        """The settings that all variants share."""
        return Settings(seed=self.seed, tiles=self.tiles)


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One combination; ``label`` names what distinguishes it from the others."""

    settings: Settings
    precision: Precision
    label: str


def variants(sweep: Sweep, default_steps: Sequence[int | None]) -> list[Variant]:
    """All combinations that differ: PSR has no effect on a single step.

    Steps of None are one pass without steps.

    Raises UsageError for values that ``Settings`` refuses.
    """
    unique: dict[tuple[Settings, Precision], Variant] = {}
    combinations = product(
        sweep.steps or default_steps,
        sweep.psr or (None,),
        sweep.start or (None,),
        sweep.color or (None,),
        sweep.precision or ("auto",),
    )
    for steps, psr, start, color, precision in combinations:
        changes: dict[str, object] = {"steps": steps}
        labels = ["one pass"]
        if steps is not None:
            labels = [f"{steps} step{'' if steps == 1 else 's'}"]
        if psr is not None and (steps or 0) > 1:
            changes["psr"] = psr
            labels.append(f"psr {psr:g}")
        if start is not None:
            changes["start"] = start
            labels.append(f"from {start}")
        if color is not None:
            changes["color"] = color
            labels.append(f"color {color}")
        if sweep.precision:
            labels.append(precision)
        settings = with_overrides(sweep.base, changes)
        variant = Variant(
            settings=settings,
            precision=precision,
            label=", ".join(labels),
        )
        unique.setdefault((settings, precision), variant)
    return list(unique.values())


def for_model(sweep: Sweep, spec: ModelSpec) -> tuple[Sweep, list[str]]:
    """The sweep without what the model makes no use of, and what that was."""
    if spec.native_scale is not None:
        ignored = [name for name in ("steps", "psr", "start", "color") if getattr(sweep, name)]
        return replace(sweep, steps=(), psr=(), start=(), color=()), ignored
    most = spec.most_steps
    if most is None or max(sweep.steps, default=0) <= most:
        return sweep, []
    steps = tuple(dict.fromkeys(min(count, most) for count in sweep.steps))
    return replace(sweep, steps=steps), [f"steps above {most}"]


def default_steps(spec: ModelSpec) -> tuple[int | None, ...]:
    """Steps to measure by default: one and four for AddSR, else the model's own number."""
    if spec.native_scale is not None:
        return (None,)
    if spec.scheduler == "consistency" and spec.most_steps is None:
        return (1, 4)
    return (spec.default_steps,)

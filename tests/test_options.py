from dataclasses import dataclass, field
from typing import Annotated, Literal

import pytest

from addsr_cli.errors import UsageError
from addsr_cli.options import (
    Option,
    check_choices,
    parse_memory,
    parse_pixels,
    parse_scale,
    with_overrides,
)


@dataclass(frozen=True, kw_only=True)
class Inner:
    weight: Annotated[float, Option("A weight.")] = 1.0
    power: float = 2.0


@dataclass(frozen=True, kw_only=True)
class Outer:
    inner: Inner = field(default_factory=Inner)
    mode: Annotated[Literal["fast", "exact"], Option("The mode.", flags=("--how",))] = "fast"


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("2G", 2e9),
        ("500MB", 5e8),
        ("1.5GiB", 1.5 * 2**30),
        ("700m", 7e8),
        ("3000000000", 3e9),
    ],
)
def test_memory_may_be_written_in_many_ways(text, amount):
    assert parse_memory(text) == amount


def test_the_memory_of_a_gpu_counts_in_powers_of_1024():
    assert parse_memory("40G", "--memory", binary=True) == 40 * 2**30


def test_pixels_are_a_whole_number_or_auto():
    parse = parse_pixels("--tile")
    assert (parse("auto"), parse("512")) == (None, 512)
    with pytest.raises(UsageError, match="--tile big"):
        parse("big")


@pytest.mark.parametrize("text", ["2.5", "2.5x", "x2.5", " 2.5X "])
def test_a_scale_may_be_written_with_an_x(text):
    assert parse_scale(text) == 2.5


def test_a_flag_names_the_option_in_files_and_in_the_environment():
    option = Option("Help.", flags=("--offload/--no-offload",))
    assert option.name("anything") == "offload"
    assert option.environment_variable("anything") == "ADDSR_OFFLOAD"
    assert Option("Help.").flag("max_memory") == "--max-memory"
    assert Option("Help.", variable=False).environment_variable("steps") is None


def test_overrides_reach_nested_dataclasses():
    changed = with_overrides(Outer(), {"mode": "exact", "inner": {"weight": 3.0}})
    assert changed == Outer(mode="exact", inner=Inner(weight=3.0))


def test_a_value_outside_the_choices_is_refused_with_its_flag():
    check_choices(Outer())
    with pytest.raises(UsageError, match="--how must be one of fast, exact, not slow"):
        check_choices(Outer(mode="slow"))

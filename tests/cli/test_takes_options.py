from dataclasses import dataclass, field
from inspect import signature
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from addsr_cli.cli.command import Command
from addsr_cli.cli.takes_options import Only, OverridesOf, takes_options
from addsr_cli.options import Option


@dataclass(frozen=True, kw_only=True)
class Inner:
    weight: Annotated[float, Option("A weight.")] = 1.5


@dataclass(frozen=True, kw_only=True)
class Outer:
    inner: Inner = field(default_factory=Inner)
    names: Annotated[tuple[str, ...], Option("Names.", flags=("--name",))] = ()
    size: Annotated[int | None, Option("A size.", default="auto", parse=int)] = None
    hidden: int = 0


@pytest.fixture
def run():
    """Return a function that calls a command line and returns the parsed options."""

    def call(command, *arguments):
        app = typer.Typer()
        app.command(cls=Command)(takes_options(command))
        outcome = CliRunner().invoke(app, arguments)
        assert outcome.exit_code == 0, outcome.output
        return outcome.output

    return call


def test_a_dataclass_is_built_from_the_options_of_its_fields(run):
    calls = []

    def command(outer: Outer) -> None:
        calls.append(outer)

    run(command)
    run(command, "--weight", "3", "--name", "a", "--name", "b", "--size", "7")
    assert calls == [Outer(), Outer(inner=Inner(weight=3.0), names=("a", "b"), size=7)]


def test_overrides_hold_only_options_that_were_set(run):
    calls = []

    def command(values: Annotated[dict[str, Any], OverridesOf(Outer)]) -> None:
        calls.append(values)

    run(command)
    run(command, "--weight", "1.5", "--size", "7")
    assert calls == [{"inner": {}}, {"inner": {"weight": 1.5}, "size": 7}]


def test_only_the_named_options_are_offered():
    def command(outer: Annotated[Outer, Only("weight")]) -> None: ...

    assert list(signature(takes_options(command)).parameters) == ["weight"]


def test_the_help_shows_the_default_of_a_field(run, monkeypatch):
    def command(values: Annotated[dict[str, Any], OverridesOf(Outer)]) -> None: ...

    monkeypatch.setenv("COLUMNS", "200")
    text = run(command, "--help")
    assert "A weight. [default: 1.5]" in text
    assert "A size. [default: auto]" in text

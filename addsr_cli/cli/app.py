"""The ``addsr`` command: its subcommands, and how every failure leaves the program."""

import os
import sys
from contextlib import suppress
from functools import cache
from types import TracebackType
from typing import Annotated, cast

import typer
from typer.core import TyperGroup
from typer.main import get_command

from addsr_cli.cli import batch, bench, compare, config, distill, doctor, models, upscale
from addsr_cli.cli.command import Command, Group, insert_default_command
from addsr_cli.cli.config import Defaults
from addsr_cli.cli.console import Console
from addsr_cli.cli.records import error_record
from addsr_cli.errors import AddsrError, OutputRefused, UsageError
from addsr_cli.version import __version__

INTERRUPTED = 130
YES = ("1", "true", "t", "yes", "y", "on")

app = typer.Typer(
    name="addsr",
    cls=Group,
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)
app.command("upscale", cls=Command)(upscale.upscale)
app.command("batch", cls=Command)(batch.batch)
app.command("compare", cls=Command)(compare.compare)
app.command("bench", cls=Command)(bench.bench)
app.command("distill", cls=Command)(distill.distill)
app.command("doctor", cls=Command)(doctor.doctor)
app.add_typer(models.app, name="models")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"addsr {__version__}")
        raise typer.Exit


@app.callback()
def addsr(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            "-V",
            help="Print the version and leave.",
            callback=_version,
            is_eager=True,
        ),
    ] = False,
) -> None:
    """Make photos larger and better. `addsr PHOTO` is short for `addsr upscale PHOTO`."""


def run(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code; failures that addsr foresees become one line each."""
    given = sys.argv[1:] if arguments is None else arguments
    words = insert_default_command(given, _group())
    defaults = Defaults()
    try:
        defaults = config.load_defaults(_options())
        if not _asked("debug", words, defaults):
            sys.excepthook = _unexpected
        return _finished(_parsed(words, defaults), words, defaults)
    except KeyboardInterrupt:
        return _finished(INTERRUPTED, words, defaults)
    except AddsrError as exc:
        json = _asked("json", words, defaults)
        console = Console(json=json, debug=_asked("debug", words, defaults))
        console.error(exc)
        if json:
            with suppress(OutputRefused):  # stdout itself may be what failed
                console.result("", {"status": "failed", "error": error_record(exc)})
        return exc.exit_code


def _options() -> dict[str, frozenset[str]]:
    """Names of the options of every command."""
    return {
        name: frozenset(param.name for param in command.params if param.name)
        for name, command in _group().commands.items()
    }


@cache
def _group() -> TyperGroup:
    return cast("TyperGroup", get_command(app))


def _parsed(words: list[str], defaults: Defaults) -> int:
    """Parse and call; what the parser refuses becomes one sentence instead of its box."""
    try:
        code = _group()(
            words,
            prog_name="addsr",
            default_map=defaults.values,
            obj=defaults,
            standalone_mode=False,
        )
    except typer.TyperException as exc:
        sentence = " ".join(exc.format_message().split())
        if not sentence:  # no arguments at all: the help has been shown
            return exc.exit_code
        name = next((f" {word}" for word in words if word in defaults.values), "")
        raise UsageError(
            sentence if sentence.endswith((".", "?")) else f"{sentence}.",
            f"See addsr{name} --help.",
        ) from exc
    except SystemExit as exc:
        code = exc.code
    return code if isinstance(code, int) else 0


def _finished(code: int, words: list[str], defaults: Defaults) -> int:
    if code == INTERRUPTED and not ("-q" in words or _asked("quiet", words, defaults)):
        Console().info("Interrupted. No half-written file was left behind.")
    return code


def _asked(option: str, words: list[str], defaults: Defaults) -> bool:
    """Whether a switch is on, by flag, environment or file: needed even where parsing itself fails."""
    if f"--{option}" in words:
        return True
    if variable := os.environ.get(f"ADDSR_{option.upper()}"):
        return variable.lower() in YES
    command = next((word for word in words if word in defaults.values), "")
    return bool(defaults.values.get(command, {}).get(option))


def _unexpected(kind: type[BaseException], exc: BaseException, trace: TracebackType | None) -> None:
    """Last resort, in place of a traceback; Python then leaves with 1."""
    line = " ".join(str(exc).split())[:300]
    Console().info(
        f"error: unexpected {kind.__name__}: {line}\n  Run it again with --debug and report what it prints."
    )

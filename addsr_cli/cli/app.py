"""The ``addsr`` command: its subcommands, and how errors become messages and exit codes."""

import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from types import TracebackType
from typing import Annotated, Any, cast

import typer
from typer.core import TyperGroup
from typer.main import get_command

from addsr_cli.cli import (
    batch,
    bench,
    compare,
    config,
    config_commands,
    distill,
    doctor,
    models,
    serve,
    upscale,
    verify,
)
from addsr_cli.cli.command import Command, CommandGroup, insert_default_command
from addsr_cli.cli.config import Defaults
from addsr_cli.cli.console import Console
from addsr_cli.cli.exit_codes import INTERRUPTED
from addsr_cli.errors import AddsrError, OutputRefused, UsageError
from addsr_cli.version import __version__

TRUE_VALUES = ("1", "true", "t", "yes", "y", "on")  # of environment variables, as Typer has them

app = typer.Typer(
    name="addsr",
    cls=CommandGroup,
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)
app.command("upscale", cls=Command)(upscale.upscale)
app.command("batch", cls=Command)(batch.batch)
app.command("compare", cls=Command)(compare.compare)
app.command("verify", cls=Command)(verify.verify)
app.command("serve", cls=Command)(serve.serve)
app.command("bench", cls=Command)(bench.bench)
app.command("distill", cls=Command)(distill.distill)
app.command("doctor", cls=Command)(doctor.doctor)
app.add_typer(models.app, name="models")
app.add_typer(config_commands.app, name="config")


def _print_version(requested: bool) -> None:
    if requested:
        typer.echo(f"addsr {__version__}")
        raise typer.Exit


@app.callback()
def addsr(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            "-V",
            help="Show the version and exit.",
            callback=_print_version,
            is_eager=True,
        ),
    ] = False,
) -> None:
    """Upscale photos with few-step diffusion. `addsr PHOTO` is short for `addsr upscale PHOTO`."""


def run(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code.

    An AddsrError becomes a one-line message, any other exception too unless ``--debug`` is set.
    """
    if arguments is None:
        arguments = sys.argv[1:]
    arguments = insert_default_command(arguments, _group())
    defaults = Defaults()
    try:
        defaults = config.load_defaults(_option_names())
        if not _is_set("debug", arguments, defaults):
            sys.excepthook = _print_unexpected
        code = _parse_and_call(arguments, defaults)
    except KeyboardInterrupt:
        code = INTERRUPTED
    except AddsrError as exc:
        _print_error(exc, arguments, defaults)
        return exc.exit_code
    quiet = "-q" in arguments or _is_set("quiet", arguments, defaults)
    if code == INTERRUPTED and not quiet:
        Console().info("Interrupted. No incomplete file was left behind.")
    return code


def _option_names() -> dict[str, frozenset[str]]:
    """Return the names of the options of every command."""
    return {
        name: frozenset(param.name for param in command.params if param.name)
        for name, command in _group().commands.items()
    }


@cache
def _group() -> TyperGroup:
    return cast("TyperGroup", get_command(app))


def _default_map(values: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The options of files by command; one value stands for a list of one where they may repeat."""
    filled = {}
    for command, options in values.items():
        params = getattr(_group().commands.get(command), "params", ())
        repeatable = {param.name for param in params if getattr(param, "multiple", False)}
        filled[command] = {
            name: [value] if name in repeatable and not isinstance(value, list) else value
            for name, value in options.items()
        }
    return filled


def _parse_and_call(arguments: list[str], defaults: Defaults) -> int:
    """Run the command and return its exit code. Raises UsageError for what the parser rejects."""
    try:
        code = _group()(
            arguments,
            prog_name="addsr",
            default_map=_default_map(defaults.values),
            obj=defaults,
            standalone_mode=False,
        )
    except typer.TyperException as exc:
        message = " ".join(exc.format_message().split())
        if not message:  # no arguments at all: the parser has printed the help
            return exc.exit_code
        if not message.endswith((".", "?")):
            message += "."
        command = _command_name(arguments, defaults)
        raise UsageError(message, f"See {' '.join(['addsr', *command])} --help.") from exc
    except SystemExit as exc:
        code = exc.code
    return code if isinstance(code, int) else 0


def _print_error(
    exc: AddsrError,
    arguments: list[str],
    defaults: Defaults,
) -> None:
    console = Console(
        json=_is_set("json", arguments, defaults),
        debug=_is_set("debug", arguments, defaults),
    )
    console.error(exc)
    if console.json:
        with suppress(OutputRefused):  # stdout itself may be what failed
            console.result("", {"status": "failed", "error": exc.record()})


def _is_set(
    switch: str,
    arguments: list[str],
    defaults: Defaults,
) -> bool:
    """Whether a switch is on by flag, environment or file; works even if parsing fails."""
    if f"--{switch}" in arguments:
        return True
    if variable := os.environ.get(f"ADDSR_{switch.upper()}"):
        return variable.lower() in TRUE_VALUES
    return any(
        bool(defaults.values[command].get(switch)) for command in _command_name(arguments, defaults)
    )


def _command_name(arguments: list[str], defaults: Defaults) -> list[str]:
    """Return the first argument that names a command, or nothing."""
    return [argument for argument in arguments if argument in defaults.values][:1]


def _print_unexpected(
    kind: type[BaseException],
    exc: BaseException,
    trace: TracebackType | None,
) -> None:
    """Print an exception that is no AddsrError, as ``sys.excepthook``; Python then exits with 1."""
    text = " ".join(str(exc).split())[:300]
    Console().info(
        f"error: unexpected {kind.__name__}: {text}\n"
        "  Run the command again with --debug and report the output."
    )

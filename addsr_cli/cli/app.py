"""The ``addsr`` command: its subcommands, and how every failure leaves the program."""

import sys
from types import TracebackType
from typing import Annotated

import typer
from typer.main import get_command

from addsr_cli.cli import config, distill, doctor, upscale
from addsr_cli.cli.console import Console
from addsr_cli.errors import AddsrError
from addsr_cli.version import __version__

INTERRUPTED = 130

app = typer.Typer(
    name="addsr",
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)
app.command("upscale")(upscale.upscale)
app.command("distill")(distill.distill)
app.command("doctor")(doctor.doctor)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"addsr {__version__}")
        raise typer.Exit


@app.callback()
def addsr(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and leave.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Make photos larger and better."""


def run(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code; failures that addsr foresees become one line each."""
    words = sys.argv[1:] if arguments is None else arguments
    console = Console(json="--json" in words, quiet="--quiet" in words or "-q" in words)
    debug = "--debug" in words
    if not debug:
        sys.excepthook = _unexpected
    try:
        get_command(app)(words, prog_name="addsr", default_map=config.defaults())
    except SystemExit as exc:
        if exc.code == INTERRUPTED:
            console.say("Interrupted. No half-written file was left behind.")
        return exc.code if isinstance(exc.code, int) else 0
    except AddsrError as exc:
        if debug:
            raise
        console.failed(exc)
        return exc.exit_code
    return 0


def _unexpected(kind: type[BaseException], exc: BaseException, trace: TracebackType | None) -> None:
    """Last resort, in place of a traceback; Python then leaves with 1."""
    line = " ".join(str(exc).split())[:300]
    Console().say(f"error: unexpected {kind.__name__}: {line}\n  Run it again with --debug and report what it prints.")

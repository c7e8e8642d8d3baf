"""How every command is called: settings from files and the environment take their places, and are told."""

import os
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from addsr_cli.cli import config
from addsr_cli.cli.config import Defaults
from addsr_cli.cli.console import Console

LONGEST_TYPE = (
    20  # columns; a longer list of choices stands in the help text, where lines can be broken
)
STRENGTH = {"COMMANDLINE": 3, "ENVIRONMENT": 2, "DEFAULT_MAP": 1}


class Command(TyperCommand):
    """A command whose stronger settings silence weaker ones, and that tells which a file set."""

    def __init__(self, *words: Any, **more: Any) -> None:  # noqa: ANN401 (the parser's own types)
        super().__init__(*words, **more)
        for param in self.params:
            _describe(param)

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 (the parser's own types)
        """Settle what was asked for, tell what came from files, and call the function."""
        strengths = {name: STRENGTH.get(_source(ctx, name), 0) for name in ctx.params}
        void = config.overridden(strengths) | _other_formats(ctx.params, strengths)
        for param in self.params:
            if param.name in void:
                ctx.params[param.name] = param.default
                strengths[param.name] = 0
        if isinstance(ctx.obj, Defaults):
            console = Console(
                quiet=ctx.params.get("quiet", False), verbose=ctx.params.get("verbose", False)
            )
            from_files = [
                name for name, strength in strengths.items() if strength == STRENGTH["DEFAULT_MAP"]
            ]
            _tell(ctx.obj, str(ctx.info_name), from_files, strengths, console)
        return super().invoke(ctx)


class Group(TyperGroup):
    """The program: a photo in the place of a command means ``upscale``."""

    def parse_args(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401 (the parser's own types)
        """Put the command in front that was left out; also while a shell completes a line."""
        return super().parse_args(ctx, insert_default_command(args, self))


def insert_default_command(words: list[str], group: TyperGroup) -> list[str]:
    """``photo.jpg`` -> ``upscale photo.jpg``; words that begin with a command, or could be one, stay."""
    first = words[0] if words else ""
    if not first or first in group.commands:
        return words
    if first.startswith("-") and first != "-":
        flags = {
            flag
            for param in group.commands["upscale"].params
            for flag in param.opts + param.secondary_opts
        }
        own = {"-h", "--help"} | {flag for param in group.params for flag in param.opts}
        flag = first.partition("=")[0]
        return ["upscale", *words] if flag in flags - own else words
    names_a_file = first == "-" or any(mark in first for mark in "./\\") or os.path.lexists(first)
    return ["upscale", *words] if names_a_file else words


def _describe(param: Any) -> None:  # noqa: ANN401 (the parser's own types)
    """Make the help of an option tell its default and choices, in lines that can be broken between words."""
    text = param.help or ""
    choices = getattr(param.type_descriptor, "choices", None) or ()
    if param.metavar is None and len("|".join(map(str, choices))) > LONGEST_TYPE:
        head, mark, tail = text.rstrip(".").partition(" [default: ")
        text = f"{head.rstrip('.')}: {', '.join(map(str, choices))}.{mark}{tail}"
        param.metavar = "<choice>"
    param.help = text.replace("[default: ", "\\[default: ")  # else it would be taken for markup


def _source(ctx: typer.Context, name: str) -> str:
    return getattr(ctx.get_parameter_source(name), "name", "")


def _other_formats(values: dict[str, Any], strengths: dict[str, int]) -> set[str]:
    """``format``, where a file name from a stronger source says another one."""
    strongest = max(strengths.get("output", 0), strengths.get("name", 0))
    if not 0 < strengths.get("format", 0) < strongest:
        return set()
    from addsr_cli.imageio import format_from_suffix

    names = [values[key] for key in ("output", "name") if strengths.get(key, 0) == strongest]
    return {"format"} if any(format_from_suffix(Path(name)) for name in names) else set()


def _tell(
    found: Defaults,
    command: str,
    names: list[str],
    strengths: dict[str, int],
    console: Console,
) -> None:
    """Say what a file in the working folder set, or may not set; with --verbose the user's own."""
    own, folder = config.config_paths()
    values, origins = found.values.get(command, {}), found.origins.get(command, {})
    for path, say in ((own, console.detail), (folder, console.info)):
        settings = [(name, values[name]) for name in names if origins.get(name) == path]
        if settings:
            say(f"{path} sets {config.to_toml(settings)}")
    refused = [key for key in found.refused.get(command, ()) if not strengths.get(key)]
    if refused:
        console.warn(
            f"{folder} in the working folder may not set {' and '.join(refused)}, which "
            f"{'has' if len(refused) == 1 else 'have'} no effect; type it, or write it into {own}"
        )

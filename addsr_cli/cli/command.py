"""Commands whose options may come from files and the environment, where stronger sources win."""

import os
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from addsr_cli.cli import config, intents
from addsr_cli.cli.config import Defaults
from addsr_cli.cli.console import Console
from addsr_cli.cli.escape import printable
from addsr_cli.errors import UsageError

# In columns. A longer list of choices goes to the help text, where lines can be wrapped.
MAX_TYPE_WIDTH = 20
FROM_FILE = 2
# Of a value's source. An intent is one weaker than the source that it comes from.
STRENGTH = {"COMMANDLINE": 6, "ENVIRONMENT": 4, "DEFAULT_MAP": FROM_FILE}


class Command(TyperCommand):
    """A command that resolves options from several sources and reports those from files."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 (those of the base class)
        super().__init__(*args, **kwargs)
        for param in self.params:
            _complete_help(param)

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 (those of the base class)
        """Reset overridden options, report options from files, and call the function."""
        strengths = {name: STRENGTH.get(_source(ctx, name), 0) for name in ctx.params}
        repeated = _apply_like(ctx.params, strengths)
        bundle = _apply_intent(ctx.params, strengths)
        overridden = config.overridden(strengths) | _overridden_format(ctx.params, strengths)
        for param in self.params:
            if param.name in overridden:
                ctx.params[param.name] = param.default
                strengths[param.name] = 0
        if isinstance(ctx.obj, Defaults):
            console = Console(
                quiet=ctx.params.get("quiet", False),
                verbose=ctx.params.get("verbose", False),
            )
            _report_files(
                ctx.obj,
                str(ctx.info_name),
                strengths,
                console,
            )
            for flag, name, options in (("--like", "like", repeated), ("--for", "intent", bundle)):
                if options:
                    in_effect = {key: options[key] for key in sorted(options.keys() - overridden)}
                    text = config.to_toml(in_effect)
                    console.info(f"{flag} {printable(ctx.params[name])} sets {text}")
        return super().invoke(ctx)


def _apply_like(values: dict[str, Any], strengths: dict[str, int]) -> intents.Bundle:
    """Set the options that are embedded in the file of ``--like``; return those that were set.

    Raises UsageError where that was made with a mask, and none is given here.
    """
    path = values.get("like")
    if not path:
        return {}
    from addsr_cli.engine.provenance import read_provenance

    origin = read_provenance(Path(path))
    if origin.mask_sha256 and strengths.get("protect", 0) < strengths["like"]:
        raise UsageError(
            f"{path} was protected by a mask, which is not in it.",
            'Add --protect MASK with its path, or --protect "" to do without.',
        )
    bundle = origin.options | {"model": origin.model}
    return intents.apply(values, strengths, bundle, strengths["like"] - 1)


def _apply_intent(values: dict[str, Any], strengths: dict[str, int]) -> intents.Bundle:
    """Set the options of ``--for`` and return those that were set."""
    intent = values.get("intent")
    if not intent:
        return {}
    strength = strengths["intent"] - 1
    return intents.apply(values, strengths, intents.options_for(intent), strength)


class CommandGroup(TyperGroup):
    """The program: a photo in the place of a command means ``upscale``."""

    def parse_args(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401 (those of the base class)
        """Insert a missing command; also while a shell completes a line."""
        return super().parse_args(ctx, insert_default_command(args, self))


def insert_default_command(arguments: list[str], group: TyperGroup) -> list[str]:
    """``photo.jpg`` -> ``upscale photo.jpg``; arguments that may start with a command stay."""
    first = arguments[0] if arguments else ""
    if not first or first in group.commands:
        return arguments
    if _is_upscale_flag(first, group) or _is_photo(first):
        return ["upscale", *arguments]
    return arguments


def _is_upscale_flag(argument: str, group: TyperGroup) -> bool:
    if not argument.startswith("-") or argument == "-":
        return False
    flags: set[str] = set()
    for param in group.commands["upscale"].params:
        flags |= {*param.opts, *param.secondary_opts}
    own_flags = {"-h", "--help"}
    for param in group.params:
        own_flags |= set(param.opts)
    return argument.partition("=")[0] in flags - own_flags


def _is_photo(argument: str) -> bool:
    """Whether an argument is a path, ``-`` for stdin, or the name of a file in this folder."""
    if argument.startswith("-"):
        return argument == "-"
    return any(mark in argument for mark in "./\\") or os.path.lexists(argument)


def _complete_help(param: Any) -> None:  # noqa: ANN401 (a parameter of the parser's own types)
    """Move a long list of choices into the help text, and protect ``[default: ...]`` from rich."""
    text = param.help or ""
    choices = [str(choice) for choice in getattr(param.type_descriptor, "choices", None) or ()]
    if param.metavar is None and len("|".join(choices)) > MAX_TYPE_WIDTH:
        head, mark, tail = text.rstrip(".").partition(" [default: ")
        text = f"{head.rstrip('.')}: {', '.join(choices)}.{mark}{tail}"
        param.metavar = "<choice>"
    param.help = text.replace("[default: ", "\\[default: ")


def _source(ctx: typer.Context, name: str) -> str:
    return getattr(ctx.get_parameter_source(name), "name", "")


def _overridden_format(values: dict[str, Any], strengths: dict[str, int]) -> set[str]:
    """``format``, if a file name from a stronger source has the suffix of a format."""
    strongest = max(strengths.get("output", 0), strengths.get("name", 0))
    if not 0 < strengths.get("format", 0) < strongest:
        return set()
    from addsr_cli.imageio import format_from_suffix

    names = [values[key] for key in ("output", "name") if strengths.get(key, 0) == strongest]
    return {"format"} if any(format_from_suffix(Path(name)) for name in names) else set()


def _report_files(
    defaults: Defaults,
    command: str,
    strengths: dict[str, int],
    console: Console,
) -> None:
    """Print options set by the working folder's file, and with --verbose those of the user's."""
    user_file, folder_file = config.config_paths()
    values = defaults.values.get(command, {})
    origins = defaults.origins.get(command, {})
    names = [name for name, strength in strengths.items() if strength == FROM_FILE]
    for path, report in ((user_file, console.detail), (folder_file, console.info)):
        options = {name: values[name] for name in names if origins.get(name) == path}
        if options:
            report(f"{path} sets {config.to_toml(options)}")
    refused = [name for name in defaults.refused.get(command, ()) if not strengths.get(name)]
    if refused:
        console.warn(
            f"ignored {' and '.join(refused)} from {folder_file} in the working folder, which may "
            f"not set it; type it, or write it into {user_file}"
        )

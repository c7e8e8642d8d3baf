"""``addsr config``: show, set and locate the default options of configuration files."""

import os
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from addsr_cli.cli.config import Defaults, config_paths, to_toml
from addsr_cli.cli.console import Console
from addsr_cli.cli.takes_options import Only, takes_options
from addsr_cli.errors import OutputRefused, UsageError

if TYPE_CHECKING:
    from tomlkit import TOMLDocument

app = typer.Typer(
    no_args_is_help=True,
    help="Show, set and locate default options.",
)
TOP_LEVEL = "upscale"  # whose options need no table

Output = Annotated[Console, Only("json", "debug")]
Local = Annotated[
    bool,
    typer.Option(
        "--local", help="Change addsr.toml in the working folder, not your configuration file."
    ),
]
Key = Annotated[
    str,
    typer.Argument(
        help="An option, such as steps, or distill.workers for an option of another command.",
        show_default=False,
    ),
]


@app.command("path")
@takes_options
def path_(console: Output) -> None:
    """Print the paths of your configuration file and of the working folder's."""
    for path, scope in zip(config_paths(), ("user", "folder"), strict=True):
        absolute = path.absolute()
        record = {"path": str(absolute), "scope": scope, "exists": path.is_file()}
        console.result(str(absolute), record)


@app.command("show")
@takes_options
def show(
    context: typer.Context,
    console: Output,
    command: Annotated[
        str, typer.Argument(help="The command whose options are shown.")
    ] = TOP_LEVEL,
) -> None:
    """Show the options that files and the environment set for a command, and where."""
    rows = _set_options(context, command)
    for name, (value, source) in sorted(rows.items()):
        record = {"command": command, "option": name, "value": value, "source": source}
        console.result(f"{to_toml({name: value})}  # {source}", record)
    if not rows:
        console.info(f"nothing is set for {command}; `addsr {command} --help` shows the defaults")


@app.command("set")
@takes_options
def set_(
    context: typer.Context,
    console: Output,
    key: Key,
    value: Annotated[str, typer.Argument(help="Its value.", show_default=False)],
    local: Local = False,
) -> None:
    """Set a default option in your configuration file."""
    command, name = _split(context, key)
    parsed = _checked(context, command, name, value)
    path = _path(local=local)
    document = _read(path)
    _table(document, command, name)[name] = parsed
    _write(path, document)
    record = {"command": command, "option": name, "value": parsed, "source": str(path)}
    console.result(f"{to_toml({name: parsed})}  # {path}", record)


@app.command("unset")
@takes_options
def unset(
    context: typer.Context,
    console: Output,
    key: Key,
    local: Local = False,
) -> None:
    """Remove a default option from your configuration file."""
    command, name = _split(context, key)
    path = _path(local=local)
    document = _read(path)
    table = _table(document, command, name)
    written = next((own for own in table if own.replace("-", "_") == name), None)
    if written is None:
        raise UsageError(f"{path} does not set {key}.", "`addsr config show` shows what is set.")
    del table[written]
    _write(path, document)
    console.info(f"{key} removed from {path}")


def _set_options(context: typer.Context, command: str) -> dict[str, tuple[Any, str]]:
    """Return value and source of every option that a file or the environment sets."""
    commands = _commands(context)
    if command not in commands:
        raise UsageError(f"{command} is not a command.", f"Use {', '.join(sorted(commands))}.")
    defaults = context.find_root().obj
    rows: dict[str, tuple[Any, str]] = {}
    if isinstance(defaults, Defaults):
        origins = defaults.origins.get(command, {})
        for name, value in defaults.values.get(command, {}).items():
            rows[name] = (value, str(origins[name].absolute()))
    for param in commands[command].params:
        variable = getattr(param, "envvar", None)
        if isinstance(variable, str) and variable in os.environ and param.name:
            rows[param.name] = (os.environ[variable], f"${variable}")
    return rows


def _commands(context: typer.Context) -> Mapping[str, Any]:
    """Return the commands of addsr that have options of their own, by name."""
    group: Any = context.find_root().command
    return {name: each for name, each in group.commands.items() if not hasattr(each, "commands")}


def _split(context: typer.Context, key: str) -> tuple[str, str]:
    """Return command and option of ``distill.workers`` or ``steps``. Raises UsageError."""
    command, _, name = key.rpartition(".")
    command, name = command or TOP_LEVEL, name.replace("-", "_").lstrip("_")
    commands = _commands(context)
    if command not in commands:
        raise UsageError(f"{command} is not a command.", f"Use {', '.join(sorted(commands))}.")
    names = [param.name for param in commands[command].params if _is_option(param)]
    if name not in names:
        hint = f"See addsr {command} --help for the names."
        if close := get_close_matches(name, names, n=1):
            hint = f"Did you mean {close[0]}?"
        raise UsageError(f"{command} has no option {name}.", hint)
    return command, name


def _is_option(param: Any) -> bool:  # noqa: ANN401 (a parameter of the parser's own types)
    return param.param_type_name == "option" and param.name != "help"


def _checked(
    context: typer.Context,
    command: str,
    name: str,
    text: str,
) -> Any:  # noqa: ANN401 (whatever TOML holds)
    """Return the value as TOML holds it, if the option takes it. Raises UsageError."""
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    parser = _commands(context)[command]
    param = next(each for each in parser.params if each.name == name)
    try:
        param.process_value(context, value)
    except typer.TyperException as exc:
        raise UsageError(
            f"{name} cannot be {text}: {' '.join(exc.format_message().split())}",
            f"See addsr {command} --help.",
        ) from exc
    return value


def _path(*, local: bool) -> Path:
    user, folder = config_paths()
    return folder if local else user


def _read(path: Path) -> "TOMLDocument":
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    try:
        return tomlkit.parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return tomlkit.document()
    except (OSError, UnicodeDecodeError, TOMLKitError) as exc:
        raise UsageError(
            f"The configuration {path} cannot be read: {exc}", "Correct it, or move it away."
        ) from exc


def _table(
    document: "TOMLDocument",
    command: str,
    name: str,
) -> Any:  # noqa: ANN401 (a table of tomlkit)
    """Return the table that holds an option: the command's own, or else the top level."""
    own = document.get(command)
    if command == TOP_LEVEL and not (isinstance(own, dict) and name in own):
        return document
    if own is None:
        import tomlkit

        document[command] = tomlkit.table()
    return document[command]


def _write(path: Path, document: "TOMLDocument") -> None:
    """Replace the file, with its comments. Raises OutputRefused."""
    from addsr_cli.files import atomic_file

    try:
        with atomic_file(path.resolve()) as temporary:
            temporary.write_text(document.as_string(), encoding="utf-8")
    except OSError as exc:
        raise OutputRefused(
            f"{str(path)!r} cannot be written: {exc.strerror or exc}.",
            "Check the permissions of its folder.",
        ) from exc

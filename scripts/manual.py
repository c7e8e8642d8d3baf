"""Write manual pages and shell completions for packagers: ``python scripts/manual.py FOLDER``.

FOLDER/man1 gets addsr.1 and one page per command, FOLDER/completions a script per shell, all made
from the command line's own declarations. Typer brings its own copy of Click, which the usual
generators of manual pages do not know.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from typer.completion import get_completion_script
from typer.main import get_command

from addsr_cli.cli.app import app
from addsr_cli.version import __version__

COMPLETIONS = {"bash": "addsr.bash", "zsh": "_addsr", "fish": "addsr.fish"}


def main() -> None:
    """Write all pages and completions."""
    parser = argparse.ArgumentParser(description="Write manual pages and shell completions.")
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    write(folder)


def write(folder: Path) -> None:
    """Write all pages and completions into a folder, which is made if it does not exist."""
    pages = folder / "man1"
    scripts = folder / "completions"
    for directory in (pages, scripts):
        directory.mkdir(parents=True, exist_ok=True)
    for context in contexts():
        name = context.command_path.replace(" ", "-")
        (pages / f"{name}.1").write_text(page(context), encoding="utf-8")
    for shell, name in COMPLETIONS.items():
        script = get_completion_script(
            prog_name="addsr",
            complete_var="_ADDSR_COMPLETE",
            shell=shell,
        )
        (scripts / name).write_text(script + "\n", encoding="utf-8")


def contexts() -> Iterator[typer.Context]:
    """The program and every command, subcommands included."""
    command = get_command(app)
    root = typer.Context(command, info_name="addsr")
    queue = [root]
    while queue:
        context = queue.pop(0)
        yield context
        for name, child in getattr(context.command, "commands", {}).items():
            queue.append(typer.Context(child, info_name=name, parent=context))


def page(context: typer.Context) -> str:
    """Return the manual page of one command, in roff's man macros."""
    command: Any = context.command
    name = context.command_path.replace(" ", "-")
    summary = command.get_short_help_str(limit=120).rstrip(".")
    lines = [
        f'.TH "{name.upper()}" "1" "" "addsr {__version__}" "addsr manual"',
        ".SH NAME",
        f"{text(name)} \\- {text(summary)}",
        ".SH SYNOPSIS",
        f".B {text(context.command_path)}",
        text(" ".join(command.collect_usage_pieces(context))),
        ".SH DESCRIPTION",
        *paragraphs(command.help or ""),
    ]
    parameters = [item for item in command.get_params(context) if not getattr(item, "hidden", 0)]
    records = [record for item in parameters if (record := item.get_help_record(context))]
    if records:
        lines.append(".SH OPTIONS")
    for flags, description in records:
        lines += [".TP", f".B {text(flags.strip())}", text(description) or "\\&"]
    children = getattr(command, "commands", {})
    if children:
        lines.append(".SH COMMANDS")
    for child_name, child in children.items():
        lines += [".TP", f".BR {text(f'{name}-{child_name}')} (1)"]
        lines.append(text(child.get_short_help_str(limit=120)))
    return "\n".join(lines) + "\n"


def paragraphs(help_text: str) -> list[str]:
    """Return the lines of a help text, with a macro between its paragraphs."""
    lines = []
    for paragraph in help_text.split("\n\n"):
        lines += [".PP", text(" ".join(paragraph.split()))]
    return lines


def text(plain: str) -> str:
    """Escape what roff would interpret; what Typer has escaped for rich becomes plain before."""
    unescaped = " ".join(plain.split()).replace("\\[", "[")
    escaped = unescaped.replace("\\", "\\e").replace("-", "\\-").replace("`", "")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped


if __name__ == "__main__":
    main()

"""``--open``: shows results in the programs that the desktop uses for such files."""

from collections.abc import Sequence
from pathlib import Path

import typer

from addsr_cli.cli.console import Console
from addsr_cli.serve.desktop import has_display

MAX_OPENED = 10


def open_files(paths: Sequence[Path | None], console: Console) -> None:
    """Open at most `MAX_OPENED` files or folders; None stands for stdout and is left out."""
    files = [path for path in paths if path is not None]
    if len(files) > MAX_OPENED:
        console.info(f"opening the first {MAX_OPENED} of {len(files)} files")
    if files and not has_display():
        console.warn("there is no screen here to open files on")
        return
    for path in files[:MAX_OPENED]:
        if typer.launch(str(path.absolute())) != 0:
            console.warn("no program opens files here; on Linux, install xdg-utils")
            return

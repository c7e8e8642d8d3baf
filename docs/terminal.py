"""Draw docs/terminal.svg: what addsr prints for a few real commands, run in a temporary folder.

Run it from the repository root: ``python docs/terminal.py``.
"""

import os
import shutil
import subprocess
import sys
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).resolve().parents[1]
PHOTO = ROOT / "examples" / "cat.jpg"
WIDTH = 100  # columns
COMMANDS = (
    "addsr cat.jpg",
    "addsr cat.jpg --model small --scale 2 --format png",
    "addsr batch holiday --steps 1",
    "addsr batch holiday --steps 1",
)


def photos(folder: Path) -> None:
    """Put the example photo, and a folder with a copy and a damaged one, into a folder."""
    shutil.copy(PHOTO, folder)
    (folder / "holiday" / "beach").mkdir(parents=True)
    shutil.copy(PHOTO, folder / "holiday")
    shutil.copy(PHOTO, folder / "holiday" / "beach" / "cat.jpg")
    (folder / "holiday" / "beach" / "broken.jpg").write_bytes(PHOTO.read_bytes()[:3000])


def run(command: str, folder: Path) -> str:
    """Run one command with this Python; return all that it prints, as a terminal shows it."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "addsr_cli", *command.split()[1:]],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path, "FORCE_COLOR": "1", "COLUMNS": str(WIDTH)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.stdout


def main() -> None:
    """Run the commands and save the recording."""
    console = Console(record=True, width=WIDTH, file=StringIO(), color_system="truecolor")
    with TemporaryDirectory() as name:
        folder = Path(name)
        photos(folder)
        for command in COMMANDS:
            console.print(Text(f"$ {command}", style="bold"))
            console.print(Text.from_ansi(run(command, folder)))
    console.save_svg("docs/terminal.svg", title="addsr")


if __name__ == "__main__":
    main()

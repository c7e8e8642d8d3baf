"""Opens the page in the browser and the output folder in the file manager of this computer."""

import os
import subprocess
import sys
import webbrowser
from pathlib import Path

from addsr_cli.errors import OutputRefused


def has_display() -> bool:
    """Whether programs with windows can be started; not over SSH or in a container."""
    if sys.platform in ("win32", "darwin"):
        return "SSH_CONNECTION" not in os.environ
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def open_browser(url: str) -> bool:
    """Open a page in the user's browser; False when there is none."""
    if not has_display():
        return False
    try:
        return webbrowser.open(url)
    except (webbrowser.Error, OSError):
        return False


def open_folder(folder: Path) -> None:
    """Show a folder in the file manager. Raises OutputRefused when that is not possible."""
    if not folder.is_dir():
        raise OutputRefused(
            f"The folder {folder.name!r} is no longer there.", "Restart addsr serve."
        )
    if not has_display():
        raise OutputRefused("This computer has no screen to show a folder on.")
    try:
        if sys.platform == "win32":
            os.startfile(folder)
            return
        command = "open" if sys.platform == "darwin" else "xdg-open"
        subprocess.Popen(
            [command, str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as exc:
        raise OutputRefused(
            f"The folder cannot be shown: {exc.strerror}.", f"Its name is {folder.name!r}."
        ) from exc

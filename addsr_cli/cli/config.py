"""Defaults from files: ``addsr.toml`` in the working folder over the user's own configuration.

Keys are option names with underscores, at the top level for every command or in a table named after one command::

    steps = 2
    [upscale]
    color = "adain"
"""

import tomllib
from pathlib import Path
from typing import Any

from addsr_cli.errors import UsageError

FILE = "addsr.toml"
COMMANDS = ("upscale", "distill", "doctor")


def places() -> list[Path]:
    """Configuration files, weakest first; they need not exist."""
    from platformdirs import user_config_path

    return [user_config_path("addsr") / FILE, Path(FILE)]


def defaults() -> dict[str, dict[str, Any]]:
    """Default values by command, as the command line parser wants them."""
    merged: dict[str, dict[str, Any]] = {command: {} for command in COMMANDS}
    for path in places():
        content = _read(path)
        shared = {key: value for key, value in content.items() if not isinstance(value, dict)}
        for command in COMMANDS:
            merged[command] |= _plain(shared) | _plain(content.get(command, {}))
    return merged


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise UsageError(f"The configuration {path} cannot be read: {exc}", "Mend it, or move it away.") from exc


def _plain(table: dict[str, Any]) -> dict[str, Any]:
    return {key.replace("-", "_"): value for key, value in table.items()}

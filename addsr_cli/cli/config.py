"""Defaults from files: ``addsr.toml`` in the working folder over the user's own configuration.

Keys are option names. At the top level they are those of ``addsr upscale`` (``addsr batch`` and ``addsr doctor`` follow
where they have the same option); a table named after a command holds that command's own::

    steps = 2
    [distill]
    workers = 4
"""

import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from addsr_cli.errors import UsageError

FILE = "addsr.toml"
SHARED = ("upscale", "batch", "doctor")  # the commands that top-level keys speak to

Options = Mapping[str, frozenset[str]]


def places() -> list[Path]:
    """Configuration files, weakest first; they need not exist."""
    from platformdirs import user_config_path

    return [user_config_path("addsr") / FILE, Path(FILE)]


def defaults(options: Options) -> dict[str, dict[str, Any]]:
    """Default values by command, as the command line parser wants them; ``options`` are the names each command has.

    Raises UsageError for a file that cannot be read and for a key that no command knows.
    """
    merged: dict[str, dict[str, Any]] = {command: {} for command in options}
    for path in places():
        content = _plain(_read(path))
        tables = {key: content.pop(key) for key in list(content) if key in options and isinstance(content[key], dict)}
        _refuse_unknown(path, "", content, options["upscale"])
        for command, known in options.items():
            table = _plain(tables.get(command, {}))
            _refuse_unknown(path, f"[{command}] ", table, known)
            shared = {key: value for key, value in content.items() if key in known} if command in SHARED else {}
            merged[command] |= shared | table
    return merged


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise UsageError(f"The configuration {path} cannot be read: {exc}", "Mend it, or move it away.") from exc


def _refuse_unknown(path: Path, where: str, table: Mapping[str, Any], known: frozenset[str]) -> None:
    for key in table:
        if key not in known:
            close = get_close_matches(key, known, n=1)
            hint = f"Did you mean {close[0]}?" if close else "See addsr upscale --help for the names."
            raise UsageError(f"The configuration {path} has an unknown key: {where}{key}.", hint)


def _plain(table: Mapping[str, Any]) -> dict[str, Any]:
    return {key.replace("-", "_"): value for key, value in table.items()}

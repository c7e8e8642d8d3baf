"""Default options from ``addsr.toml`` in the working folder and from the user's configuration.

Keys are names of options. At the top level they are those of ``addsr upscale``, and apply to
``addsr batch`` and ``addsr doctor`` as far as these have the same option. A table with the name of
a command holds options of that command::

    steps = 2
    [distill]
    workers = 4

The command line is stronger than the environment, the environment than the working folder's file,
and that than the user's. An option also overrides contradictory ones of weaker sources:
``--longest 500`` on the command line wins over ``scale = 2`` in a file. A file in the working
folder may have come with the photos. So its options are reported, and it can neither allow files
to be replaced nor name outputs outside that folder.
"""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path, PureWindowsPath
from typing import Any

from addsr_cli.errors import UsageError

FILE = "addsr.toml"
TOP_LEVEL_COMMANDS = ("upscale", "batch", "doctor")
OUTPUT_OPTIONS = ("output", "save", "csv", "html", "markdown")

_EXCLUSIVE = (
    ("scale", "width", "height", "longest", "shortest"),
    ("overwrite", "skip_existing"),
    ("json", "print0"),
    ("data", "pairs"),
    ("mix", "degradation"),
)


def _overrides() -> dict[str, tuple[str, ...]]:
    overrides: dict[str, tuple[str, ...]] = {"fidelity": ("steps", "psr")}
    for group in _EXCLUSIVE:
        for name in group:
            overrides[name] = tuple(other for other in group if other != name)
    return overrides


OVERRIDES = _overrides()
"""The options of weaker sources that an option overrides."""


@dataclass(frozen=True, kw_only=True)
class Defaults:
    """Options from configuration files, by command.

    ``values`` are those in effect, ``origins`` the files that they come from; ``refused`` are
    options that a file is not allowed to set.
    """

    values: dict[str, dict[str, Any]] = field(default_factory=dict)
    origins: dict[str, dict[str, Path]] = field(default_factory=dict)
    refused: dict[str, list[str]] = field(default_factory=dict)


def config_paths() -> list[Path]:
    """Return the paths of the configuration files, weakest first; the files need not exist."""
    from platformdirs import user_config_path

    return [user_config_path("addsr") / FILE, Path(FILE)]


def load_defaults(options: Mapping[str, frozenset[str]]) -> Defaults:
    """Read the configuration files; ``options`` are the names of the options of every command.

    Raises UsageError for a file that cannot be read, and for an unknown key.
    """
    defaults = Defaults(
        values={command: {} for command in options},
        origins={command: {} for command in options},
        refused={command: [] for command in options},
    )
    user_file, folder_file = config_paths()
    _load_file(user_file, options, defaults, trusted=True)
    _load_file(
        folder_file,
        options,
        defaults,
        trusted=False,
    )
    return defaults


def _load_file(
    path: Path,
    options: Mapping[str, frozenset[str]],
    defaults: Defaults,
    *,
    trusted: bool,
) -> None:
    top_level = _normalized(_read(path))
    tables: dict[str, dict[str, Any]] = {}
    for key in list(top_level):
        if key in options and isinstance(top_level[key], dict):
            tables[key] = _normalized(top_level.pop(key))
    _check_keys(path, "", top_level, options["upscale"])
    for command, names in options.items():
        table = tables.get(command, {})
        _check_keys(path, f"[{command}] ", table, names)
        if command in TOP_LEVEL_COMMANDS:
            shared = {key: value for key, value in top_level.items() if key in names}
            _add_layer(
                shared,
                defaults,
                command,
                path,
                trusted=trusted,
            )
        _add_layer(
            table,
            defaults,
            command,
            path,
            trusted=trusted,
        )


def _add_layer(
    layer: Mapping[str, Any],
    defaults: Defaults,
    command: str,
    path: Path,
    *,
    trusted: bool,
) -> None:
    """Add the options of one table, which override those of the tables before it."""
    values = defaults.values[command]
    for name, value in layer.items():
        if not trusted and _is_dangerous(name, value):
            defaults.refused[command].append(name)
            continue
        for weaker in OVERRIDES.get(name, ()):
            if weaker not in layer:
                values.pop(weaker, None)
        values[name] = value
        defaults.origins[command][name] = path


def _is_dangerous(name: str, value: object) -> bool:
    """Whether an option allows files to be replaced, or writes outside the working folder."""
    if name == "overwrite":
        return bool(value)
    if name not in OUTPUT_OPTIONS or not isinstance(value, str):
        return False
    path = PureWindowsPath(value)  # understands both kinds of slashes
    return bool(path.anchor) or ".." in path.parts or value.startswith("~")


def overridden(strengths: Mapping[str, int]) -> set[str]:
    """Return the options that have no effect beside contradictory options of stronger sources.

    ``strengths`` are those of the sources of the options; 0 for an option that is not set.
    """
    names = set()
    for name, strength in strengths.items():
        for weaker in OVERRIDES.get(name, ()):
            if 0 < strengths.get(weaker, 0) < strength:
                names.add(weaker)
    return names


def to_toml(options: Mapping[str, object]) -> str:
    """Format options as in a file, on one line: ``steps = 2, color = "lab"``."""
    return ", ".join(
        f"{name} = {json.dumps(value, ensure_ascii=False, default=str)}"
        for name, value in options.items()
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise UsageError(
            f"The configuration {path} cannot be read: {exc}", "Correct it, or move it away."
        ) from exc


def _check_keys(
    path: Path,
    where: str,
    table: Mapping[str, Any],
    names: frozenset[str],
) -> None:
    """Raise UsageError for a key that is not the name of an option."""
    for key in table:
        if key in names:
            continue
        hint = "See addsr upscale --help for the names."
        if close := get_close_matches(key, names, n=1):
            hint = f"Did you mean {close[0]}?"
        raise UsageError(f"The configuration {path} has an unknown key: {where}{key}.", hint)


def _normalized(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return a table with the keys as Python names: ``skip-existing`` is allowed, too."""
    return {key.replace("-", "_"): value for key, value in table.items()}

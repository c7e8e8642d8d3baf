"""Defaults from files: ``addsr.toml`` in the working folder over the user's own configuration.

Keys are option names. At the top level they are those of ``addsr upscale`` (``addsr batch`` and
``addsr doctor`` follow where they have the same option); a table named after a command holds that
command's own::

    steps = 2
    [distill]
    workers = 4

What one source says silences what weaker sources say of the same thing: ``--longest 500`` typed
beats ``scale = 2`` in a file. A file in the working folder, which may have come with the photos, is
told of, and may neither have files replaced nor have any written outside that folder.
"""

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path, PureWindowsPath
from typing import Any

from addsr_cli.errors import UsageError

FILE = "addsr.toml"
SHARED = ("upscale", "batch", "doctor")  # the commands that top-level keys speak to
WRITES_TO = ("output", "save", "csv", "html", "markdown")

_EITHER = (
    ("scale", "width", "height", "longest", "shortest"),
    ("overwrite", "skip_existing"),
    ("json", "print0"),
    ("data", "pairs"),
    ("mix", "degradation"),
)
OVERRIDES: dict[str, tuple[str, ...]] = {
    **{one: tuple(other for other in group if other != one) for group in _EITHER for one in group},
    "fidelity": ("steps", "psr"),
}
"""A setting, and the weaker settings that have no effect beside it."""

Options = Mapping[str, frozenset[str]]


@dataclass(frozen=True, kw_only=True)
class Defaults:
    """What configuration files say, by command: values, the file each came from, and what was not taken."""

    values: dict[str, dict[str, Any]] = field(default_factory=dict)
    origins: dict[str, dict[str, Path]] = field(default_factory=dict)
    refused: dict[str, list[str]] = field(default_factory=dict)


def config_paths() -> list[Path]:
    """Configuration files, weakest first; they need not exist."""
    from platformdirs import user_config_path

    return [user_config_path("addsr") / FILE, Path(FILE)]


def load_defaults(options: Options) -> Defaults:
    """Default values by command, as the command line parser wants them; ``options`` are the names each command has.

    Raises UsageError for a file that cannot be read and for a key that no command knows.
    """
    found = Defaults(
        values={command: {} for command in options},
        origins={command: {} for command in options},
        refused={command: [] for command in options},
    )
    own, *others = config_paths()
    for path in (own, *others):
        content = _plain(_read(path))
        tables = {
            key: content.pop(key)
            for key in list(content)
            if key in options and isinstance(content[key], dict)
        }
        _refuse_unknown(path, "", content, options["upscale"])
        for command, known in options.items():
            table = _plain(tables.get(command, {}))
            _refuse_unknown(path, f"[{command}] ", table, known)
            shared = (
                {key: value for key, value in content.items() if key in known}
                if command in SHARED
                else {}
            )
            for layer in (shared, table):
                _put(layer, found, command, path, trusted=path == own)
    return found


def _put(
    layer: Mapping[str, Any],
    found: Defaults,
    command: str,
    path: Path,
    *,
    trusted: bool,
) -> None:
    """Lay one table over what weaker ones said."""
    values, origins = found.values[command], found.origins[command]
    for key, value in layer.items():
        if not trusted and writes_outside(key, value):
            found.refused[command].append(key)
            continue
        for overridden in OVERRIDES.get(key, ()):
            if overridden not in layer:
                values.pop(overridden, None)
        values[key], origins[key] = value, path


def writes_outside(key: str, value: object) -> bool:
    """Whether a setting replaces files, or writes outside the working folder."""
    if key == "overwrite":
        return bool(value)
    if key not in WRITES_TO or not isinstance(value, str):
        return False
    windows = PureWindowsPath(value)  # reads both kinds of slashes
    return bool(windows.anchor) or ".." in windows.parts or value.startswith("~")


def overridden(strengths: Mapping[str, int]) -> set[str]:
    """Settings that a stronger source made void; ``strengths`` tells how strong the source of each setting is."""
    return {
        weaker
        for key, strength in strengths.items()
        for weaker in OVERRIDES.get(key, ())
        if 0 < strengths.get(weaker, 0) < strength
    }


def to_toml(settings: Sequence[tuple[str, object]]) -> str:
    """Settings as the file has them: ``steps = 2, color = "lab"``."""
    return ", ".join(
        f"{key} = {json.dumps(value, ensure_ascii=False, default=str)}" for key, value in settings
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise UsageError(
            f"The configuration {path} cannot be read: {exc}", "Mend it, or move it away."
        ) from exc


def _refuse_unknown(
    path: Path,
    where: str,
    table: Mapping[str, Any],
    known: frozenset[str],
) -> None:
    for key in table:
        if key not in known:
            close = get_close_matches(key, known, n=1)
            hint = (
                f"Did you mean {close[0]}?" if close else "See addsr upscale --help for the names."
            )
            raise UsageError(f"The configuration {path} has an unknown key: {where}{key}.", hint)


def _plain(table: Mapping[str, Any]) -> dict[str, Any]:
    return {key.replace("-", "_"): value for key, value in table.items()}

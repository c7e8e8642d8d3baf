"""What a person chooses on the page: model, size, fidelity, format. Read from JSON, strictly."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from addsr_cli.errors import UsageError
from addsr_cli.imageio import WriteOptions
from addsr_cli.settings import Settings

MAX_TEXT = 1000  # characters
FORMATS = ("png", "jpg", "webp", "tiff", "avif")


@dataclass(frozen=True, kw_only=True)
class Choices:
    """The model, and the same options that the command line hands to the library."""

    model: str
    settings: Settings
    options: WriteOptions


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UsageError(f"{_shown(value)} is not a number.")
    return float(value)


def _pixels(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise UsageError(f"{_shown(value)} is not a number of pixels.")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise UsageError(f"{_shown(value)} is not a text of at most {MAX_TEXT} characters.")
    return value


def _format(value: object) -> str:
    if value not in FORMATS:
        raise UsageError(f"{_shown(value)} is not one of {', '.join(FORMATS)}.")
    return str(value)


_SETTINGS: dict[str, Callable[[object], Any]] = {
    "scale": _number,
    "longest": _pixels,
    "fidelity": _number,
    "seed": _pixels,
    "prompt": _text,
}


def parse_choices(data: object, models: Collection[str]) -> Choices:
    """Return the choices in a JSON object; fields that are missing or null mean the default.

    Raises UsageError for unknown fields, models that are not offered, and values out of range.
    """
    if not isinstance(data, Mapping):
        raise UsageError("The choices are not a JSON object.")
    chosen = {name: value for name, value in data.items() if value is not None}
    unknown = chosen.keys() - _SETTINGS.keys() - {"model", "format"}
    if unknown:
        raise UsageError(f"There is no choice called {_shown(min(unknown))}.")
    model = _text(chosen.pop("model", ""))
    if model not in models:
        raise UsageError(
            f"The model {_shown(model)} is not offered.", f"Choose from {', '.join(models)}."
        )
    format_ = _format(chosen.pop("format")) if "format" in chosen else None
    values = {name: _SETTINGS[name](value) for name, value in chosen.items()}
    return Choices(
        model=model,
        settings=Settings(**values),
        options=WriteOptions(format=format_),
    )


def _shown(value: object) -> str:
    return repr(value)[:60]

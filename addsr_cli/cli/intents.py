"""``--for``: what the picture is for, as a bundle of ordinary options.

Explicit options are stronger; docs/intents.md explains the choices. A bundle holds nothing that the
options could not say.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from addsr_cli.errors import UsageError

Bundle = dict[str, Any]

_MM_PER_INCH = 25.4
_MAX_DPI = 2400
_MAX_SIDE = 300_000  # pixels, as `settings.LARGEST_SIDE`
_UNITS = {"mm": 1.0, "cm": 10.0, "in": _MM_PER_INCH}
# Sheets in millimetres, longer side last: ISO 216, ANSI/ASME Y14.1.
_PAPERS = {
    "a0": (841, 1189),
    "a1": (594, 841),
    "a2": (420, 594),
    "a3": (297, 420),
    "a4": (210, 297),
    "a5": (148, 210),
    "a6": (105, 148),
    "letter": (215.9, 279.4),
    "legal": (215.9, 355.6),
    "tabloid": (279.4, 431.8),
}
_SHEET = re.compile(r"(\d+(?:\.\d+)?)x(\d+(?:\.\d+)?)(mm|cm|in)")
_KNOWN = "Use photo, print:A3@300, print:10x15cm, web:2048, old-photo, text or avatar."


def options_for(text: str) -> Bundle:
    """Return the options of an intent such as ``web:2048``, by the names of configuration files.

    Raises UsageError.
    """
    name, _, detail = text.strip().lower().partition(":")
    if name not in _INTENTS:
        raise UsageError(f"--for {text} is not known.", _KNOWN)
    try:
        return _INTENTS[name](detail)
    except ValueError as exc:
        raise UsageError(f"--for {text}: {exc}.", _KNOWN) from exc


def check(text: str) -> str:
    """Return ``text`` if it is an intent. Raises UsageError."""
    options_for(text)
    return text


def apply(
    values: dict[str, Any],
    strengths: dict[str, int],
    bundle: Mapping[str, Any],
    strength: int,
) -> Bundle:
    """Set the options of a bundle in ``values`` where no source of more strength sets them.

    Returns those that were set; ``strengths`` is updated.
    """
    applied = {
        name: value
        for name, value in bundle.items()
        if name in values and strengths.get(name, 0) <= strength
    }
    values.update(applied)
    strengths.update(dict.fromkeys(applied, strength))
    return applied


def _photo(detail: str) -> Bundle:
    _refuse_detail(detail)
    return {"scale": 4.0, "fidelity": 0.5, "quality": 95}


def _print(detail: str) -> Bundle:
    sheet, _, resolution = (detail or "a4").partition("@")
    dpi = int(resolution or 300) if (resolution or "300").isdecimal() else 0
    if not 1 <= dpi <= _MAX_DPI:
        raise ValueError(f"{resolution!r} is not a resolution in dots per inch, such as 300")
    return {
        "longest": _pixels(_longer_side(sheet) / _MM_PER_INCH * dpi),
        "dpi": dpi,
        "fidelity": 0.5,
        "quality": 97,
    }


def _web(detail: str) -> Bundle:
    if not (detail or "2048").isdecimal():
        raise ValueError(f"{detail!r} is not a number of pixels")
    return {
        "longest": _pixels(int(detail or 2048)),
        "format": "webp",
        "quality": 85,
        "no_metadata": True,
    }


def _old_photo(detail: str) -> Bundle:
    _refuse_detail(detail)
    return {"scale": 2.0, "fidelity": 0.3, "quality": 95}


def _text(detail: str) -> Bundle:
    _refuse_detail(detail)
    return {"scale": 2.0, "fidelity": 1.0, "protect": "text", "tags": "none", "format": "png"}


def _avatar(detail: str) -> Bundle:
    _refuse_detail(detail)
    return {"shortest": 1024, "fidelity": 0.7, "quality": 92}


def _refuse_detail(detail: str) -> None:
    if detail:
        raise ValueError(f"{detail!r} cannot be added to this purpose")


def _longer_side(sheet: str) -> float:
    """Return the longer side of a sheet in millimetres. Raises ValueError."""
    if sheet in _PAPERS:
        return float(_PAPERS[sheet][1])
    match = _SHEET.fullmatch(sheet)
    if match is None:
        raise ValueError(f"{sheet!r} is not a paper size, such as A3, letter or 10x15cm")
    return max(float(match[1]), float(match[2])) * _UNITS[match[3]]


def _pixels(value: float) -> int:
    pixels = round(value)
    if not 1 <= pixels <= _MAX_SIDE:
        raise ValueError(f"{pixels} pixels are out of range")
    return pixels


_INTENTS: dict[str, Callable[[str], Bundle]] = {
    "photo": _photo,
    "print": _print,
    "web": _web,
    "old-photo": _old_photo,
    "text": _text,
    "avatar": _avatar,
}
NAMES = tuple(_INTENTS)

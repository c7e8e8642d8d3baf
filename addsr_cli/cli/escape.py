"""Makes text from outside, such as file names, safe to print on a terminal."""

import unicodedata

_CONTROL_CATEGORIES = ("Cc", "Zl", "Zp")  # control characters, line and paragraph separators
# Characters that change the direction of text.
_DIRECTION_MARKS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def printable(text: str, keep: str = "") -> str:
    """Escape control characters as in a Python literal, except those in ``keep``."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        _escape(char) if char not in keep and _is_control(char) else char for char in text
    )


def _is_control(char: str) -> bool:
    return unicodedata.category(char) in _CONTROL_CATEGORIES or char in _DIRECTION_MARKS


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")

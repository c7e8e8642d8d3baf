"""Text from outside, such as file names, made harmless for a terminal."""

import unicodedata

_STEERING = ("Cc", "Zl", "Zp")  # control characters, and what breaks lines
_TURNING = frozenset(
    "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)  # change the direction of text


def printable(text: str, keep: str = "") -> str:
    """Control characters, but those to ``keep``, as Python writes them."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escaped(char) if char not in keep and _steers(char) else char for char in text)


def _steers(char: str) -> bool:
    return unicodedata.category(char) in _STEERING or char in _TURNING


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")

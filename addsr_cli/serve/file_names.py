"""Names that a browser sends: safe to show, to write and to offer for download."""

import re
import unicodedata
from collections.abc import Container
from pathlib import PurePosixPath

DEFAULT_NAME = "photo"
MAX_NAME_BYTES = 150  # leaves room for "_x4", a number and a suffix within 255
_FORBIDDEN = re.compile(r'[<>:"|?*]')  # on Windows
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)  # there, too
_KNOWN_SUFFIX = re.compile(r"\.[a-z0-9]{1,8}")


def clean_name(sent: str) -> str:
    """Return a plain file name for a name from a browser: no folders, controls or leading dots.

    Characters that turn the direction of text are removed, as they can hide the real suffix.
    """
    last = sent.replace("\\", "/").rstrip("/").rpartition("/")[2]
    text = unicodedata.normalize("NFC", last)
    text = "".join(char for char in text if unicodedata.category(char)[0] != "C")
    text = _FORBIDDEN.sub("_", text).strip(" .")
    if _DEVICES.match(text):
        text = f"_{text}"
    path = PurePosixPath(text or DEFAULT_NAME)
    stem = path.stem.encode()[:MAX_NAME_BYTES].decode(errors="ignore")
    return f"{stem}{path.suffix.encode()[:16].decode(errors='ignore')}"


def storage_name(name: str) -> str:
    """Return the name under which a file is stored: a fixed stem, and the suffix if it is plain.

    Some decoders tell formats apart by the suffix.
    """
    suffix = PurePosixPath(name).suffix.lower()
    return f"original{suffix if _KNOWN_SUFFIX.fullmatch(suffix) else ''}"


def unique_name(name: str, used: Container[str]) -> str:
    """Return the name, or ``stem (2).ext`` and so on, so that it is not among ``used``."""
    path = PurePosixPath(name)
    candidate = name
    number = 2
    while candidate in used:
        candidate = f"{path.stem} ({number}){path.suffix}"
        number += 1
    return candidate

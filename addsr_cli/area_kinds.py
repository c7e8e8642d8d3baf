"""What can be detected in a photo, and how ``--protect`` lists it."""

from pathlib import Path
from typing import Literal, get_args

from addsr_cli.errors import UsageError

AreaKind = Literal["faces", "text"]


def area_kinds(text: str) -> tuple[AreaKind, ...]:
    """Return the kinds that a list such as ``faces,text`` names; empty for any other text."""
    names = {name.strip() for name in text.split(",")}
    kinds: tuple[AreaKind, ...] = get_args(AreaKind)
    return tuple(kind for kind in kinds if kind in names) if names <= set(kinds) else ()


def check_parts(text: str) -> None:
    """Raise UsageError unless the text is empty, a list of kinds, or the path of a file."""
    if text and not area_kinds(text) and not Path(text).is_file():
        raise UsageError(
            f"--protect {text} is neither faces, text nor a file.",
            "Use --protect faces,text or give the path of a mask.",
        )

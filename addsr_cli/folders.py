"""Where addsr keeps what it fetches and makes: the system's usual folders, unless ``ADDSR_HOME`` names another."""

import os
from pathlib import Path

HOME = "ADDSR_HOME"


def base(usual: Path) -> Path:
    """The folder that ``ADDSR_HOME`` names, or else the usual one."""
    chosen = os.environ.get(HOME)
    return Path(chosen).expanduser() if chosen else usual

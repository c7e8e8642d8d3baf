"""Where addsr stores files: the user's folders on this system, or those below ``ADDSR_HOME``."""

import os
from pathlib import Path

from platformdirs import user_cache_path, user_data_path

HOME = "ADDSR_HOME"


def data_folder() -> Path:
    """Return the folder of what addsr makes, such as converted models."""
    return _home() or user_data_path("addsr")


def cache_folder() -> Path:
    """Return the folder of what can be downloaded again."""
    return _home() or user_cache_path("addsr")


def _home() -> Path | None:
    path = os.environ.get(HOME)
    return Path(path).expanduser() if path else None

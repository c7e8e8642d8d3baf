"""Few-step diffusion super-resolution for photos.

``from addsr_cli import Upscaler`` is fast: torch is imported when the class is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from addsr_cli.version import __version__

if TYPE_CHECKING:
    from addsr_cli.engine.upscaler import Upscaler
    from addsr_cli.settings import Machine, Settings

__all__ = ["Machine", "Settings", "Upscaler", "__version__"]

_MODULES = {
    "Upscaler": "addsr_cli.engine.upscaler",
    "Machine": "addsr_cli.settings",
    "Settings": "addsr_cli.settings",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 (the type depends on the name)
    """Import a public name on first access."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)

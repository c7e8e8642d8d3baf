"""addsr: photos made larger and better. ``from addsr_cli import Upscaler`` loads nothing heavy until it is used."""

from typing import TYPE_CHECKING, Any

from addsr_cli.version import __version__

if TYPE_CHECKING:
    from addsr_cli.engine.upscaler import Upscaler
    from addsr_cli.settings import Machine, Settings

__all__ = ["Machine", "Settings", "Upscaler", "__version__"]

_HOMES = {
    "Upscaler": "addsr_cli.engine.upscaler",
    "Machine": "addsr_cli.settings",
    "Settings": "addsr_cli.settings",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 (the type of whatever is asked for)
    """Import on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)

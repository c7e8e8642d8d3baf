"""A self-contained HTML file: sections of HTML with one copy of every style and script."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from html import escape
from importlib.resources import files
from string import Template

VIEWER_STYLES = ("page.css", "viewer.css")
VIEWER_SCRIPTS = ("viewer.js", "painting.js", "gestures.js")  # in the order of their dependencies
_STYLES = (*VIEWER_STYLES, "numbers.css")


@dataclass(frozen=True, kw_only=True)
class Page:
    """A page of HTML ``sections`` with a ``title``, which is plain text.

    With ``fills_window`` the only section takes the whole window, as a picture viewer does;
    otherwise the sections follow each other.
    """

    title: str
    sections: Sequence[str]
    fills_window: bool = False

    def html(self) -> str:
        """Return the text of the file.

        Its content security policy allows no requests and no script but the one with our hash, so
        that a label can inject nothing.
        """
        script = "".join(asset(name) for name in VIEWER_SCRIPTS)
        return Template(asset("page.html")).substitute(
            title=escape(self.title),
            kind="whole" if self.fills_window else "report",
            style="".join(asset(name) for name in _STYLES),
            script=script,
            script_hash=b64encode(sha256(script.encode()).digest()).decode(),
            body="\n".join(self.sections),
        )


def asset(name: str) -> str:
    """Return the text of a file in ``assets``."""
    return (files("addsr_cli.report") / "assets" / name).read_text(encoding="utf-8")

"""One HTML file that needs nothing else: parts of a page between one copy of each style and script."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from html import escape
from importlib.resources import files
from string import Template

_STYLES = ("page.css", "viewer.css", "numbers.css")
_SCRIPTS = ("viewer.js", "painting.js", "gestures.js")  # each uses the ones before


@dataclass(frozen=True, kw_only=True)
class Page:
    """A page of ready HTML ``parts`` under a ``title`` (plain text).

    ``whole`` gives the only part the whole window, as a picture viewer wants it; otherwise parts
    follow each other.
    """

    title: str
    parts: Sequence[str]
    whole: bool = False

    def html(self) -> str:
        """Get the file's text. Its policy lets it load nothing and run no script but ours, whatever a label says."""
        script = "".join(asset(name) for name in _SCRIPTS)
        return Template(asset("page.html")).substitute(
            title=escape(self.title),
            kind="whole" if self.whole else "report",
            style="".join(asset(name) for name in _STYLES),
            script=script,
            script_hash=b64encode(sha256(script.encode()).digest()).decode(),
            body="\n".join(self.parts),
        )


def asset(name: str) -> str:
    """Get the text of a file of this package; each is small and read once a page."""
    return (files("addsr_cli.report") / "assets" / name).read_text(encoding="utf-8")

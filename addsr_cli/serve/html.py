"""The page as one HTML text: markup, style and script from ``assets``, and the viewer's."""

from base64 import b64encode
from functools import cache
from hashlib import sha256
from html import escape
from importlib.resources import files
from string import Template

from addsr_cli.errors import AddsrError
from addsr_cli.report import VIEWER_SCRIPTS, VIEWER_STYLES, asset, empty_viewer_html

STYLES = ("serve.css",)
SCRIPTS = (  # in the order of their dependencies
    "dom.js",
    "server.js",
    "state.js",
    "adding.js",
    "list.js",
    "choices.js",
    "stage.js",
    "crop.js",
    "main.js",
)


@cache
def page_html() -> tuple[str, str]:
    """Return the page and its content security policy, which names its style and script by hash."""
    style = "".join([*map(asset, VIEWER_STYLES), *map(own_asset, STYLES)])
    script = "".join([*map(asset, VIEWER_SCRIPTS), *map(own_asset, SCRIPTS)])
    html = Template(own_asset("page.html")).substitute(
        style=style,
        script=script,
        viewer=empty_viewer_html(),
    )
    return html, _policy(style, script)


@cache
def _refusal_style() -> str:
    return asset("page.css") + "main { max-width: 36em; margin: 20vh auto 0; padding: 0 16px; }\n"


def refusal_html(error: AddsrError) -> tuple[str, str]:
    """Return a page that says why the real one is not shown, and its policy."""
    style = _refusal_style()
    html = Template(own_asset("refusal.html")).substitute(
        style=style,
        message=escape(error.message),
        hint=escape(error.hint),
    )
    return html, _policy(style, "")


def own_asset(name: str) -> str:
    """Return the text of a file in ``assets``."""
    return (files("addsr_cli.serve") / "assets" / name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    """Return a policy that allows one inline style and script, and requests to this server."""
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src '{_hash(script)}'",
            f"style-src '{_hash(style)}'",
            "img-src 'self' data: blob:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ]
    )


def _hash(text: str) -> str:
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"

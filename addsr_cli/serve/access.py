"""Who may use the page: host, origin, token and cookie of every request, and its safe headers.

The page listens on loopback only, but every program of this computer can reach it there, and so can
every web page that the browser shows. Hence:

- the host has to be a loopback name, or a foreign domain could point here (DNS rebinding);
- a request that another page started is refused (``Origin``, ``Sec-Fetch-Site``);
- a browser shows the token once and gets a cookie of its own for it.
"""

import secrets
from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from addsr_cli.errors import AddsrError
from addsr_cli.serve.html import refusal_html
from addsr_cli.serve.page_session import PageSession, Sessions

LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")
OWN_SITES = ("same-origin", "none")  # of Sec-Fetch-Site: our page, or the user
SESSION = "addsr.session"  # the key in the scope of a request
SAFE_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


class AccessDenied(AddsrError):
    """A request is not from our own page."""

    code = "access_denied"


class Tokens:
    """The secrets that open the page: ``lasting``, and others that work once."""

    def __init__(self) -> None:
        self.lasting = secrets.token_urlsafe(32)
        self._once: set[str] = set()

    def once(self) -> str:
        """Return a token for one use: command lines, which start browsers, are no secret."""
        token = secrets.token_urlsafe(32)
        self._once.add(token)
        return token

    def accept(self, token: str) -> bool:
        """Whether a token is valid; one for a single use is not, from now on."""
        for known in self._once:
            if secrets.compare_digest(token.encode(), known.encode()):
                self._once.discard(known)
                return True
        return secrets.compare_digest(token.encode(), self.lasting.encode())


class Gate:
    """Middleware that lets requests of our own page pass, each with its session in the scope."""

    def __init__(self, app: ASGIApp, *, tokens: Tokens, sessions: Sessions) -> None:
        self.app = app
        self.tokens = tokens
        self.sessions = sessions
        self.cookie = f"addsr-{secrets.token_hex(4)}"  # cookies of a host reach all its ports

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request, or the start and the end of the application."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # no web sockets here; the server closes the connection
        new_cookie = ""
        try:
            session, is_new = self._session(scope)
            scope[SESSION] = session
            new_cookie = session.key if is_new else ""
            app = self.app
        except AddsrError as exc:
            app = _refusal(exc, scope["path"])

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SAFE_HEADERS.items():
                    headers.setdefault(name, value)
                if new_cookie:
                    headers.append("set-cookie", self._cookie_text(new_cookie))
            await send(message)

        await app(scope, receive, send_safely)

    def _session(self, scope: Scope) -> tuple[PageSession, bool]:
        """Return the session of a request, and whether it is new. Raises AccessDenied."""
        headers = Headers(scope=scope)
        _check_host(headers)
        token = _query_token(scope)
        opens_page = scope["method"] == "GET" and scope["path"] == "/"
        if not (opens_page and token):  # a link with the token may be anywhere
            _check_origin(headers)
        key = _cookies(headers.getlist("cookie")).get(self.cookie, "")
        session = self.sessions.find(key)
        if session:
            return session, False
        if opens_page and token and self.tokens.accept(token):
            return self.sessions.create(), True
        raise AccessDenied(
            "This page needs the address that addsr serve has printed.",
            "Copy it from the terminal, with everything after the question mark.",
        )

    def _cookie_text(self, key: str) -> str:
        return f"{self.cookie}={key}; Path=/; HttpOnly; SameSite=Strict"


def host_name(host: str) -> str:
    """Return the name in a Host header without the port: ``[::1]:80`` -> ``[::1]``."""
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]


def _check_host(headers: Headers) -> None:
    if host_name(headers.get("host", "")).lower() not in LOOPBACK_NAMES:
        raise AccessDenied(
            "This page answers on this computer only.", "Open it as http://127.0.0.1 or localhost."
        )


def _check_origin(headers: Headers) -> None:
    origin = headers.get("origin")
    is_foreign = origin is not None and origin != f"http://{headers['host']}"
    if is_foreign or headers.get("sec-fetch-site", "none") not in OWN_SITES:
        raise AccessDenied("Another web page asked for this, which it may not.")


def _query_token(scope: Scope) -> str:
    query = parse_qs(scope["query_string"].decode("latin-1"))
    return query.get("token", [""])[0]


def _cookies(headers: Iterable[str]) -> dict[str, str]:
    """Return the cookies of a request; other local pages may have set some that are malformed."""
    cookies = {}
    for header in headers:
        for part in header.split(";"):
            try:
                morsels = SimpleCookie(part.strip())
            except CookieError:
                continue
            cookies.update({name: morsel.value for name, morsel in morsels.items()})
    return cookies


def _refusal(exc: AddsrError, path: str) -> Response:
    """Return a page for people, JSON for scripts."""
    if path != "/":
        return JSONResponse({"error": exc.record()}, status_code=403)
    html, policy = refusal_html(exc)
    return HTMLResponse(html, status_code=403, headers={"content-security-policy": policy})

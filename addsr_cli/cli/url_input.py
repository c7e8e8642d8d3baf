"""A picture from the web as an input: downloaded into memory, within limits, and never offline."""

import os
import re
from pathlib import PurePosixPath
from time import monotonic
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from addsr_cli.cli.console import Console
from addsr_cli.cli.escape import printable
from addsr_cli.cli.formatting import format_bytes
from addsr_cli.errors import UnreadableInput
from addsr_cli.version import __version__

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from httpx2 import Response

MAX_BYTES = 500 * 10**6
TIMEOUT = 30.0  # seconds without an answer
MAX_SECONDS = 600.0  # for the whole download
CHUNK = 1 << 18  # bytes
OFFLINE_VARIABLES = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "ADDSR_OFFLINE")
TRUE = {"1", "ON", "YES", "TRUE"}

_URL = re.compile(r"(https?|ftp|s3|gs)://.+", re.IGNORECASE)
_SCHEMES = ("http", "https")
# Content types of pictures; servers that do not know send one of the others.
_PICTURE = re.compile(r"image/.+|(application|binary)/octet-stream|application/x-binary|")
_UNSAFE = re.compile(r'[\x00-\x1f<>:"/\\|?*]')


def is_url(text: str) -> bool:
    """Return whether an input names a place on the web, not a file."""
    return bool(_URL.match(text))


def file_name(url: str) -> str:
    """Return the last part of a URL's path as a file name, without what is unsafe in one."""
    name = PurePosixPath(unquote(urlsplit(url).path)).name
    return _UNSAFE.sub("_", name).lstrip(".") or "download"


def download(url: str, console: Console) -> bytes:
    """Return the bytes of the picture at ``url`` (http or https), and say what was downloaded.

    Raises UnreadableInput when offline mode is on, the server does not deliver, what it delivers is
    no picture by its content type, is larger than `MAX_BYTES`, or takes longer than `MAX_SECONDS`.
    """
    _check_allowed(url)
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]

    try:
        with _request(url) as response:
            _check_answer(url, response)
            data = _read(url, response)
            kind = response.headers.get("Content-Type", "unknown type").partition(";")[0]
    except (HTTPError, OSError) as exc:
        reason = str(exc) or type(exc).__name__
        raise UnreadableInput(
            f"{url} cannot be downloaded: {reason.splitlines()[0].rstrip('.')}.",
            "Check the address and the connection.",
        ) from exc
    console.info(f"downloaded {printable(url)} ({format_bytes(len(data))}, {kind})")
    return data


def _check_allowed(url: str) -> None:
    if urlsplit(url).scheme.lower() not in _SCHEMES:
        raise UnreadableInput(
            f"{url} is not an http or https address.",
            "Use http or https, or download the file first.",
        )
    for variable in OFFLINE_VARIABLES:
        if os.environ.get(variable, "").upper() in TRUE:
            raise UnreadableInput(
                f"{url} is a URL, and offline mode is on.",
                f"Unset {variable}, or name a file on this computer.",
            )


def _request(url: str) -> "AbstractContextManager[Response]":
    from huggingface_hub import get_session

    return get_session().stream(
        "GET",
        url,
        timeout=TIMEOUT,
        follow_redirects=True,
        headers={
            "Accept": "image/*, application/octet-stream;q=0.5",
            "User-Agent": f"addsr/{__version__}",
        },
    )


def _check_answer(url: str, response: "Response") -> None:
    if response.status_code != 200:
        reason = f"{response.status_code} {response.reason_phrase}".rstrip()
        raise UnreadableInput(
            f"{url} cannot be downloaded: the server answered {reason}.",
            "Check the address; a page that asks for a login cannot be used.",
        )
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if not _PICTURE.fullmatch(kind):
        raise UnreadableInput(
            f"{url} is not a picture: its content type is {kind}.",
            "Copy the address of the picture itself, not of the page that shows it.",
        )
    length = response.headers.get("Content-Length", "")
    if length.isdecimal() and int(length) > MAX_BYTES:
        raise _too_large(url)


def _read(url: str, response: "Response") -> bytes:
    """Return the body; the size is checked again, since servers may declare none or a wrong one."""
    data = bytearray()
    end = monotonic() + MAX_SECONDS
    for chunk in response.iter_bytes(CHUNK):
        data += chunk
        if len(data) > MAX_BYTES:
            raise _too_large(url)
        if monotonic() > end:
            raise UnreadableInput(
                f"{url} took longer than {MAX_SECONDS:.0f} seconds to download.",
                "Download it with another program, and give the file.",
            )
    return bytes(data)


def _too_large(url: str) -> UnreadableInput:
    return UnreadableInput(
        f"{url} is larger than the limit of {format_bytes(MAX_BYTES)}.",
        "Download it with another program, and give the file.",
    )

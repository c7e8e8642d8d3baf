"""Bytes from one source into one file: what is declared, a transfer that goes on where it stopped, errors as reasons.

Requests go through huggingface_hub's own client, so its settings (proxies, certificates, timeouts)
count here too. Its download functions are not used: since 1.18 they begin from zero in every
process.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote, urlsplit

from huggingface_hub import constants, get_hf_file_metadata, get_session, hf_hub_url
from huggingface_hub.errors import (  # type: ignore[attr-defined]
    DisabledRepoError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    HTTPError,  # httpx's or httpx2's, whichever the installed version uses
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status  # type: ignore[attr-defined]

from addsr_cli.errors import ModelUnavailable
from addsr_cli.weights.components import FileSpec, Source

T = TypeVar("T")
CHUNK = 256 * 1024  # bytes; what a killed process loses at most
TRIES = 3  # in a row without a new byte
PAUSE = 1.0  # seconds before the second try, twice that before the third
IDENTITY = {"Accept-Encoding": "identity"}  # sizes and ranges count bytes of the file itself
AGAIN = "Run the same command again: it goes on where it stopped."


class SourceFailed(Exception):
    """One source cannot serve, another may. ``reason`` completes the sentence "SOURCE ..."; ``hint`` what would help.

    ``unreachable`` means that no answer came, so that other sources on the same host need not be
    asked.
    """

    def __init__(self, reason: str, hint: str = "", *, unreachable: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint
        self.unreachable = unreachable


@dataclass(frozen=True, kw_only=True)
class Access:
    """Which Hub is asked, and with which token; None means the user's own settings."""

    endpoint: str | None = None
    token: str | None = field(default=None, repr=False)

    def host(self, source: Source) -> str:
        """The host that answers for a source."""
        return urlsplit(
            source.repo if source.kind == "url" else self.endpoint or constants.ENDPOINT
        ).netloc


@dataclass(frozen=True, kw_only=True)
class Remote:
    """One file as its source declares it: size in bytes and tag where told, commit where the source is the Hub.

    ``sha256`` and ``blob`` are the digests the Hub declares: of content in LFS, of the git blob
    otherwise.
    """

    path: str
    url: str
    source: Source
    size: int | None = None
    etag: str = ""
    commit: str = ""

    @property
    def sha256(self) -> str:
        """The declared sha256, or empty."""
        return self.etag if self.source.kind != "url" and len(self.etag) == 64 else ""

    @property
    def blob(self) -> str:
        """The declared git blob hash, or empty."""
        return self.etag if self.source.kind != "url" and len(self.etag) == 40 else ""

    def part(self, folder: Path) -> Path:
        """The unfinished file; its name carries the tag, so that bytes of another version are never continued."""
        tag = sha256(self.etag.encode()).hexdigest()[:16] if self.etag else "0" * 16
        return folder / f"{self.path}.{tag}.part"


def describe(
    source: Source,
    spec: FileSpec,
    revision: str,
    access: Access,
) -> Remote:
    """Ask a source about one file. Raises SourceFailed, and ModelUnavailable where no other source would help."""
    path = source.prefix + spec.path
    if source.kind == "url":
        return _answered(lambda: _describe_plain(source, spec), source, spec.path)
    try:
        url = hf_hub_url(
            source.repo,
            path,
            repo_type=source.kind,
            revision=revision,
            endpoint=access.endpoint,
        )
    except HFValidationError as exc:
        raise SourceFailed("is no name of a repository") from exc

    def ask() -> Remote:
        found = get_hf_file_metadata(
            url,
            token=access.token,
            timeout=constants.HF_HUB_ETAG_TIMEOUT,
            endpoint=access.endpoint,
        )
        commit = found.commit_hash or revision
        fixed = hf_hub_url(
            source.repo,
            path,
            repo_type=source.kind,
            revision=commit,
            endpoint=access.endpoint,
        )
        return Remote(
            path=spec.path,
            url=fixed,
            source=source,
            size=found.size,
            etag=(found.etag or "").lower(),
            commit=commit,
        )

    return _answered(ask, source, spec.path)


def download(
    remote: Remote,
    part: Path,
    access: Access,
    tell: Callable[[int], None],
) -> None:
    """Bring ``part`` to its full size, from where it is; ``tell`` is given its bytes as they arrive.

    Goes on after closed, reset and stalled connections until three tries in a row brought nothing
    new. Contents are not checked here. Raises SourceFailed, ModelUnavailable, and OSError when the
    file cannot be written.
    """
    part.parent.mkdir(parents=True, exist_ok=True)
    if (
        not remote.etag or not part.exists()
    ):  # without a tag nobody knows what the bytes here belong to
        part.write_bytes(b"")
    best, failures, problem = part.stat().st_size, 0, ""
    while remote.size is None or part.stat().st_size != remote.size:
        try:
            _stream(remote, part, access, tell)
            if remote.size is None:
                return
            problem = f"{part.stat().st_size:,} of {remote.size:,} bytes came"
        except (HTTPError, OfflineModeIsEnabled) as exc:
            if not _passing(exc):
                raise _translated(exc, remote.source, remote.path) from exc
            problem = _detail(exc)
        reached = part.stat().st_size
        failures = 0 if reached > best else failures + 1
        best = max(best, reached)
        if reached != remote.size and failures == TRIES:
            raise SourceFailed(
                f"stopped sending {remote.path} ({problem})", f"Check the connection. {AGAIN}"
            )
        if reached != remote.size:
            time.sleep(PAUSE * max(1, failures))


def _stream(
    remote: Remote,
    part: Path,
    access: Access,
    tell: Callable[[int], None],
) -> None:
    """One request for what is missing of ``part``."""
    done = part.stat().st_size
    headers = build_hf_headers(
        token=False if remote.source.kind == "url" else access.token, headers=IDENTITY
    )
    if done:
        headers["Range"] = f"bytes={done}-"
    with get_session().stream(
        "GET",
        remote.url,
        headers=headers,
        timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT,
        follow_redirects=True,
    ) as response:
        if response.status_code == 416:  # not the file it was
            part.write_bytes(b"")
            return
        hf_raise_for_status(response)
        goes_on = response.status_code == 206 and response.headers.get(
            "Content-Range", ""
        ).startswith(f"bytes {done}-")
        if response.status_code == 206 and not goes_on:
            part.write_bytes(b"")
            return
        done = done if goes_on else 0
        with part.open("ab" if goes_on else "wb") as file:
            for chunk in response.iter_bytes(CHUNK):
                if remote.size is not None and done + len(chunk) > remote.size:
                    file.truncate(0)
                    return
                file.write(chunk)
                file.flush()  # into the system's hands: a killed process loses nothing that was counted
                done += len(chunk)
                tell(done)


def _describe_plain(source: Source, spec: FileSpec) -> Remote:
    url = source.repo.rstrip("/") + "/" + quote(source.prefix + spec.path)
    answer = get_session().request(
        "HEAD",
        url,
        headers=build_hf_headers(token=False, headers=IDENTITY),
        timeout=constants.HF_HUB_ETAG_TIMEOUT,
        follow_redirects=True,
    )
    if answer.status_code in (405, 501):  # a server without HEAD: size and tag stay unknown
        return Remote(
            path=spec.path,
            url=url,
            source=source,
            size=spec.size,
            commit=source.revision,
        )
    hf_raise_for_status(answer)
    length = answer.headers.get("Content-Length", "")
    size = (
        int(length) if length.isdigit() and "Content-Encoding" not in answer.headers else spec.size
    )
    etag = answer.headers.get("ETag", "")
    return Remote(
        path=spec.path,
        url=url,
        source=source,
        size=size,
        etag=etag,
        commit=source.revision,
    )


def _answered(ask: Callable[[], T], source: Source, path: str) -> T:
    """What ``ask`` returns, asked again when the connection or the server failed in passing."""
    tried = 0
    while True:
        tried += 1
        try:
            return ask()
        except (HTTPError, OfflineModeIsEnabled) as exc:
            if tried == TRIES or not _passing(exc):
                raise _translated(exc, source, path) from exc
        time.sleep(PAUSE * tried)


def _passing(exc: Exception) -> bool:
    """Whether the same request may well succeed a moment later."""
    if isinstance(exc, HfHubHTTPError):
        return exc.response.status_code in (408, 429) or exc.response.status_code >= 500
    return isinstance(exc, HTTPError)


def _detail(exc: Exception) -> str:
    return (
        f"HTTP {exc.response.status_code}"
        if isinstance(exc, HfHubHTTPError)
        else str(exc) or type(exc).__name__
    )


def _translated(exc: Exception, source: Source, path: str) -> SourceFailed:
    """A library's error as our own. Raises ModelUnavailable for what no other source can mend."""
    if isinstance(exc, OfflineModeIsEnabled):
        raise ModelUnavailable(
            f"{path} is not on this computer, and offline mode is on.",
            "Unset HF_HUB_OFFLINE to fetch it.",
        ) from exc
    if not isinstance(exc, HfHubHTTPError):
        return SourceFailed(
            f"did not answer ({_detail(exc)})", f"Check the connection. {AGAIN}", unreachable=True
        )
    status = exc.response.status_code
    if status == 401 and "credentials" in exc.response.headers.get("X-Error-Message", ""):
        raise ModelUnavailable(
            "The Hub does not accept your access token; it is wrong or has expired.",
            "Unset HF_TOKEN, or sign in again with `hf auth login`.",
        ) from exc
    for kind, reason, hint in (
        (
            GatedRepoError,
            "asks you to accept its terms first",
            f"Accept them on https://huggingface.co/{source.repo}, then set HF_TOKEN or run `hf auth login`.",
        ),
        (DisabledRepoError, "has been disabled", ""),
        (RevisionNotFoundError, f"no longer has revision {source.revision}", ""),
        (RemoteEntryNotFoundError, f"has no file {source.prefix}{path}", ""),
        (RepositoryNotFoundError, "is gone or private", ""),
    ):
        if isinstance(exc, kind):
            return SourceFailed(reason, hint)
    if status in (401, 404):
        return SourceFailed(f"is gone or private (HTTP {status})")
    if status == 429:
        return SourceFailed(
            "gets too many requests from here (HTTP 429)", f"Wait some minutes. {AGAIN}"
        )
    if status >= 500:
        return SourceFailed(
            f"has trouble of its own (HTTP {status})", f"Wait some minutes. {AGAIN}"
        )
    return SourceFailed(f"refuses {path} (HTTP {status})")

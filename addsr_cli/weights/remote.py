"""One file at its source: what the source declares about it, and its failures as reasons.

Requests go through huggingface_hub's own client, so that its settings (proxies, certificates,
timeouts) apply.
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
from addsr_cli.models.component import FileSpec, Source

T = TypeVar("T")
MAX_TRIES = 3  # in a row without progress
RETRY_DELAY = 1.0  # seconds before the second try, twice that before the third
IDENTITY = {"Accept-Encoding": "identity"}  # sizes and ranges count bytes of the file itself
RESUME_HINT = "Run the same command again: the download resumes where it stopped."


class SourceFailed(Exception):
    """One source cannot serve a file; another one may.

    ``reason`` completes the sentence "SOURCE ..."; ``hint`` says what would help. ``unreachable``
    means that there was no answer, so that other sources on the same host need not be asked.
    """

    def __init__(
        self,
        reason: str,
        hint: str = "",
        *,
        unreachable: bool = False,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint
        self.unreachable = unreachable


@dataclass(frozen=True, kw_only=True)
class Access:
    """Address and token of the Hub; None stands for the user's own settings."""

    endpoint: str | None = None
    token: str | None = field(default=None, repr=False)

    def host(self, source: Source) -> str:
        """Return the host name that serves a source."""
        url = source.repo if source.kind == "url" else self.endpoint or constants.ENDPOINT
        return urlsplit(url).netloc


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """One file as its source declares it.

    ``size`` is in bytes, None where unknown; ``commit`` is known for files on the Hub. The Hub's
    ``etag`` is the SHA-256 of a file in LFS and the hash of the Git blob of any other.
    """

    path: str
    url: str
    source: Source
    size: int | None = None
    etag: str = ""
    commit: str = ""

    @property
    def sha256(self) -> str:
        """The declared SHA-256, or ""."""
        return self.etag if self.source.kind != "url" and len(self.etag) == 64 else ""

    @property
    def git_blob(self) -> str:
        """The declared hash of the Git blob, or ""."""
        return self.etag if self.source.kind != "url" and len(self.etag) == 40 else ""

    def partial_path(self, folder: Path) -> Path:
        """Return the path of the unfinished download.

        The name contains the tag, so that the bytes of another version are never continued.
        """
        tag = sha256(self.etag.encode()).hexdigest()[:16] if self.etag else "0" * 16
        return folder / f"{self.path}.{tag}.part"


def request_metadata(
    source: Source,
    spec: FileSpec,
    revision: str,
    access: Access,
) -> RemoteFile:
    """Ask a source about one file.

    Raises SourceFailed, and ModelUnavailable where no other source would help.
    """
    path = source.prefix + spec.path
    if source.kind == "url":
        return _with_retries(lambda: _head(source, spec), source, spec.path)
    try:
        url = hf_hub_url(
            source.repo,
            path,
            repo_type=source.kind,
            revision=revision,
            endpoint=access.endpoint,
        )
    except HFValidationError as exc:
        raise SourceFailed("is not a valid repository name") from exc

    def request() -> RemoteFile:
        metadata = get_hf_file_metadata(
            url,
            token=access.token,
            timeout=constants.HF_HUB_ETAG_TIMEOUT,
            endpoint=access.endpoint,
        )
        commit = metadata.commit_hash or revision
        pinned_url = hf_hub_url(
            source.repo,
            path,
            repo_type=source.kind,
            revision=commit,
            endpoint=access.endpoint,
        )
        return RemoteFile(
            path=spec.path,
            url=pinned_url,
            source=source,
            size=metadata.size,
            etag=(metadata.etag or "").lower(),
            commit=commit,
        )

    return _with_retries(request, source, spec.path)


def is_temporary(error: Exception) -> bool:
    """Whether the same request may succeed a moment later."""
    if isinstance(error, HfHubHTTPError):
        return error.response.status_code in (408, 429) or error.response.status_code >= 500
    return isinstance(error, HTTPError)


def describe_error(error: Exception) -> str:
    """Return the status of an HTTP error, or the text of another one."""
    if isinstance(error, HfHubHTTPError):
        return f"HTTP {error.response.status_code}"
    return str(error) or type(error).__name__


def translate_error(
    error: Exception,
    source: Source,
    path: str,
) -> SourceFailed:
    """Return a library's error as a reason.

    Raises ModelUnavailable where no other source would help.
    """
    if isinstance(error, OfflineModeIsEnabled):
        raise ModelUnavailable(
            f"{path} is not on this computer, and offline mode is on.",
            "Unset HF_HUB_OFFLINE to download it.",
        ) from error
    if not isinstance(error, HfHubHTTPError):
        return SourceFailed(
            f"did not answer ({describe_error(error)})",
            f"Check the connection. {RESUME_HINT}",
            unreachable=True,
        )
    status = error.response.status_code
    if status == 401 and "credentials" in error.response.headers.get("X-Error-Message", ""):
        raise ModelUnavailable(
            "The Hub does not accept your access token; it is wrong or has expired.",
            "Unset HF_TOKEN, or sign in again with `hf auth login`.",
        ) from error
    return _repository_error(error, source, path) or _status_error(status, path)


def _repository_error(
    error: HfHubHTTPError,
    source: Source,
    path: str,
) -> SourceFailed | None:
    """Return the reason for an error that huggingface_hub has a class for."""
    if isinstance(error, GatedRepoError):
        page = f"https://huggingface.co/{source.repo}"
        return SourceFailed(
            "asks you to accept its terms first",
            f"Accept them on {page}, then set HF_TOKEN or run `hf auth login`.",
        )
    if isinstance(error, DisabledRepoError):
        return SourceFailed("has been disabled")
    if isinstance(error, RevisionNotFoundError):
        return SourceFailed(f"no longer has revision {source.revision}")
    if isinstance(error, RemoteEntryNotFoundError):
        return SourceFailed(f"has no file {source.prefix}{path}")
    if isinstance(error, RepositoryNotFoundError):
        return SourceFailed("is gone or private")
    return None


def _status_error(status: int, path: str) -> SourceFailed:
    later = f"Wait some minutes. {RESUME_HINT}"
    if status in (401, 404):
        return SourceFailed(f"is gone or private (HTTP {status})")
    if status == 429:
        return SourceFailed("received too many requests from here (HTTP 429)", later)
    if status >= 500:
        return SourceFailed(f"has a server error (HTTP {status})", later)
    return SourceFailed(f"refuses {path} (HTTP {status})")


def _head(source: Source, spec: FileSpec) -> RemoteFile:
    """Ask a plain web server about one file."""
    url = source.repo.rstrip("/") + "/" + quote(source.prefix + spec.path)
    response = get_session().request(
        "HEAD",
        url,
        headers=build_hf_headers(token=False, headers=IDENTITY),
        timeout=constants.HF_HUB_ETAG_TIMEOUT,
        follow_redirects=True,
    )
    size = spec.size
    etag = ""
    if response.status_code not in (405, 501):  # a server without HEAD tells neither
        hf_raise_for_status(response)
        length = response.headers.get("Content-Length", "")
        if length.isdigit() and "Content-Encoding" not in response.headers:
            size = int(length)
        etag = response.headers.get("ETag", "")
    return RemoteFile(
        path=spec.path,
        url=url,
        source=source,
        size=size,
        etag=etag,
        commit=source.revision,
    )


def _with_retries(
    request: Callable[[], T],
    source: Source,
    path: str,
) -> T:
    """Return what ``request`` returns, called again after temporary errors."""
    failures = 0
    while True:
        try:
            return request()
        except (HTTPError, OfflineModeIsEnabled) as exc:
            failures += 1
            if failures == MAX_TRIES or not is_temporary(exc):
                raise translate_error(exc, source, path) from exc
        time.sleep(RETRY_DELAY * failures)

"""Download of one file, resumed where an earlier attempt or process stopped.

The download functions of huggingface_hub are not used: since 1.18 they begin from zero in every
process.
"""

import time
from collections.abc import Callable
from pathlib import Path

from huggingface_hub import constants, get_session
from huggingface_hub.errors import (  # type: ignore[attr-defined]
    HTTPError,
    OfflineModeIsEnabled,
)
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status  # type: ignore[attr-defined]

from addsr_cli.weights import remote
from addsr_cli.weights.remote import (
    IDENTITY,
    MAX_TRIES,
    RESUME_HINT,
    Access,
    RemoteFile,
    SourceFailed,
    describe_error,
    is_temporary,
    translate_error,
)

CHUNK = 256 * 1024  # bytes; a killed process loses no more than that


def download(
    file: RemoteFile,
    partial: Path,
    access: Access,
    on_progress: Callable[[int], None],
) -> None:
    """Complete the file ``partial``, from the size that it has now.

    ``on_progress`` receives the number of bytes that have arrived. Closed, reset and stalled
    connections are opened again until three tries in a row bring nothing new. The contents are not
    verified here. Raises SourceFailed, ModelUnavailable, and OSError when the file cannot be
    written.
    """
    partial.parent.mkdir(parents=True, exist_ok=True)
    if not file.etag or not partial.exists():
        partial.write_bytes(b"")  # without a tag, older bytes may be those of another version
    if file.size is None:
        _download_unknown_size(file, partial, access, on_progress)
        return
    largest = partial.stat().st_size
    failures = 0
    while partial.stat().st_size != file.size:
        problem = _try_request(file, partial, access, on_progress)
        size = partial.stat().st_size
        if size == file.size:
            return
        failures = 0 if size > largest else failures + 1
        largest = max(largest, size)
        if failures == MAX_TRIES:
            problem = problem or f"{size:,} of {file.size:,} bytes arrived"
            raise _stopped(file, problem)
        time.sleep(remote.RETRY_DELAY * max(1, failures))


def _download_unknown_size(
    file: RemoteFile,
    partial: Path,
    access: Access,
    on_progress: Callable[[int], None],
) -> None:
    """Repeat a request until its connection closes without an error."""
    largest = 0
    failures = 0
    while problem := _try_request(file, partial, access, on_progress):
        size = partial.stat().st_size
        failures = 0 if size > largest else failures + 1
        largest = max(largest, size)
        if failures == MAX_TRIES:
            raise _stopped(file, problem)
        time.sleep(remote.RETRY_DELAY * max(1, failures))


def _try_request(
    file: RemoteFile,
    partial: Path,
    access: Access,
    on_progress: Callable[[int], None],
) -> str:
    """Send one request; returns a temporary error as text, "" if there was none."""
    try:
        _request_rest(file, partial, access, on_progress)
    except (HTTPError, OfflineModeIsEnabled) as exc:
        if not is_temporary(exc):
            raise translate_error(exc, file.source, file.path) from exc
        return describe_error(exc)
    return ""


def _request_rest(
    file: RemoteFile,
    partial: Path,
    access: Access,
    on_progress: Callable[[int], None],
) -> None:
    """Append what is missing to ``partial``, with one range request.

    The file is emptied when the server sends another range, or more bytes than it declared.
    """
    done = partial.stat().st_size
    token = False if file.source.kind == "url" else access.token
    headers = build_hf_headers(token=token, headers=IDENTITY)
    if done:
        headers["Range"] = f"bytes={done}-"
    with get_session().stream(
        "GET",
        file.url,
        headers=headers,
        timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT,
        follow_redirects=True,
    ) as response:
        if response.status_code == 416:  # the file on the server is shorter than ours
            partial.write_bytes(b"")
            return
        hf_raise_for_status(response)
        resumed = response.status_code == 206
        content_range = response.headers.get("Content-Range", "")
        if resumed and not content_range.startswith(f"bytes {done}-"):
            partial.write_bytes(b"")
            return
        if not resumed:
            done = 0
        with partial.open("ab" if resumed else "wb") as output:
            for chunk in response.iter_bytes(CHUNK):
                done += len(chunk)
                if file.size is not None and done > file.size:
                    output.truncate(0)
                    return
                output.write(chunk)
                output.flush()  # a killed process loses nothing that was counted
                on_progress(done)


def _stopped(file: RemoteFile, problem: str) -> SourceFailed:
    return SourceFailed(
        f"stopped sending {file.path} ({problem})", f"Check the connection. {RESUME_HINT}"
    )

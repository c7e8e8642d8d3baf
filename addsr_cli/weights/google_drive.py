"""The authors' archive of AddSR's weights, which they publish on Google Drive only."""

from collections.abc import Callable
from pathlib import Path

from huggingface_hub import constants

from addsr_cli.errors import ModelUnavailable
from addsr_cli.models.seesr.published import STUDENT
from addsr_cli.weights import cache
from addsr_cli.weights.download_plan import GOOGLE_DRIVE_URL
from addsr_cli.weights.progress import ProgressCallback, TransferProgress
from addsr_cli.weights.remote import MAX_TRIES


def download_student(
    on_message: Callable[[str], None],
    on_progress: ProgressCallback | None,
) -> Path:
    """Download the archive with gdown, resuming an earlier download; returns its path.

    Raises ModelUnavailable.
    """
    if constants.HF_HUB_OFFLINE:
        raise ModelUnavailable(
            "AddSR's own weights are not on this computer, and offline mode is on.",
            "Unset HF_HUB_OFFLINE to download them.",
        )
    import gdown  # imports requests and an HTML parser, which nothing else here needs
    from gdown.exceptions import DownloadError

    on_message(f"{STUDENT.title}: from the authors' file on Google Drive. {STUDENT.notice}")
    folder = cache.component_folder(STUDENT.name)
    folder.mkdir(parents=True, exist_ok=True)
    reason = "it did not answer with a file"
    path = None
    try:
        path = gdown.download(
            GOOGLE_DRIVE_URL,
            str(folder / "from-drive"),
            quiet=True,
            resume=True,
            progress=_progress_function(on_progress),
            retries=MAX_TRIES,
            timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT,
        )
    except (DownloadError, OSError, RuntimeError, ValueError) as exc:
        reason = str(exc).splitlines()[0].rstrip(".")
    if not isinstance(path, str):
        raise ModelUnavailable(
            f"AddSR's own weights could not be downloaded from Google Drive: {reason}.",
            f"Download {GOOGLE_DRIVE_URL} in a browser and run: "
            "addsr models import FILE --as addsr",
        )
    return Path(path)


def _progress_function(
    on_progress: ProgressCallback | None,
) -> Callable[[int, int | None], None]:
    """Return what gdown calls with the bytes that arrived and the size of the file."""
    approximate_size = sum(spec.approximate_size or 0 for spec in STUDENT.files)

    def report(done: int, size: int | None) -> None:
        if on_progress:
            on_progress(
                TransferProgress(
                    file="AddSR's weights",
                    done=done,
                    size=size,
                    total_done=done,
                    total_size=max(size or approximate_size, done),
                )
            )

    return report

"""From a click to a result: photos and previews of all browsers, in one queue."""

import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from addsr_cli import imageio
from addsr_cli.engine.job import picture_out_of_memory
from addsr_cli.engine.progress import PhotoProgress
from addsr_cli.errors import AddsrError
from addsr_cli.imageio import Photo
from addsr_cli.serve.choices import Choices
from addsr_cli.serve.job_queue import Cancelled, JobQueue, QueuedJob
from addsr_cli.serve.pace import Pace
from addsr_cli.serve.page_session import QUEUE, PageSession
from addsr_cli.serve.saving import make_job, output_of
from addsr_cli.serve.uploads import Upload, UpscaledPhoto, renamed
from addsr_cli.serve.upscaling import Crop, Models, upscale_crop, upscale_photo

OnUnexpected = Callable[[BaseException], None]
MAX_REMEMBERED_BYTES = 75_000_000  # of a decoded photo between two previews: 25 MP of 8 bits

Pair = tuple[Photo, Photo]


class PhotoQueue:
    """Runs one photo or preview at a time; previews go before photos that wait.

    Results go to ``output_folder`` or, when there is none, into the page's own folder.
    ``on_unexpected`` gets exceptions that are no AddsrError, for a log.
    """

    def __init__(
        self,
        models: Models,
        output_folder: Path | None = None,
        on_unexpected: OnUnexpected | None = None,
    ) -> None:
        self.models = models
        self.output_folder = output_folder
        self.pace = Pace()
        self._on_unexpected = on_unexpected
        self._jobs = JobQueue()
        self._decoded: WeakKeyDictionary[Upload, Photo] = WeakKeyDictionary()  # one at most

    def warm_up(self, choices: Choices) -> None:
        """Load the weights before the first photo arrives."""
        self._jobs.submit(partial(_warm_up, self.models, choices))

    def start(self, session: PageSession, upload: Upload, choices: Choices) -> None:
        """Put a photo into the queue, unless it is there already."""
        if upload.is_active:
            return
        upload.update(
            status="waiting",
            choices=choices,
            progress=None,
            seconds_left=None,
            stopping=False,
            error=None,
        )
        upload.job = self._jobs.submit(partial(self._upscale, session, upload, choices))
        session.announce(upload.id)
        session.announce(QUEUE)
        upload.job.future.add_done_callback(partial(self._finish, session, upload))

    def cancel(self, session: PageSession, upload: Upload) -> None:
        """Take a photo out of the queue, or stop it at the next tile."""
        if upload.job and upload.is_active:
            upload.update(stopping=True)
            upload.job.cancel()
            session.announce(upload.id)

    def preview(
        self,
        session: PageSession,
        upload: Upload,
        crop: Crop,
        choices: Choices,
    ) -> "QueuedJob[Pair]":
        """Queue a preview; it replaces the one that this browser waits for."""
        if session.preview:
            session.preview.cancel()
        job = self._jobs.submit(partial(self._preview, upload, crop, choices), urgent=True)
        session.preview = job
        return job

    def summary(self, session: PageSession) -> dict[str, Any]:
        """Return how many photos of a browser are in the queue, and how long they will take."""
        active = [upload for upload in session.uploads.values() if upload.is_active]
        lefts = [self._seconds_left(upload) for upload in active]
        known = [left for left in lefts if left is not None]
        return {
            "active": len(active),
            "seconds_left": sum(known) if known and len(known) == len(lefts) else None,
        }

    def close(self) -> None:
        """Cancel everything and end the thread."""
        self._jobs.close()

    def _seconds_left(self, upload: Upload) -> float | None:
        state = upload.state
        if state.seconds_left is not None or state.choices is None:
            return state.seconds_left
        width, height = state.choices.settings.output_size(*upload.header.size)
        return self.pace.seconds(state.choices.model, width * height)

    def _upscale(
        self,
        session: PageSession,
        upload: Upload,
        choices: Choices,
        queued: QueuedJob[UpscaledPhoto],
    ) -> UpscaledPhoto:
        started = time.monotonic()
        self._decoded.clear()  # plans count free memory
        upload.results += 1

        def on_progress(progress: PhotoProgress) -> None:
            queued.check()
            left = (time.monotonic() - started) * (progress.total / progress.done - 1)
            upload.update(progress=progress, seconds_left=left)
            session.announce(upload.id)
            session.announce(QUEUE)

        upload.update(status="running")
        session.announce(upload.id)
        upscaler = self.models.take(choices.model)
        steps = upscaler.steps(choices.settings)
        job, name = make_job(upload, choices, steps, self.output_folder)
        queued.check()
        result = upscale_photo(job, upscaler, on_progress)
        output = output_of(upload, job, name, result, saved=self.output_folder is not None)
        pixels = output.size[0] * output.size[1]
        self.pace.learn(choices.model, pixels, time.monotonic() - started)
        return output

    def _finish(
        self,
        session: PageSession,
        upload: Upload,
        future: "Future[UpscaledPhoto]",
    ) -> None:
        """Bring the photo's state in line with what became of its job."""
        if future.cancelled():
            upload.update(status="cancelled", stopping=False)
        else:
            self._finish_run(upload, future)
        if upload.removed:
            upload.delete()
        session.announce(upload.id)
        session.announce(QUEUE)

    def _finish_run(self, upload: Upload, future: "Future[UpscaledPhoto]") -> None:
        exc = future.exception()
        if exc is None:
            upload.update(status="done", output=future.result(), stopping=False, seconds_left=None)
        elif isinstance(exc, Cancelled):
            upload.update(status="cancelled", progress=None, stopping=False, seconds_left=None)
        else:
            error = renamed(self.sentence(exc), upload.path, upload.name)
            upload.update(status="failed", error=error, stopping=False, seconds_left=None)

    def sentence(self, exc: BaseException) -> AddsrError:
        """Return an exception as an error that the page can show; reports unexpected ones."""
        if isinstance(exc, AddsrError):
            return exc
        if isinstance(exc, MemoryError):
            return picture_out_of_memory(exc)
        if self._on_unexpected:
            self._on_unexpected(exc)
        text = " ".join(str(exc).split())[:300]
        return AddsrError(
            f"Unexpected {type(exc).__name__}: {text}",
            "Start addsr serve with --debug, try again, and report what the terminal shows.",
        )

    def _preview(
        self,
        upload: Upload,
        crop: Crop,
        choices: Choices,
        queued: QueuedJob[Pair],
    ) -> Pair:
        queued.check()
        photo = self._decode(upload)
        queued.check()

        def on_progress(_: PhotoProgress) -> None:
            queued.check()

        return upscale_crop(photo, crop, choices, self.models.take(choices.model), on_progress)

    def _decode(self, upload: Upload) -> Photo:
        """Return the photo; that of the latest preview is remembered while it is on the page."""
        if upload in self._decoded:
            return self._decoded[upload]
        self._decoded.clear()  # before the next one needs the memory
        try:
            photo = imageio.read(upload.path)
        except AddsrError as exc:
            raise renamed(exc, upload.path, upload.name) from exc
        if photo.samples.nbytes <= MAX_REMEMBERED_BYTES:
            self._decoded[upload] = photo
        return photo


def _warm_up(models: Models, choices: Choices, queued: QueuedJob[None]) -> None:
    queued.check()
    upscaler = models.take(choices.model)
    upscaler.digest()
    plan = upscaler.plan(64, 64, choices.settings)[0]
    upscaler.model.load(plan.device, plan.dtype)

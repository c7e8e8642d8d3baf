"""The photos of one browser, shared by all its tabs, and what those have to hear."""

import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from addsr_cli.errors import UnreadableInput, UsageError
from addsr_cli.serve.changes import Changes
from addsr_cli.serve.job_queue import QueuedJob
from addsr_cli.serve.limits import Limits
from addsr_cli.serve.uploads import TooLarge, Upload

QUEUE = "queue"  # the name of a change of the whole queue, beside those of photos


class PageSession:
    """One browser. ``key`` is the secret in its cookie; files lie below ``folder``."""

    def __init__(
        self,
        folder: Path,
        limits: Limits,
        now: float,
    ) -> None:
        self.key = secrets.token_urlsafe(32)
        self.folder = folder / secrets.token_hex(8)
        self.folder.mkdir(mode=0o700)
        self.limits = limits
        self.uploads: dict[str, Upload] = {}
        self.streams: set[Changes] = set()
        self.preview: QueuedJob[Any] | None = None
        self.last_contact = now
        self.receiving = 0

    def add(self, upload: Upload) -> None:
        """Add a photo and tell the open tabs."""
        self.uploads[upload.id] = upload
        self.announce(upload.id)

    def find(self, id_: object) -> Upload:
        """Return a photo of this browser. Raises UnreadableInput when there is none of that id."""
        upload = self.uploads.get(id_) if isinstance(id_, str) else None
        if upload is None:
            raise UnreadableInput("This photo is no longer here.", "Add it again.")
        return upload

    def select(self, ids: object) -> list[Upload]:
        """Return several photos. Raises UsageError unless ``ids`` is a list."""
        if not isinstance(ids, list):
            raise UsageError("The photos are not a list.")
        return [self.find(id_) for id_ in ids]

    def remove(self, upload: Upload) -> None:
        """Forget a photo; its files are deleted now or, while it is upscaled, right after."""
        upload.removed = True
        self.uploads.pop(upload.id, None)
        if upload.job:
            upload.job.cancel()
        if not upload.is_active:
            upload.delete()
        self.announce(upload.id)
        self.announce(QUEUE)

    def check_count(self) -> None:
        """Raise TooLarge when there is no room for another photo."""
        if len(self.uploads) + self.receiving >= self.limits.photos:
            raise TooLarge(
                f"This page holds at most {self.limits.photos} photos.",
                "Remove some, or use addsr batch for whole folders.",
            )

    def announce(self, name: str) -> None:
        """Tell all open tabs what has changed: the id of a photo, or QUEUE. For any thread."""
        for stream in list(self.streams):
            stream.add(name)

    @property
    def is_active(self) -> bool:
        """Whether a tab is open, a photo arrives, or one is in the queue."""
        has_work = any(upload.is_active for upload in self.uploads.values())
        return bool(self.streams or self.receiving or has_work)

    def close(self) -> None:
        """Cancel its jobs and delete its files."""
        if self.preview:
            self.preview.cancel()
        for upload in list(self.uploads.values()):
            self.remove(upload)
        shutil.rmtree(self.folder, ignore_errors=True)


class Sessions:
    """All browsers that use the page."""

    def __init__(
        self,
        folder: Path,
        limits: Limits,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder = folder
        self.limits = limits
        self._clock = clock
        self._sessions: dict[str, PageSession] = {}

    def __iter__(self) -> Iterator[PageSession]:
        return iter(list(self._sessions.values()))

    def create(self) -> PageSession:
        """Start a session; the one that has been idle longest makes room, if it must.

        Raises TooLarge when all are active.
        """
        self.expire()
        if len(self._sessions) >= self.limits.sessions:
            self._make_room()
        session = PageSession(self.folder, self.limits, self._clock())
        self._sessions[session.key] = session
        return session

    def find(self, key: str) -> PageSession | None:
        """Return the session of a cookie, and note that its browser is there."""
        session = self._sessions.get(key)
        if session:
            session.last_contact = self._clock()
        return session

    def expire(self) -> None:
        """Forget browsers that have been idle for too long."""
        now = self._clock()
        for session in self:
            if session.is_active:
                session.last_contact = now
            elif now - session.last_contact > self.limits.idle_seconds:
                self._close(session)

    def _make_room(self) -> None:
        idle = [session for session in self if not session.is_active]
        if not idle:
            raise TooLarge(
                f"{self.limits.sessions} browsers use this page already.", "Close one of them."
            )
        self._close(min(idle, key=lambda session: session.last_contact))

    def _close(self, session: PageSession) -> None:
        del self._sessions[session.key]
        session.close()

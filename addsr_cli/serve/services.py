"""What the handlers of requests share."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from anyio import CapacityLimiter
from starlette.requests import Request

from addsr_cli.errors import UsageError
from addsr_cli.imageio import readable_suffixes
from addsr_cli.serve.access import SESSION
from addsr_cli.serve.limits import Limits
from addsr_cli.serve.page_session import PageSession, Sessions
from addsr_cli.serve.photo_queue import PhotoQueue
from addsr_cli.version import __version__

MAX_JSON_BYTES = 100_000


@dataclass(frozen=True, kw_only=True)
class Services:
    """The parts of a running page.

    ``open_folder`` shows the folder of results to the user; ``is_closing`` says that the server is
    about to end, so that event streams have to end, too. ``decoding`` limits how many photos are
    decoded at once for thumbnails.
    """

    limits: Limits
    sessions: Sessions
    queue: PhotoQueue
    open_folder: Callable[[], None]
    is_closing: Callable[[], bool] = lambda: False
    decoding: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(1))

    def record(self, session: PageSession) -> dict[str, Any]:
        """Return everything that a page shows when it opens."""
        folder = self.queue.output_folder
        return {
            "version": __version__,
            "models": self.queue.models.records(),
            "model": self.queue.models.default,
            "folder": folder.name or str(folder) if folder else None,
            "limits": {
                "photo_bytes": self.limits.photo_bytes,
                "photos": self.limits.photos,
            },
            "suffixes": sorted(readable_suffixes()),
            "photos": [upload.record() for upload in list(session.uploads.values())],
            "queue": self.queue.summary(session),
        }


def services_of(request: Request) -> Services:
    """Return the services of the application that handles a request."""
    services: Services = request.app.state.services
    return services


def session_of(request: Request) -> PageSession:
    """Return the session that `Gate` has found for a request."""
    session: PageSession = request.scope[SESSION]
    return session


async def read_json(request: Request) -> dict[str, Any]:
    """Return the JSON object in the body of a request. Raises UsageError."""
    if request.headers.get("content-type", "").partition(";")[0] != "application/json":
        raise UsageError("The request is not JSON.")
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_JSON_BYTES:
            raise UsageError("The request is too long.")
    data = _parse(body)
    if not isinstance(data, dict):
        raise UsageError("The request is not a JSON object.")
    return data


def _parse(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise UsageError("The request is not valid JSON.") from exc

"""The stream of changes that keeps every open tab up to date (server-sent events)."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from addsr_cli.serve.changes import Changes
from addsr_cli.serve.page_session import QUEUE, PageSession
from addsr_cli.serve.services import Services, services_of, session_of

POLL = 0.5  # seconds between looks whether the server is closing
COALESCE = 0.1  # seconds in which several changes of a photo become one event
HEARTBEAT = 15.0  # seconds; a connection that is gone shows when something is sent


async def events(request: Request) -> Response:
    """Send the whole state, then every change."""
    return EventStream(session_of(request), services_of(request))


class EventStream(StreamingResponse):
    """The changes of one session, for one tab."""

    def __init__(self, session: PageSession, services: Services) -> None:
        self.session = session
        self.services = services
        self.changes = Changes()
        super().__init__(self.messages(), media_type="text/event-stream")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the tab is closed or the server ends."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self.session.streams.discard(self.changes)

    async def messages(self) -> AsyncIterator[str]:
        """Yield the state as it is now and, from then on, what changes."""
        self.session.streams.add(self.changes)
        yield _message("state", self.services.record(self.session))
        sent = time.monotonic()
        while not self.services.is_closing():
            names = await self.changes.wait(POLL)
            for name in names:
                yield self._change(name)
            if names:
                sent = time.monotonic()
                await asyncio.sleep(COALESCE)
            elif time.monotonic() - sent > HEARTBEAT:
                sent = time.monotonic()
                yield ": still here\n\n"

    def _change(self, name: str) -> str:
        if name == QUEUE:
            return _message("queue", self.services.queue.summary(self.session))
        upload = self.session.uploads.get(name)
        if upload is None:
            return _message("removed", {"id": name})
        return _message("photo", upload.record())


def _message(event: str, data: dict[str, Any]) -> str:
    return f"event: {event}\ndata: {json.dumps(data)}\n\n"

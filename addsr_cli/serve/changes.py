"""What an open page has not heard of yet; threads add to it, and an event stream sends it."""

import asyncio
from contextlib import suppress
from threading import Lock


class Changes:
    """The names of what has changed since the stream last looked, each once, in order.

    Created in the event loop of the stream; ``add`` may be called from any thread.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()
        self._names: dict[str, None] = {}
        self._lock = Lock()

    def add(self, name: str) -> None:
        """Note a change and wake the stream."""
        with self._lock:
            self._names[name] = None
        with suppress(RuntimeError):  # the loop has ended, and with it the stream
            self._loop.call_soon_threadsafe(self._event.set)

    async def wait(self, seconds: float) -> list[str]:
        """Return what has changed, as soon as something has; empty after ``seconds``."""
        try:
            await asyncio.wait_for(self._event.wait(), seconds)
        except TimeoutError:
            return []
        self._event.clear()
        with self._lock:
            names = list(self._names)
            self._names.clear()
        return names

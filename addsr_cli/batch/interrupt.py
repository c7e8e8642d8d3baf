"""Ctrl-C in a batch: the first one finishes the files in flight, the second one stops at once."""

import signal
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self


class InterruptHandler:
    """In the context the first Ctrl-C sets ``interrupted``, the second raises KeyboardInterrupt.

    ``on_interrupt`` is called after the first one.
    """

    def __init__(self, on_interrupt: Callable[[], None]) -> None:
        self.interrupted = False
        self._on_interrupt = on_interrupt
        self._previous: Any = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, self._previous)

    def should_stop(self) -> bool:
        """Whether Ctrl-C was pressed."""
        return self.interrupted

    def _handle(self, number: int, frame: object) -> None:
        if self.interrupted:
            raise KeyboardInterrupt
        self.interrupted = True
        # In a thread: the signal may have arrived in the middle of a print, which is not reentrant.
        threading.Thread(target=self._on_interrupt).start()

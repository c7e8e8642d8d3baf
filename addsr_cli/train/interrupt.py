"""Handle Ctrl-C and SIGTERM between training steps, never in the middle of one.

Schedulers of clusters send SIGTERM some time before they end a job.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Whether the run was asked to stop, by ``requested``; signals are caught in ``watched``.

    ``alone`` says that no other process takes part: a signal outside ``deferred`` then raises
    KeyboardInterrupt at once. Otherwise all processes have to stop after the same step.
    """

    def __init__(self, *, alone: bool = True) -> None:
        self.alone = alone
        self.requested = False
        self.in_step = False

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Catch the signals within the block; outside the main thread, do nothing."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        previous = {each: signal.signal(each, self._handle) for each in SIGNALS}
        try:
            yield
        finally:
            for each, handler in previous.items():
                signal.signal(each, handler)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Only set ``requested`` within the block."""
        self.in_step = True
        try:
            yield
        finally:
            self.in_step = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        if self.alone and not self.in_step:
            raise KeyboardInterrupt

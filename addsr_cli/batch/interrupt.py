"""Ctrl-C once asks a batch to end after the files in flight; twice ends it now."""

import signal
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self


class Interrupts:
    """Within ``with Interrupts(...)`` the first Ctrl-C sets ``asked`` and is told of; the second is one as ever."""

    def __init__(self, tell: Callable[[], None]) -> None:
        self.asked = False
        self._tell = tell
        self._before: Any = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._caught)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, self._before)

    def stopping(self) -> bool:
        """Whether it was asked to end."""
        return self.asked

    def _caught(self, number: int, frame: object) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        threading.Thread(
            target=self._tell
        ).start()  # not here: the signal may have come in the middle of a print

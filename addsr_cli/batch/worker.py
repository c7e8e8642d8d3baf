"""A background thread beside the one that runs the network."""

from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

T = TypeVar("T")
JOIN_TIMEOUT = 2.0  # seconds


class Worker:
    """One daemon thread that runs functions in order.

    Unlike a ThreadPoolExecutor it does not keep the program alive until a running function, such as
    the decoding of a large photo, returns.
    """

    def __init__(self, name: str) -> None:
        self._queue: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._thread = Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, function: Callable[[], T]) -> "Future[T]":
        """Queue a function; the future gets its result or exception."""
        future: Future[T] = Future()
        self._queue.put((future, function))
        return future

    def close(self) -> None:
        """End the thread once the queue is empty, and wait for it up to ``JOIN_TIMEOUT``.

        Without the wait, a thread that ends during the interpreter's shutdown can abort the process
        in native code of a library.
        """
        self._queue.put(None)
        self._thread.join(JOIN_TIMEOUT)

    def _run(self) -> None:
        while item := self._queue.get():
            future, function = item
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(function())
            except BaseException as exc:  # noqa: BLE001 (not swallowed: raised by future.result())
                future.set_exception(exc)
            # They hold pictures, and the next item may take long to arrive.
            del item, future, function

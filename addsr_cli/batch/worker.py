"""A thread beside the network's: reading ahead, or writing behind."""

from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

T = TypeVar("T")
PATIENCE = 2.0  # seconds; one who wants the program to stop now has no more


class Worker:
    """One thread that does things in the order given; the program hardly waits for it at its end, unlike a pool."""

    def __init__(self, name: str) -> None:
        self._queue: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._thread = Thread(
            target=self._work,
            name=name,
            daemon=True,
        )
        self._thread.start()

    def submit(self, do: Callable[[], T]) -> "Future[T]":
        """Have something done; its result or exception is the future's."""
        future: Future[T] = Future()
        self._queue.put((future, do))
        return future

    def close(self) -> None:
        """Let the thread end once it has done what it was given, and wait a moment for that.

        A thread that is just ending while the program does can take it down with an abort from a
        library's own code.
        """
        self._queue.put(None)
        self._thread.join(PATIENCE)

    def _work(self) -> None:
        while task := self._queue.get():
            future, do = task
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(do())
            except BaseException as exc:  # noqa: BLE001 (not swallowed: whoever asks for the result gets it)
                future.set_exception(exc)
            del task, future, do  # they hold pictures, and the next task may be long in coming

"""One thread that runs jobs one after the other, each of which can be cancelled."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from threading import Condition, Event, Thread
from typing import Any, Generic, TypeVar

T = TypeVar("T")
JOIN_TIMEOUT = 10.0  # seconds; a tile of a large photo may take as long


class Cancelled(Exception):
    """The job was cancelled while it ran."""


class QueuedJob(Generic[T]):
    """A function in the queue; ``future`` gets its result or exception.

    The function is called with this job, and calls ``check`` as often as it can.
    """

    def __init__(self, function: "Callable[[QueuedJob[T]], T]") -> None:
        self.future: Future[T] = Future()
        self._function = function
        self._cancelled = Event()

    def cancel(self) -> None:
        """Remove the job from the queue or, if it runs, end it at the next ``check``."""
        self._cancelled.set()
        self.future.cancel()

    def check(self) -> None:
        """Raise Cancelled if the job has been cancelled."""
        if self._cancelled.is_set():
            raise Cancelled

    def run(self) -> None:
        """Call the function, unless the job was cancelled before."""
        function = self._function
        del self._function  # it holds the photo, and whoever keeps this job only wants the result
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            result = function(self)
        except BaseException as exc:  # noqa: BLE001 (not swallowed: raised by future.result())
            self.future.set_exception(exc)
        else:
            self.future.set_result(result)


class JobQueue:
    """A daemon thread that runs jobs in order; urgent ones before all others that wait."""

    def __init__(self) -> None:
        self._urgent: deque[QueuedJob[Any]] = deque()
        self._waiting: deque[QueuedJob[Any]] = deque()
        self._running: QueuedJob[Any] | None = None
        self._changed = Condition()
        self._closed = False
        self._thread = Thread(target=self._run, name="addsr-serve", daemon=True)
        self._thread.start()

    def submit(
        self,
        function: Callable[[QueuedJob[T]], T],
        *,
        urgent: bool = False,
    ) -> QueuedJob[T]:
        """Queue a function and return its job."""
        job = QueuedJob(function)
        with self._changed:
            (self._urgent if urgent else self._waiting).append(job)
            self._changed.notify()
        return job

    def close(self) -> None:
        """Cancel all jobs and end the thread; waits for it up to ``JOIN_TIMEOUT``.

        A thread that still runs native code while the interpreter shuts down can abort the process.
        """
        with self._changed:
            self._closed = True
            jobs = [*self._urgent, *self._waiting]
            if self._running:
                jobs.append(self._running)
            self._changed.notify()
        for job in jobs:
            job.cancel()
        self._thread.join(JOIN_TIMEOUT)

    def _run(self) -> None:
        while job := self._next():
            job.run()
            with self._changed:
                self._running = None
            del job  # it holds pictures, and the next one may take long to arrive

    def _next(self) -> QueuedJob[Any] | None:
        """Wait for the next job; None once the queue is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._urgent or self._waiting)
            if self._closed:
                return None
            self._running = (self._urgent or self._waiting).popleft()
            return self._running

"""Bands of a picture on several cores, for work that releases the interpreter's lock."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Value = TypeVar("Value")

MAX_THREADS = 8  # more take memory, and the disk is slower by then


def ordered_map(function: Callable[[Item], Value], items: Iterable[Item]) -> Iterator[Value]:
    """Yield ``function(item)`` for every item, in order, computed by up to 8 threads.

    At most two results per thread wait to be taken, so that memory stays bounded.
    """
    threads = min(MAX_THREADS, _available_cores())
    waiting: deque[Future[Value]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="addsr-encode") as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:  # after an error or an interruption
                future.cancel()


def _available_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

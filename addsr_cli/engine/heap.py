"""Returning freed memory to the system between stages, where the C library can."""

import ctypes
import sys


def release_heap() -> None:
    """Return what is free between the pieces in use of glibc's heap; do nothing elsewhere.

    Otherwise what one stage has freed stays resident while the next one asks for more. It takes
    milliseconds, and the pages that are used again as much once more.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim:
        trim(0)

"""Which exceptions are the failure of one file, and which of the whole batch."""

from addsr_cli.engine.job import picture_out_of_memory
from addsr_cli.errors import (
    AddsrError,
    ModelUnavailable,
    NoSpace,
    OutputVanished,
    UsageError,
)

# These would fail the next file as well, so they end the batch.
FATAL = (NoSpace, OutputVanished, ModelUnavailable, UsageError)

# What libraries raise over files that they do not expect.
UNEXPECTED = (
    ArithmeticError,
    AssertionError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)
MAX_UNEXPECTED = 5  # so many in a row are the fault of the machine, not of the files


class UnexpectedError(AddsrError):
    """An exception of a library over one file."""

    code = "unexpected"


def to_addsr_error(exc: BaseException) -> AddsrError:
    """Return an exception as an error that can be journaled and printed."""
    if isinstance(exc, AddsrError):
        return exc
    if isinstance(exc, MemoryError):
        return picture_out_of_memory(exc)
    text = " ".join(str(exc).split())[:300]
    error = UnexpectedError(
        f"Unexpected {type(exc).__name__}: {text}.",
        "Please report it, with this file if you can share it.",
    )
    error.__cause__ = exc
    return error

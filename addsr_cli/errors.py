"""Every failure that addsr foresees, as one tree.

::

    AddsrError              exit 1   anything foreseen that fits nowhere below
    ├── UsageError          exit 2   the request contradicts itself or makes no sense
    ├── ModelUnavailable    exit 4   weights missing, offline, or not what they should be
    ├── OutOfMemory         exit 5   even the smallest plan does not fit
    ├── UnreadableInput     exit 6   not a picture, broken, or not ours to read
    └── OutputRefused       exit 7   exists, cannot be held by the format, not writable
        ├── NoSpace         exit 7   the disk is full
        └── OutputVanished  exit 7   the output folder went away during the run

Exit 3 (some files failed) and 130 (interrupted) belong to the command line, not to one failure.
"""

from typing import ClassVar


class AddsrError(Exception):
    """A failure that says what happened and what to do next.

    ``message`` is one sentence on what failed and why; ``hint`` is what to type or change next, or
    empty.
    """

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(AddsrError):
    """The request contradicts itself, or asks for what cannot be."""

    code = "usage"
    exit_code = 2


class ModelUnavailable(AddsrError):
    """The weights are missing, cannot be fetched, or are not what their checksum says."""

    code = "model_unavailable"
    exit_code = 4


class OutOfMemory(AddsrError):
    """Even the smallest plan does not fit into memory."""

    code = "out_of_memory"
    exit_code = 5


class UnreadableInput(AddsrError):
    """The input is missing, broken, too large to be true, or not a picture."""

    code = "unreadable_input"
    exit_code = 6


class OutputRefused(AddsrError):
    """The output cannot or must not be written."""

    code = "output_refused"
    exit_code = 7


class NoSpace(OutputRefused):
    """The disk is full: what fails for one file will fail for the next."""


class OutputVanished(OutputRefused):
    """The output folder was deleted or moved while it was written into."""

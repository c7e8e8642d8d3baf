"""The errors that addsr reports, as one tree.

::

    AddsrError              exit 1   any other error
    ├── UsageError          exit 2   contradictory or invalid options
    ├── ModelUnavailable    exit 4   weights are missing, cannot be downloaded, or are damaged
    ├── OutOfMemory         exit 5   even the smallest plan does not fit
    ├── UnreadableInput     exit 6   missing, damaged, not a picture, or no permission
    └── OutputRefused       exit 7   exists, not possible in this format, or not writable
        ├── NoSpace         exit 7   the disk is full
        └── OutputVanished  exit 7   the output folder was deleted during the run

Exit 3 (some files failed) and 130 (interrupted) are those of the command line, not of one error.
"""

from typing import ClassVar


class AddsrError(Exception):
    """An error that says what failed and what to do next.

    ``message`` is one sentence on what failed and why; ``hint`` is what to type or change next, or
    empty.
    """

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def record(self) -> dict[str, str]:
        """Return the code, message and hint, as JSON output has them."""
        return {"code": self.code, "message": self.message, "hint": self.hint}


class UsageError(AddsrError):
    """Options or arguments are invalid or contradict each other."""

    code = "usage"
    exit_code = 2


class ModelUnavailable(AddsrError):
    """Weights are missing, cannot be downloaded, or do not match their checksum."""

    code = "model_unavailable"
    exit_code = 4


class OutOfMemory(AddsrError):
    """Even the smallest plan does not fit into memory."""

    code = "out_of_memory"
    exit_code = 5


class UnreadableInput(AddsrError):
    """An input is missing, damaged, implausibly large, or not a picture."""

    code = "unreadable_input"
    exit_code = 6


class OutputRefused(AddsrError):
    """An output cannot or must not be written."""

    code = "output_refused"
    exit_code = 7


class NoSpace(OutputRefused):
    """The disk is full, so the next file would fail as well."""


class OutputVanished(OutputRefused):
    """The output folder was deleted or moved during the run."""

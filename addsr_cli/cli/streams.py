"""Standard streams that are closed, full, or have an encoding without the characters of a name."""

import io
import os
import sys
from contextlib import suppress
from typing import TextIO

from addsr_cli.errors import OutputRefused


class StandardOutput(io.TextIOWrapper):
    """stdout: the first failed write raises OutputRefused, later ones are ignored.

    A closed pipe remains a BrokenPipeError, which ends the program silently.
    """

    error: OutputRefused | None = None

    def write(self, text: str) -> int:
        """Write, or raise OutputRefused the first time that this fails."""
        if not self.error:
            try:
                return super().write(text)
            except BrokenPipeError:
                raise
            except OSError as exc:
                raise self._refused(exc) from exc
        return len(text)

    def flush(self) -> None:
        """Flush, or raise OutputRefused the first time that this fails."""
        if not self.error:
            try:
                super().flush()
            except BrokenPipeError:
                raise
            except OSError as exc:
                raise self._refused(exc) from exc

    def _refused(self, exc: OSError) -> OutputRefused:
        self.error = OutputRefused(
            f"stdout cannot be written: {exc.strerror}.",
            "Redirect it to a file on a disk with free space.",
        )
        return self.error


class StandardError(io.TextIOWrapper):
    """stderr: messages that cannot be written are dropped, and the work continues."""

    def write(self, text: str) -> int:
        """Write if possible."""
        try:
            return super().write(text)
        except OSError:
            return len(text)

    def flush(self) -> None:
        """Flush if possible."""
        with suppress(OSError):
            super().flush()


def prepare() -> None:
    """Make the standard streams safe to use; call this once, before any other file is opened.

    Closed descriptors are opened on the null device: otherwise the next file to be opened would get
    their numbers, and would receive what libraries print. ``sys.stdin`` stays None if it was
    closed.
    """
    while True:
        descriptor = os.open(os.devnull, os.O_RDWR)
        if descriptor > 2:
            os.close(descriptor)
            break
    sys.stdout = _null_stream() if sys.stdout is None else _wrap(sys.stdout, StandardOutput)
    sys.stderr = _null_stream() if sys.stderr is None else _wrap(sys.stderr, StandardError)


def final_exit_code(code: int) -> int:
    """Return the exit code, changed from 0 if stdout could not be written.

    Libraries that print may have caught the error.
    """
    if not isinstance(sys.stdout, StandardOutput):
        return code
    with suppress(OutputRefused, BrokenPipeError):
        sys.stdout.flush()
    error = sys.stdout.error
    if error is None or code != 0:
        return code
    print(
        f"error: {error.message} {error.hint}",
        file=sys.stderr,
        flush=True,
    )
    return error.exit_code


def stdout_closed() -> bool:
    """Whether the program was started without a stdout."""
    return sys.__stdout__ is None


def _null_stream() -> io.TextIOWrapper:
    return io.TextIOWrapper(
        io.BytesIO(),
        encoding="utf-8",
        errors="replace",
    )


def _wrap(stream: TextIO, kind: type[StandardOutput] | type[StandardError]) -> TextIO:
    """Return a stream as ``kind``; a stream that a test or another program replaced stays."""
    if type(stream) is not io.TextIOWrapper:
        return stream
    stream.flush()
    return kind(
        stream.buffer,
        encoding=stream.encoding,
        errors=_error_handler(stream.encoding),
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def _error_handler(encoding: str) -> str:
    """Return how to write file names that are not valid in an encoding: as bytes, or escaped."""
    is_utf8 = encoding.lower().replace("-", "") == "utf8"
    return "surrogateescape" if is_utf8 else "backslashreplace"

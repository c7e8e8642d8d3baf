"""stdin, stdout and stderr as they may be found: closed, full, or of an encoding that misses names."""

import io
import os
import sys
from contextlib import suppress
from typing import TextIO

from addsr_cli.errors import OutputRefused


class StandardOutput(io.TextIOWrapper):
    """stdout as text: when it takes no more, that is one OutputRefused, and silence afterwards.

    A reader that went away stays a BrokenPipeError, which ends the program without a word.
    """

    refused: OutputRefused | None = None

    def write(self, text: str) -> int:
        """Write, or raise OutputRefused the first time that it fails."""
        if not self.refused:
            try:
                return super().write(text)
            except BrokenPipeError:
                raise
            except OSError as exc:
                raise self._refusal(exc) from exc
        return len(text)

    def flush(self) -> None:
        """Flush, or raise OutputRefused the first time that it fails."""
        if not self.refused:
            try:
                super().flush()
            except BrokenPipeError:
                raise
            except OSError as exc:
                raise self._refusal(exc) from exc

    def _refusal(self, exc: OSError) -> OutputRefused:
        hint = "Redirect it to a file on a disk with room."
        self.refused = OutputRefused(f"stdout takes no more: {exc.strerror}.", hint)
        return self.refused


class StandardError(io.TextIOWrapper):
    """stderr: what cannot be said there is not said, and the work goes on."""

    def write(self, text: str) -> int:
        """Write if that is possible."""
        try:
            return super().write(text)
        except OSError:
            return len(text)

    def flush(self) -> None:
        """Flush if that is possible."""
        with suppress(OSError):
            super().flush()


def prepare() -> None:
    """Make the standard streams safe to use: call it once, before anything else opens a file.

    Descriptors that are closed are opened on the null device, or the next file to be opened would
    take their numbers and receive what libraries print. stdin stays None where it was closed.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    sys.stdout = _nowhere() if sys.stdout is None else _wrapped(sys.stdout, StandardOutput)
    sys.stderr = _nowhere() if sys.stderr is None else _wrapped(sys.stderr, StandardError)


def final_exit_code(code: int) -> int:
    """The exit code, changed when everything went well except that stdout took not all of it.

    Libraries that print may have kept that to themselves.
    """
    if isinstance(sys.stdout, StandardOutput):
        with suppress(OutputRefused, BrokenPipeError):
            sys.stdout.flush()
        refused = sys.stdout.refused
        if refused and code == 0:
            print(f"error: {refused.message} {refused.hint}", file=sys.stderr, flush=True)
            return refused.exit_code
    return code


def stdout_closed() -> bool:
    """Whether the program was started without a stdout."""
    return sys.__stdout__ is None


def _nowhere() -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="replace")


def _wrapped(stream: TextIO, kind: type[StandardOutput] | type[StandardError]) -> TextIO:
    """The same stream as ``kind``; what a test or another program put in its place stays."""
    if type(stream) is not io.TextIOWrapper:
        return stream
    stream.flush()
    return kind(
        stream.buffer,
        encoding=stream.encoding,
        errors=_errors(stream.encoding),
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def _errors(encoding: str) -> str:
    """How file names that an encoding does not know pass: as their bytes, or escaped."""
    return "surrogateescape" if encoding.lower().replace("-", "") == "utf8" else "backslashreplace"

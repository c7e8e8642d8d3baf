"""``python -m addsr_cli`` and the ``addsr`` script."""

import io
import signal
import sys


def main() -> None:
    """Run the command line and exit with its code."""
    _take_any_name(sys.stdout)
    signal.signal(signal.SIGTERM, _terminated)
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as under nohup
        signal.signal(signal.SIGHUP, _terminated)
    try:
        from addsr_cli.cli.app import run
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        sys.exit(130)
    sys.exit(run())


def _terminated(number: int, _: object) -> None:
    """Leave through every ``finally``, so that no half-written file stays; the shell sees 128 + the signal."""
    sys.exit(128 + number)


def _take_any_name(stream: object) -> None:
    """Let file names that the stream's encoding does not know pass as their bytes, or escaped, not fail."""
    if isinstance(stream, io.TextIOWrapper):
        unicode = stream.encoding.lower().replace("-", "") == "utf8"
        stream.reconfigure(errors="surrogateescape" if unicode else "backslashreplace")


if __name__ == "__main__":
    main()

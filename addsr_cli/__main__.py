"""``python -m addsr_cli`` and the ``addsr`` script."""

import signal
import sys

from addsr_cli.cli import streams


def main() -> None:
    """Run the command line and exit with its code."""
    streams.prepare()
    signal.signal(signal.SIGTERM, _terminated)
    if (
        hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
    ):  # as under nohup
        signal.signal(signal.SIGHUP, _terminated)
    try:
        from addsr_cli.cli.app import run
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        sys.exit(130)
    sys.exit(streams.final_exit_code(run()))


def _terminated(number: int, _: object) -> None:
    """Leave through every ``finally``, so that no half-written file stays; the shell sees 128 + the signal."""
    sys.exit(128 + number)


if __name__ == "__main__":
    main()

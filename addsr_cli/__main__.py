"""``python -m addsr_cli`` and the ``addsr`` command."""

import atexit
import gc
import os
import signal
import sys

from addsr_cli.cli import streams
from addsr_cli.cli.exit_codes import INTERRUPTED


def main() -> None:
    """Run the command line and exit with its code."""
    _save_processor_time()
    streams.prepare()
    _exit_on_signals()
    try:
        from addsr_cli.cli.app import run  # takes long enough to be interrupted
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        sys.exit(INTERRUPTED)
    sys.exit(streams.final_exit_code(run()))


def _save_processor_time() -> None:
    """Set up the interpreter and OpenMP for a command; must run before torch is imported.

    By default OpenMP's threads spin while they wait for work. Where other programs want the same
    cores, that cost two thirds of all processor time and made nothing faster. And Python looks for
    cyclic garbage after every 700 new objects, of which imports alone make half a million. As it
    exits, it looks once more through all of them, for 0.3 s; memory goes back to the system anyway.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    gc.set_threshold(50_000)
    atexit.register(gc.freeze)


def _exit_on_signals() -> None:
    signal.signal(signal.SIGTERM, _exit)
    # nohup ignores SIGHUP, which must stay so.
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _exit)


def _exit(number: int, _: object) -> None:
    """Exit with 128 + the signal as an exception, so that every ``finally`` removes its files."""
    sys.exit(128 + number)


if __name__ == "__main__":
    main()

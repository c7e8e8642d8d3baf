"""``python -m addsr_cli`` and the ``addsr`` script."""

import sys


def main() -> None:
    """Run the command line and exit with its code."""
    from addsr_cli.cli.app import run

    sys.exit(run())


if __name__ == "__main__":
    main()

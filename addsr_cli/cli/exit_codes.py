"""Exit codes that belong to the command line; those of single errors are in `addsr_cli.errors`."""

UNEXPECTED = 1
NOT_REPRODUCED = 8  # ``addsr verify`` says no
SOME_FAILED = 3  # other files succeeded
INTERRUPTED = 130  # 128 + SIGINT, as shells report it

"""Watches a folder for new photos and upscales them as they arrive."""

import time
from collections.abc import Callable

from addsr_cli.batch.pipeline import RunOptions
from addsr_cli.batch.session import Session
from addsr_cli.batch.task import FileStat, file_stat
from addsr_cli.batch.writer import Observer

POLLS = 4  # checks of the folder while a file must stay unchanged
NAP_SECONDS = 0.1


def watch(
    session: Session,
    observer: Observer,
    stopping: Callable[[], bool],
    options: RunOptions,
    quiet_seconds: float,
) -> None:
    """Upscale photos that have not changed for ``quiet_seconds``, until ``stopping``.

    A file that is still being copied changes, so it waits until it is complete.
    """
    last_changes: dict[str, tuple[FileStat, float]] = {}
    handled: dict[str, FileStat] = {}
    while not (stopping() or (options.fail_fast and session.failures)):
        now = time.monotonic()
        last_changes = _update(session, last_changes, now)
        quiet = [name for name, (_, since) in last_changes.items() if now - since >= quiet_seconds]
        stats = {name: last_changes[name][0] for name in quiet}
        new = {name for name in session.own_names(quiet) if handled.get(name) != stats[name]}
        if new:
            session.run(
                session.queue(quiet, new),
                observer,
                stopping,
                options,
            )
            handled |= {name: stats[name] for name in new}
            session.write_failures()
        _sleep(quiet_seconds / POLLS, stopping)


def _update(
    session: Session,
    last_changes: dict[str, tuple[FileStat, float]],
    now: float,
) -> dict[str, tuple[FileStat, float]]:
    """Return the current stat of every photo, and since when it is the same."""
    updated = {}
    for name in session.walk().photos:
        stat = file_stat(session.config.root / name)
        previous, since = last_changes.get(name, (stat, now))
        updated[name] = (stat, since if previous == stat else now)
    return updated


def _sleep(seconds: float, stopping: Callable[[], bool]) -> None:
    """Sleep in short naps, since a signal handler that returns does not end a sleep."""
    end = time.monotonic() + seconds
    while not stopping():
        remaining = end - time.monotonic()
        if remaining <= 0:
            return
        time.sleep(min(NAP_SECONDS, remaining))

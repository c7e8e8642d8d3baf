"""What ``--data`` names: a folder of photos, or its first so many."""

from pathlib import Path


def split_count(entry: Path) -> tuple[Path, int | None]:
    """``LSDIR:20000`` -> the folder and how many of its photos; None for all of them.

    A folder whose name ends like that is taken as it is.
    """
    folder, _, count = str(entry).rpartition(":")
    if not folder or not count.isdecimal() or entry.is_dir():
        return entry, None
    return Path(folder), int(count)

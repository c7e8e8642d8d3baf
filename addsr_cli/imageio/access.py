"""File permissions of outputs: at most those of the input, or of the file that is replaced."""

import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import reduce

_NEW_FILE = 0o666  # permissions of a new file before the umask
_OWNER_READ_WRITE = 0o600
_ALL_BITS = 0o777


@dataclass(frozen=True, kw_only=True)
class FileAccess:
    """Permission bits of a file, and the id of the group that its group bits are for."""

    mode: int
    group: int

    @classmethod
    def of(cls, descriptor: int) -> "FileAccess | None":
        """Return those of an open file; None on systems without permission bits."""
        if sys.platform == "win32":
            return None
        status = os.fstat(descriptor)
        return cls(
            mode=status.st_mode & _ALL_BITS,
            group=status.st_gid,
        )

    def within(self, group: int) -> int:
        """Return the bits for a file of ``group`` that may be read by nobody new.

        A different group gets no more than everybody.
        """
        if group == self.group:
            return self.mode | _OWNER_READ_WRITE
        others = self.mode & 0o007
        return self.mode & ~0o070 | others << 3 | _OWNER_READ_WRITE


def common_access(accesses: Iterable[FileAccess | None]) -> FileAccess | None:
    """Return what all of several inputs allow; None when none of them has permissions."""

    def intersect(a: FileAccess, b: FileAccess) -> FileAccess:
        return FileAccess(mode=a.mode & b.within(a.group), group=a.group)

    known = [access for access in accesses if access]
    return reduce(intersect, known) if known else None


def apply_access(
    descriptor: int,
    source: FileAccess | None,
    older: os.stat_result | None,
) -> None:
    """Set the final permissions of a file that was created with mode 600.

    A file that replaces ``older`` gets its mode and, where allowed, its owner. A new file follows
    the umask within what ``source`` allows. On file systems without permissions nothing happens.
    """
    if sys.platform == "win32":
        return
    with suppress(OSError):
        if older:
            os.fchmod(descriptor, _replacement_mode(descriptor, older))
        else:
            os.fchmod(descriptor, _new_file_mode(descriptor, source))


def _new_file_mode(descriptor: int, source: FileAccess | None) -> int:
    # The umask can only be read by setting it. Files that other threads create meanwhile are
    # private.
    umask = os.umask(0o077)
    os.umask(umask)
    mode = _NEW_FILE & ~umask
    if source is None:
        return mode
    return mode & source.within(os.fstat(descriptor).st_gid)


def _replacement_mode(descriptor: int, older: os.stat_result) -> int:
    """Hand on the owner of ``older`` where that is allowed, and return the mode to set."""
    keep_owner = -1  # a user who may not give files away may still choose among own groups
    for owner in (older.st_uid, keep_owner):
        with suppress(PermissionError):
            os.fchown(descriptor, owner, older.st_gid)
            break
    access = FileAccess(
        mode=older.st_mode & _ALL_BITS,
        group=older.st_gid,
    )
    if os.fstat(descriptor).st_gid == older.st_gid:
        return access.mode
    return access.within(-1)

"""Who may read an output: nobody who could not read the input or the file that it replaces."""

import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import reduce

_NEW = 0o666  # what a new file may be at most, before the umask
_OWNER = 0o600  # whoever makes a file may always read and write it
_ANYBODY = 0o777


@dataclass(frozen=True, kw_only=True)
class Access:
    """Permission bits of a file, and the number of the group that its group bits are about."""

    mode: int
    group: int

    @classmethod
    def of(cls, descriptor: int) -> "Access | None":
        """Those of an open file; None on systems without permission bits."""
        if sys.platform == "win32":
            return None
        status = os.fstat(descriptor)
        return cls(mode=status.st_mode & _ANYBODY, group=status.st_gid)

    def within(self, group: int) -> int:
        """The bits that a file of another owner, and perhaps of another group, may have."""
        if group == self.group:
            return self.mode | _OWNER
        return self.mode & ~0o070 | (self.mode & 0o007) << 3 | _OWNER


def common_access(found: Iterable[Access | None]) -> Access | None:
    """What all of several inputs allow."""

    def both(a: Access, b: Access) -> Access:
        return Access(mode=a.mode & b.within(a.group), group=a.group)

    known = [each for each in found if each]
    return reduce(both, known) if known else None


def apply_access(descriptor: int, source: Access | None, older: os.stat_result | None) -> None:
    """Give a file that was made with mode 600 its true one.

    A file that replaces ``older`` takes over its owner and mode, where that is allowed. New files
    follow the umask within what ``source`` allows. File systems without permissions are left as
    they are.
    """
    if sys.platform == "win32":
        return
    with suppress(OSError):
        os.fchmod(
            descriptor, _replacing(descriptor, older) if older else _fresh(descriptor, source)
        )


def _fresh(descriptor: int, source: Access | None) -> int:
    umask = os.umask(0o077)  # there is no other way to read it; files made meanwhile are private
    os.umask(umask)
    usual = _NEW & ~umask
    return usual & source.within(os.fstat(descriptor).st_gid) if source else usual


def _replacing(descriptor: int, older: os.stat_result) -> int:
    for owner in (
        older.st_uid,
        -1,
    ):  # who may not give files away may still choose among own groups
        with suppress(PermissionError):
            os.fchown(descriptor, owner, older.st_gid)
            break
    before = Access(mode=older.st_mode & _ANYBODY, group=older.st_gid)
    same = os.fstat(descriptor).st_gid == older.st_gid
    return before.mode if same else before.within(-1)

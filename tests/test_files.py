"""Files appear whole or not at all, and leftovers of killed processes go."""

import errno
import os
import shutil
import stat
import sys
from hashlib import sha256
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

from addsr_cli import files
from addsr_cli.errors import NoSpace, OutputRefused
from addsr_cli.files import (
    atomic_file,
    atomic_folder,
    is_disk_full,
    link_or_copy,
    remove_folder,
    remove_partial_files,
    remove_partial_folders,
    require_free_space,
    sha256_of,
    write_error,
    write_text,
)

FULL = OSError(errno.ENOSPC, "No space left on device")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def failing(error):
    def fail(*_, **__):
        raise error

    return fail


def test_a_file_appears_when_the_block_succeeds(tmp_path):
    target = tmp_path / "new" / "folder" / "a.txt"
    with atomic_file(target) as temporary:
        temporary.write_text("whole")
        assert not target.exists()
    assert target.read_text() == "whole"
    assert names(target.parent) == ["a.txt"]


@pytest.mark.parametrize("error", [FULL, KeyboardInterrupt()], ids=["disk", "ctrl-c"])
def test_an_error_in_the_block_keeps_the_older_file(tmp_path, error):
    write_text(tmp_path / "a.txt", "old")
    with pytest.raises(type(error)), atomic_file(tmp_path / "a.txt") as temporary:  # noqa: PT012
        temporary.write_text("half")
        raise error
    assert (tmp_path / "a.txt").read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("links", [True, False])
def test_an_existing_file_is_not_overwritten_unasked(tmp_path, monkeypatch, links):
    (tmp_path / "a.txt").write_text("precious")
    if not links:
        monkeypatch.setattr(os, "link", failing(OSError(errno.EPERM, "no links here")))
    with pytest.raises(FileExistsError), atomic_file(tmp_path / "a.txt", overwrite=False) as path:
        path.write_text("new")
    assert (tmp_path / "a.txt").read_text() == "precious"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.skipif(sys.platform == "win32", reason="permission bits are those of POSIX")
def test_permissions_follow_the_umask_whoever_writes_the_file(tmp_path):
    with atomic_file(tmp_path / "a.safetensors") as temporary:
        save_file({"a": torch.zeros(1)}, temporary)  # makes a file that only its owner may read
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE((tmp_path / "a.safetensors").stat().st_mode) == 0o666 & ~umask


@pytest.mark.skipif(sys.platform == "win32", reason="permission bits are those of POSIX")
def test_a_file_with_a_mode_of_its_own_is_private_until_then(tmp_path):
    modes = []

    def set_mode(descriptor):
        modes.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        os.fchmod(descriptor, 0o640)

    with atomic_file(tmp_path / "a", set_mode=set_mode):
        pass
    assert modes == [0o600]
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


def test_a_link_replaces_the_older_file_and_leaves_no_other(tmp_path):
    (tmp_path / "source").write_text("new")
    (tmp_path / "target").write_text("old")
    link_or_copy(tmp_path / "source", tmp_path / "target")
    assert (tmp_path / "target").read_text() == "new"
    link_or_copy(tmp_path / "source", tmp_path / "target")  # the same file already
    assert names(tmp_path) == ["source", "target"]


def test_a_file_is_copied_where_links_are_not_possible(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "link", failing(OSError(errno.EXDEV, "another disk")))
    (tmp_path / "source").write_text("new")
    link_or_copy(tmp_path / "source", tmp_path / "target")
    assert (tmp_path / "target").read_text() == "new"
    assert names(tmp_path) == ["source", "target"]


PART = ".addsr-0123456789abcdef.part"


def test_what_a_killed_process_left_half_written_is_swept(tmp_path):
    (tmp_path / PART).write_bytes(b"half")
    remove_partial_files(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["a.part", ".addsr-1.part", f"x{PART}", f"{PART}x", PART.upper(), "photo.png"]
)
def test_files_of_other_names_are_not_swept(tmp_path, name):
    (tmp_path / name).write_bytes(b"precious")
    remove_partial_files(tmp_path)
    assert (tmp_path / name).read_bytes() == b"precious"


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_link_and_a_folder_with_the_name_of_a_part_are_not_swept(tmp_path):
    (tmp_path / "precious").write_bytes(b"precious")
    (tmp_path / PART).symlink_to(tmp_path / "precious")
    (tmp_path / PART.replace("0", "1")).mkdir()
    remove_partial_files(tmp_path)
    assert len(list(tmp_path.iterdir())) == 3


def test_an_empty_part_is_swept_once_it_is_old(tmp_path):
    (tmp_path / PART).touch()
    remove_partial_files(tmp_path)
    assert (tmp_path / PART).exists()  # its writer may be about to lock it
    os.utime(tmp_path / PART, (1, 1))
    remove_partial_files(tmp_path)
    assert not (tmp_path / PART).exists()


def test_sweeping_what_is_no_folder_does_nothing(tmp_path):
    remove_partial_files(tmp_path / "missing")


def test_a_folder_appears_when_the_block_succeeds(tmp_path):
    target = tmp_path / "run" / "export"
    with atomic_folder(target) as folder:
        (folder / "a").touch()
        assert not target.exists()
    assert names(target) == ["a"]
    assert names(target.parent) == ["export"]


def test_a_failed_folder_leaves_the_older_one(tmp_path):
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "old").touch()
    with (
        pytest.raises(OSError, match="No space"),
        atomic_folder(tmp_path / "export", overwrite=True),
    ):
        raise FULL
    assert names(tmp_path) == ["export"]
    with atomic_folder(tmp_path / "export", overwrite=True) as folder:
        (folder / "new").touch()
    assert names(tmp_path / "export") == ["new"]
    assert names(tmp_path) == ["export"]


def test_a_removal_cut_short_leaves_no_half_folder(tmp_path, monkeypatch):
    (tmp_path / "model").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", failing(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            remove_folder(tmp_path / "model")
    (tmp_path / ".other.0a1b2c3d.part").mkdir()
    assert not (tmp_path / "model").exists()
    remove_partial_folders(tmp_path / "model")
    assert names(tmp_path) == [".other.0a1b2c3d.part"]


def test_the_digest_is_that_of_the_whole_file(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_CHUNK", 4)
    (tmp_path / "a").write_bytes(b"0123456789")
    progress = []
    assert sha256_of(tmp_path / "a", progress.append) == sha256(b"0123456789").hexdigest()
    assert progress == [4, 8, 10]


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (FULL, True),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), True),
        (RuntimeError("I/O error: No space left on device (os error 28)"), True),
        (OSError(errno.EACCES, "Permission denied"), False),
        (ValueError("other"), False),
    ],
)
def test_a_full_disk_is_told_from_other_errors(error, full):
    assert is_disk_full(error) == full
    assert isinstance(write_error("a.txt", error, "Free some space."), NoSpace) == full


def test_too_little_space_is_refused_with_both_sizes(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=5_000_000))
    require_free_space(tmp_path, 5_000_000, "It needs", "")
    with pytest.raises(OutputRefused, match=r"It needs 7 MB, but .* has 5 MB free"):
        require_free_space(tmp_path, 7_000_000, "It needs", "")

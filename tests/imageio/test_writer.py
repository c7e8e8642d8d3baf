import errno
import os
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from addsr_cli.errors import NoSpace, OutputRefused
from addsr_cli.files import remove_partial_files
from addsr_cli.imageio import WriteOptions, check_output, read, write
from addsr_cli.imageio import writer as module

PLAIN = WriteOptions()
OVER = WriteOptions(overwrite=True)


def check(path, *, format="PNG", width=40, height=30, overwrite=False):
    check_output(
        path,
        format=format,
        width=width,
        height=height,
        channels=3,
        bit_depth=8,
        overwrite=overwrite,
    )


def test_a_photo_is_written_whole_with_missing_folders(tmp_path, photo):
    path = tmp_path / "new" / "folder" / "photo.png"
    assert write(photo, path, PLAIN) == path.stat().st_size
    assert read(path).size == photo.size
    assert [p.name for p in path.parent.iterdir()] == ["photo.png"]


def test_the_suffix_gives_the_format_unless_named(tmp_path, photo):
    write(photo, tmp_path / "a.webp", PLAIN)
    write(photo, tmp_path / "b.dat", WriteOptions(format="JPEG"))
    assert (read(tmp_path / "a.webp").format, read(tmp_path / "b.dat").format) == ("WEBP", "JPEG")


def test_nothing_is_overwritten_by_default(tmp_path, photo):
    path = tmp_path / "photo.png"
    path.write_bytes(b"precious")
    with pytest.raises(OutputRefused, match="already exists"):
        write(photo, path, PLAIN)
    with pytest.raises(OutputRefused, match="already exists"):
        check(path)
    assert path.read_bytes() == b"precious"
    check(path, overwrite=True)
    write(photo, path, OVER)
    assert read(path).size == photo.size


@pytest.mark.parametrize("links", [True, False])
def test_a_file_that_appears_meanwhile_is_not_overwritten(tmp_path, photo, monkeypatch, links):
    path = tmp_path / "photo.png"
    if not links:
        monkeypatch.setattr(os, "link", failing(OSError(errno.EPERM, "no links here")))
    monkeypatch.setattr(module, "check_target", lambda *_args, **_kwargs: None)
    path.write_bytes(b"precious")
    with pytest.raises(OutputRefused, match="already exists"):
        write(photo, path, PLAIN)
    assert path.read_bytes() == b"precious"
    assert len(list(tmp_path.iterdir())) == 1


def test_file_systems_without_hard_links_work(tmp_path, photo, monkeypatch):
    monkeypatch.setattr(os, "link", failing(OSError(errno.EPERM, "no links here")))
    write(photo, tmp_path / "photo.png", PLAIN)
    assert [p.name for p in tmp_path.iterdir()] == ["photo.png"]


def failing(exc):
    def fail(*_args, **_kwargs):
        raise exc

    return fail


@pytest.mark.parametrize("call", ["link", "replace", "fsync"])
@pytest.mark.parametrize(
    "exc", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()]
)
def test_failures_leave_nothing_behind(tmp_path, photo, monkeypatch, call, exc):
    if call == "replace":
        monkeypatch.setattr(os, "link", failing(OSError(errno.EPERM, "no links here")))
    monkeypatch.setattr(os, call, failing(exc))
    expected = OutputRefused if isinstance(exc, OSError) else KeyboardInterrupt
    with pytest.raises(expected):
        write(photo, tmp_path / "photo.png", PLAIN)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "exc", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()]
)
def test_a_failed_overwrite_keeps_the_old_file(tmp_path, photo, monkeypatch, exc):
    path = tmp_path / "photo.png"
    path.write_bytes(b"precious")
    monkeypatch.setattr(os, "replace", failing(exc))
    with pytest.raises((OutputRefused, KeyboardInterrupt)):
        write(photo, path, OVER)
    assert path.read_bytes() == b"precious"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_full_disk_is_called_that(tmp_path, photo, monkeypatch):
    monkeypatch.setattr(os, "fsync", failing(OSError(errno.ENOSPC, "No space left on device")))
    with pytest.raises(OutputRefused, match="No space"):
        write(photo, tmp_path / "photo.png", PLAIN)


@pytest.mark.parametrize(("fmt", "width"), [("JPEG", 65501), ("WEBP", 16384), ("TIFF", 2**30)])
def test_format_limits_are_checked_before_any_work(tmp_path, fmt, width):
    with pytest.raises(OutputRefused, match="fit"):
        check(tmp_path / "x", format=fmt, width=width)


def test_checking_leaves_nothing_behind(tmp_path):
    check(tmp_path / "new" / "photo.png")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(OutputRefused, match="is a folder"):
        check(tmp_path)


def test_a_file_in_the_way_of_a_folder_is_named(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputRefused, match="is a file"):
        check(tmp_path / "file" / "photo.png")


@pytest.mark.parametrize("length", [300, 5000])
def test_names_that_are_too_long_are_refused(tmp_path, length):
    with pytest.raises(OutputRefused, match="too long"):
        check(tmp_path / ("x" * length + ".png"))


def test_a_disk_too_small_for_the_worst_case_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(OutputRefused, match="MB free"):
        check(tmp_path / "photo.png")


@pytest.mark.skipif(not hasattr(os, "statvfs"), reason="no statvfs here")
def test_a_read_only_file_system_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_flag=os.ST_RDONLY))
    with pytest.raises(OutputRefused, match="Read-only"):
        check(tmp_path / "photo.png")


def test_a_folder_that_takes_no_file_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(
        module.tempfile,
        "TemporaryFile",
        failing(PermissionError(errno.EACCES, "Permission denied")),
    )
    with pytest.raises(OutputRefused, match="Permission denied"):
        check(tmp_path / "photo.png")


@pytest.mark.skipif(sys.platform == "win32", reason="no device files here")
@pytest.mark.parametrize("overwrite", [False, True])
def test_devices_are_written_into_and_never_replaced(photo, overwrite):
    check(Path("/dev/null"), overwrite=overwrite)
    before = Path("/dev/null").stat()
    assert write(photo, Path("/dev/null"), WriteOptions(format="PNG", overwrite=overwrite)) > 100
    after = Path("/dev/null").stat()
    assert (after.st_ino, after.st_mode, after.st_uid) == (
        before.st_ino,
        before.st_mode,
        before.st_uid,
    )


@pytest.mark.skipif(sys.platform != "linux", reason="Linux has /dev/full")
def test_a_device_that_is_full_is_no_space(photo):
    with pytest.raises(NoSpace):
        write(photo, Path("/dev/full"), WriteOptions(format="PNG"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_takes_a_picture_when_somebody_reads_it(tmp_path, photo):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OutputRefused, match="cannot be written"):
        write(photo, tmp_path / "pipe", WriteOptions(format="PNG"))
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    size = write(photo, tmp_path / "pipe", WriteOptions(format="PNG"))
    assert read(os.read(reader, size)).size == photo.size
    os.close(reader)


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="pseudo-terminals are those of POSIX")
def test_a_terminal_is_sent_no_picture(photo):
    ours, theirs = os.openpty()
    with pytest.raises(OutputRefused, match="terminal"):
        write(photo, Path(os.ttyname(theirs)), WriteOptions(format="PNG"))
    os.close(ours)
    os.close(theirs)


def test_a_link_is_followed_not_replaced(tmp_path, photo):
    target, link = tmp_path / "real.png", tmp_path / "link.png"
    target.write_bytes(b"old")
    link.symlink_to(target)
    write(photo, link, OVER)
    assert link.is_symlink()
    assert read(target).size == photo.size


@pytest.mark.skipif(sys.platform == "win32", reason="locks are those of POSIX")
def test_files_being_written_are_not_removed(tmp_path, photo, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: remove_partial_files(tmp_path))
    true = os.link
    monkeypatch.setattr(os, "link", lambda *names: (remove_partial_files(tmp_path), true(*names)))
    write(photo, tmp_path / "photo.png", PLAIN)
    assert [p.name for p in tmp_path.iterdir()] == ["photo.png"]

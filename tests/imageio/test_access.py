"""Permissions and owners of outputs."""

import os
import sys

import pytest
from imageio_samples import saved, smooth
from PIL import Image

from addsr_cli.imageio import FileAccess, WriteOptions, common_access, read, write, write_bytes

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="permission bits are those of POSIX"
)
PLAIN, OVER = WriteOptions(), WriteOptions(overwrite=True)


@pytest.fixture(autouse=True)
def umask():
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture
def photo_of(tmp_path):
    """A photo read from a file of this mode."""

    def make(mode, group=-1):
        path = tmp_path / "input.png"
        path.write_bytes(saved(Image.fromarray(smooth(6, 8)), "PNG"))
        os.chown(path, -1, group)
        path.chmod(mode)
        return read(path)

    return make


def mode_of(path):
    return path.stat().st_mode & 0o777


@pytest.mark.parametrize(
    ("umask", "source", "expected"),
    [
        (0o022, 0o644, 0o644),
        (0o022, 0o664, 0o644),
        (0o002, 0o664, 0o664),
        (0o077, 0o644, 0o600),
        (0o022, 0o600, 0o600),
        (0o022, 0o640, 0o640),
        (0o022, 0o755, 0o644),
        (0o022, 0o444, 0o644),  # whoever owns a file may write to it
        (0o022, 0o400, 0o600),
        (0o000, 0o604, 0o604),
    ],
)
def test_a_new_file_follows_the_umask_within_what_the_input_allows(
    photo_of, tmp_path, umask, source, expected
):
    photo = photo_of(source)
    os.umask(umask)
    write(photo, tmp_path / "output.png", PLAIN)
    assert mode_of(tmp_path / "output.png") == expected
    assert os.umask(umask) == umask


def test_without_an_input_file_the_umask_alone_counts(photo, tmp_path):
    write(photo, tmp_path / "output.png", PLAIN)
    assert mode_of(tmp_path / "output.png") == 0o644


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="choosing a group needs root"
)
def test_permissions_of_another_group_are_not_granted_to_ours(photo_of, tmp_path):
    photo = photo_of(0o640, group=12345)
    write(photo, tmp_path / "output.png", PLAIN)
    assert mode_of(tmp_path / "output.png") == 0o600
    write(photo_of(0o644, group=12345), tmp_path / "open.png", PLAIN)
    assert mode_of(tmp_path / "open.png") == 0o644


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666, 0o444])
def test_a_replaced_file_hands_on_its_mode(photo_of, tmp_path, mode):
    photo, path = photo_of(0o644), tmp_path / "output.png"
    path.write_bytes(b"old")
    path.chmod(mode)
    write(photo, path, OVER)
    assert read(path).size == photo.size
    assert mode_of(path) == mode


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="giving files away needs root"
)
def test_a_replaced_file_hands_on_its_owner_where_that_is_allowed(photo, tmp_path):
    path = tmp_path / "output.png"
    path.write_bytes(b"old")
    os.chown(path, 12345, 23456)
    path.chmod(0o664)
    write(photo, path, OVER)
    assert (path.stat().st_uid, path.stat().st_gid, mode_of(path)) == (12345, 23456, 0o664)


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="giving files away needs root"
)
def test_where_it_is_not_allowed_another_group_gets_no_more_than_anybody(
    photo, tmp_path, monkeypatch
):
    def denied(*_):
        raise PermissionError

    path = tmp_path / "output.png"
    path.write_bytes(b"old")
    os.chown(path, -1, 23456)
    path.chmod(0o664)
    monkeypatch.setattr(os, "fchown", denied)
    write(photo, path, OVER)
    assert mode_of(path) == 0o644


def test_an_unfinished_file_is_private(tmp_path, monkeypatch):
    seen, true = [], os.fchmod

    def watched(descriptor, mode):
        seen.append(os.fstat(descriptor).st_mode & 0o777)
        true(descriptor, mode)

    monkeypatch.setattr(os, "fchmod", watched)
    write_bytes(tmp_path / "output.png", b"data", overwrite=False)
    assert seen == [0o600]


def test_a_file_system_without_permissions_takes_files_too(tmp_path, monkeypatch):
    def denied(*_):
        raise PermissionError

    monkeypatch.setattr(os, "fchmod", denied)
    write_bytes(tmp_path / "output.png", b"data", overwrite=False)
    assert (tmp_path / "output.png").read_bytes() == b"data"


def test_a_page_of_several_inputs_is_as_private_as_the_most_private():
    open_, group, private = (FileAccess(mode=mode, group=7) for mode in (0o644, 0o640, 0o600))
    assert common_access([open_, None, group]) == FileAccess(mode=0o640, group=7)
    assert common_access([open_, private, group]) == FileAccess(mode=0o600, group=7)
    assert common_access([open_, FileAccess(mode=0o640, group=8)]) == FileAccess(
        mode=0o600, group=7
    )
    assert common_access([None]) is None

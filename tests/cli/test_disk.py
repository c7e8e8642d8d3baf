import shutil

import pytest


def test_a_read_only_disk_is_refused_before_any_work(photo, upscale, disk):
    outcome = upscale(photo(), "-o", f"{disk('ro')}/")
    assert (outcome.code, outcome.out) == (7, "")
    assert len([line for line in outcome.lines if line.startswith("error: ")]) == 1
    assert "Read-only" in outcome.err


def test_a_folder_that_may_not_be_written_is_refused(photo, upscale, tmp_path, unprivileged):
    upscale(photo("warm.png"))
    source, locked = photo(), tmp_path / "locked"
    locked.mkdir(mode=0o555)
    with unprivileged():
        outcome = upscale(source, "-o", f"{locked}/")
    assert (outcome.code, outcome.out) == (7, "")
    assert not list(locked.iterdir())


def test_a_disk_without_room_is_refused_before_any_work(photo, upscale, disk):
    folder = disk("size=64k")
    outcome = upscale(photo("p.png", (200, 150)), "-o", f"{folder}/")
    assert (outcome.code, outcome.out) == (7, "")
    assert "MB free" in outcome.err
    assert not list(folder.iterdir())


def test_a_disk_that_fills_up_meanwhile_gets_no_file(photo, upscale, disk, monkeypatch):
    folder = disk("size=8k")
    monkeypatch.setattr(
        shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**12, 0, 10**12)
    )
    outcome = upscale(photo("p.png", (80, 60)), "-o", f"{folder}/")
    assert (outcome.code, outcome.out) == (7, "")
    assert "No space is left" in outcome.err
    assert not list(folder.iterdir())


def test_a_full_disk_spoils_only_its_own_file(photo, upscale, disk):
    folder = disk("size=4m")
    outcome = upscale(photo("large.png", (600, 400)), photo("small.png"), "-o", folder)
    assert outcome.code == 3
    assert [path.name for path in folder.iterdir()] == ["small_x4.png"]


@pytest.mark.parametrize("output", ["photo.jpg/deep/out.png", "photo.jpg/out.png"])
def test_a_file_in_the_way_of_a_folder_is_refused(photo, upscale, output):
    assert upscale(photo(), "-o", output).code == 7

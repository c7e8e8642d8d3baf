"""Batches with a forged journal, too little memory or disk space, signals and bad files."""

import hashlib
import json
import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from PIL import Image

from addsr_cli import imageio
from addsr_cli.batch import journal
from addsr_cli.errors import OutOfMemory

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals and links are those of POSIX")
OUT = Path("in_x4")


@pytest.fixture
def batch(addsr):
    """``addsr batch in`` with nano and one step."""
    return lambda *arguments: addsr("batch", "in", "--model", "nano", "--steps", 1, *arguments)


def rows(folder=OUT):
    """The rows of failures.json by the name of the input."""
    path = folder / "failures.json"
    failures = json.loads(path.read_text()) if path.exists() else []
    return {Path(row["input"]).name: row for row in failures}


def forge(folder=OUT, **row):
    """Append an entry to the journal: the last one, with other values."""
    path = folder / ".addsr" / "journal.jsonl"
    last = json.loads(path.read_text().splitlines()[-1])
    with path.open("a") as file:
        file.write(json.dumps(last | row) + "\n")


# Forged journals


@posix
@pytest.mark.parametrize("state", ["writing", "ok"])
@pytest.mark.parametrize("output", ["../victim/x.png", "linked/x.png", "a_x4.png"])
def test_a_forged_entry_deletes_and_overwrites_nothing_outside(photo, batch, state, output):
    photo("in/a.png")
    batch()
    part = ".addsr-0123456789abcdef.part"
    victims = [Path("victim") / name for name in (part, "x.png", "out.png")]
    Path("victim").mkdir()
    for victim in victims:
        victim.write_bytes(b"precious")
    (OUT / "linked").symlink_to(Path("victim").resolve())
    (OUT / "a_x4.png").unlink()
    (OUT / "a_x4.png").symlink_to(Path("victim/out.png").resolve())
    forge(state=state, part=part, output=output, output_size=8)
    outcome = batch()
    assert outcome.code == 3
    assert "outside the output folder" in outcome.err
    assert batch("--overwrite", "--scale", "4").code == 3
    assert all(victim.read_bytes() == b"precious" for victim in victims)


@posix
def test_partial_files_behind_a_linked_folder_stay(photo, batch, killed_part):
    photo("in/sub/a.png")
    OUT.mkdir()
    part = killed_part("elsewhere")
    (OUT / "sub").symlink_to(Path("elsewhere").resolve())
    assert batch().code == 0
    assert Path("elsewhere/a_x4.png").exists()
    assert part.exists()


@posix
def test_a_list_of_failures_that_is_a_link_is_not_followed(photo, batch):
    photo("in/a.png")
    Path("in/b.png").write_bytes(b"bad")
    Path("precious").write_bytes(b"precious")
    OUT.mkdir()
    (OUT / "failures.json").symlink_to(Path("precious").resolve())
    assert batch().code == 3
    assert Path("precious").read_bytes() == b"precious"
    assert rows().keys() == {"b.png"}


def test_an_entry_with_an_impossible_output_is_ignored(photo, batch):
    photo("in/a.png")
    batch()
    (OUT / "a_x4.png").unlink()
    (OUT / "other.png").write_bytes(b"precious")
    forge(state="ok", output="other.png", output_size=8)
    assert batch().out == f"{OUT}/a_x4.png\n"
    assert (OUT / "other.png").read_bytes() == b"precious"


def test_an_entry_stays_valid_when_a_new_file_changes_the_output_name(photo, batch):
    photo("in/a.png")
    batch()
    photo("in/a.jpg")
    assert batch("--format", "png").code == 7  # another format is another setting
    assert batch().out == f"{OUT}/a_x4.jpg\n"
    photo("in/a.tif")
    outcome = batch("-o", "png", "--format", "png")
    assert len(outcome.out.split()) == 3
    photo("in/b.png")
    photo("in/b.jpg")
    assert len(batch("-o", "png", "--format", "png").out.split()) == 2
    Path("in/a.jpg").unlink()
    Path("in/a.tif").unlink()
    assert batch("-o", "png", "--format", "png").out == ""


@pytest.mark.parametrize(
    "row",
    [
        {"input": ["list"]},
        {"error": None, "state": "failed"},
        {"root": 5},
        {"sample": "0"},
        {"output": {}},
    ],
)
def test_entries_of_wrong_types_are_ignored_with_a_warning(photo, batch, row):
    photo("in/a.png")
    batch()
    forge(**row)
    forge(**row)
    outcome = batch()
    assert (outcome.code, outcome.out) == (0, "")
    assert "warning: ignored 2 lines of the journal" in outcome.err


def test_a_folder_in_the_place_of_the_journal_is_one_line(photo, batch):
    photo("in/a.png")
    (OUT / ".addsr" / "journal.jsonl").mkdir(parents=True)
    outcome = batch()
    assert (outcome.code, outcome.out) == (7, "")
    assert len([line for line in outcome.lines if line.startswith("error: ")]) == 1
    assert "journal" in outcome.err


def test_a_wrong_clock_does_not_restore_an_old_failure(photo, batch, monkeypatch):
    photo("in/a.png")
    with monkeypatch.context() as future:
        future.setattr(time, "time", lambda: 4e12)
        future.setattr(imageio, "read", out_of_memory)
        assert batch().code == 3
    assert batch("--retry-failed").code == 0
    assert batch().code == 0


def out_of_memory(*arguments, **options):
    raise MemoryError


# Memory


@pytest.mark.parametrize(
    "exc", [MemoryError(), OutOfMemory("Too large."), RecursionError("deep"), AssertionError("odd")]
)
@pytest.mark.parametrize("batch_size", ["auto", "3"])
def test_an_error_while_a_photo_is_decoded_fails_that_photo(
    photo, batch, monkeypatch, exc, batch_size
):
    for name in ("a.png", "huge.png", "z.png"):
        photo(f"in/{name}")
    original = imageio.read

    def read(path, frames):
        if path.name == "huge.png":
            raise exc
        return original(path, frames)

    monkeypatch.setattr(imageio, "read", read)
    outcome = batch("--batch-size", batch_size)
    assert outcome.code == 3, outcome.err
    expected = "out_of_memory" if isinstance(exc, MemoryError | OutOfMemory) else "unexpected"
    assert {name: row["code"] for name, row in rows().items()} == {"huge.png": expected}
    assert len(outcome.out.split()) == 2
    assert journal.read(OUT).entries[("huge.png", 0)].state == "failed"


@pytest.mark.parametrize("function", ["read_header", "encode"])
def test_running_out_of_memory_for_a_header_or_an_output_fails_that_photo(
    photo, batch, monkeypatch, function
):
    for name in ("a.png", "huge.png", "z.png"):
        photo(f"in/{name}", (30, 20) if name == "huge.png" else (24, 18))
    original = getattr(imageio, function)

    def scarce(source, *more, **options):
        size = getattr(source, "size", None)
        if size == (120, 80) or getattr(source, "name", "") == "huge.png":
            raise MemoryError
        return original(source, *more, **options)

    monkeypatch.setattr(imageio, function, scarce)
    outcome = batch()
    assert outcome.code == 3, outcome.err
    assert {name: row["code"] for name, row in rows().items()} == {"huge.png": "out_of_memory"}
    assert len(outcome.out.split()) == 2


def test_a_photo_is_decoded_again_once_others_have_left_memory(photo, batch, monkeypatch):
    for name in ("a.png", "b.png"):
        photo(f"in/{name}")
    original, tried = imageio.read, []

    def read(path, frames):
        tried.append(path.name)
        if tried.count("b.png") == 1 and path.name == "b.png":
            raise MemoryError
        return original(path, frames)

    monkeypatch.setattr(imageio, "read", read)
    assert batch().code == 0
    assert tried == ["a.png", "b.png", "b.png"]


def test_a_photo_too_large_for_memory_is_refused_before_it_is_decoded(photo, batch, monkeypatch):
    photo("in/a.png")
    Image.new("1", (8000, 6000)).save("in/huge.png")
    original = imageio.read
    monkeypatch.setattr(
        imageio,
        "read",
        lambda path, frames: (
            original(path, frames) if path.name == "a.png" else pytest.fail("decoded")
        ),
    )
    arguments = ("--device", "cpu", "--max-memory", "200M")
    outcome = batch(*arguments)
    assert outcome.code == 3, outcome.err
    assert rows()["huge.png"]["code"] == "out_of_memory"
    assert outcome.out == f"{OUT}/a_x4.png\n"
    again = batch(*arguments, "--dry-run", "--retry-failed")
    assert again.code == 0
    assert "will fail" in again.err


@pytest.mark.parametrize("function", ["read", "write"])
def test_a_photo_too_large_for_memory_alone_is_exit_5(photo, upscale, monkeypatch, tree, function):
    monkeypatch.setattr(imageio, function, out_of_memory)
    outcome = upscale(photo())
    assert (outcome.code, outcome.out) == (5, "")
    assert len([line for line in outcome.lines if line.startswith("error: ")]) == 1
    assert tree() == {"photo.jpg"}


def test_a_photo_that_cannot_fit_is_not_decoded(upscale, monkeypatch):
    Image.new("L", (3000, 2000)).save("huge.png")
    monkeypatch.setattr(imageio, "read", lambda path, frames: pytest.fail("decoded"))
    assert upscale("huge.png", "--device", "cpu", "--max-memory", "200M").code == 5


# The disk and the output folder


def roomy(path):
    return shutil._ntuple_diskusage(10**12, 0, 10**12)


def test_a_picture_too_large_for_the_disk_fails_alone(photo, batch, disk):
    photo("in/a.png")
    photo("in/large.png", (600, 400))
    folder = disk("size=4m")
    outcome = batch("-o", folder)
    assert outcome.code == 3
    assert rows(folder).keys() == {"large.png"}
    assert "MB free" in rows(folder)["large.png"]["message"]
    assert outcome.out == f"{folder}/a_x4.png\n"
    again = batch("-o", folder)
    assert (again.code, again.out) == (3, "")
    assert "MB free" in again.err  # tried again, as there may be space now


def test_a_picture_that_turns_out_too_large_for_the_disk_fails_alone(
    photo, batch, disk, monkeypatch
):
    for name in ("a.png", "z.png"):
        photo(f"in/{name}")
    photo("in/large.png", (120, 90))
    folder = disk("size=160k")
    monkeypatch.setattr(shutil, "disk_usage", roomy)
    outcome = batch("-o", folder)
    assert outcome.code == 3, outcome.err
    assert rows(folder).keys() == {"large.png"}
    assert len(outcome.out.split()) == 2


def test_a_disk_without_room_for_any_picture_is_refused_before_any_work(photo, batch, disk):
    photo("in/a.png")
    photo("in/b.png", (60, 40))
    folder = disk("size=64k")
    outcome = batch("-o", folder)
    assert (outcome.code, outcome.out) == (7, "")
    assert len([line for line in outcome.lines if line.startswith("error: ")]) == 1
    assert not list(folder.iterdir())


@pytest.mark.parametrize("change", ["deleted", "moved", "deleted after the last file"])
def test_a_vanished_output_folder_ends_the_run_and_the_next_completes_it(
    photo, batch, monkeypatch, change
):
    names = [f"{number}.png" for number in range(5)]
    for name in names:
        photo(f"in/{name}")
    original, last = imageio.write_bytes, change.endswith("last file")

    def write(path, data, **options):
        if path.name == ("4_x4.png" if last else "2_x4.png"):
            if last:
                original(path, data, **options)
            OUT.rename("moved") if change == "moved" else shutil.rmtree(OUT)
            if last:
                return len(data)
        return original(path, data, **options)

    with monkeypatch.context() as fault:
        fault.setattr(imageio, "write_bytes", write)
        outcome = batch()
    assert outcome.code == 7
    assert len([line for line in outcome.lines if line.startswith("error: ")]) == 1
    assert "deleted or moved during the run" in outcome.lines[-1]
    assert "done," not in outcome.err
    again = batch()
    assert again.code == 0, again.err
    assert len(again.out.split()) == 5
    if change == "moved":
        assert len(batch("-o", "moved").out.split()) == 3


# Signals


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("command", ["upscale", "batch"])
def test_a_signal_does_not_wait_for_a_decoder(photo, addsr, monkeypatch, command, number):
    finished, started = threading.Event(), threading.Event()

    def decoding(source, frames):
        """Like a decoder: in C, without the interpreter's lock, so that signals wait."""
        started.set()
        try:
            hashlib.pbkdf2_hmac("sha256", b"", b"", 2_000_000)
        finally:
            finished.set()

    def pressed():
        started.wait(30)
        os.kill(os.getpid(), number)

    def ended(number, frame):
        raise SystemExit(128 + number)

    photo("in/a.png")
    monkeypatch.setattr(imageio, "read", decoding)
    monkeypatch.setattr("addsr_cli.batch.worker.JOIN_TIMEOUT", 0.01)
    before = signal.signal(signal.SIGTERM, ended)
    finger = threading.Thread(target=pressed)
    finger.start()
    try:
        outcome = addsr(command, "in" if command == "batch" else "in/a.png", "--model", "nano")
        assert not finished.is_set()
    finally:
        finger.join()
        signal.signal(signal.SIGTERM, before)
    assert outcome.code == 128 + number
    finished.wait(30)


@posix
@pytest.mark.slow
@pytest.mark.parametrize("command", ["upscale", "batch"])
def test_a_hangup_leaves_no_partial_file(photo, process, tree, command):
    photo("in/large.png", (1200, 900))
    child = process(command, "in" if command == "batch" else "in/large.png", "--model", "nano")
    assert child.stderr.readline().startswith(b"model nano")
    child.send_signal(signal.SIGHUP)
    child.communicate(timeout=60)
    assert child.returncode == 128 + signal.SIGHUP
    assert not [path for path in tree() if path.endswith(".part")]


@posix
@pytest.mark.parametrize("ignored", [True, False])
def test_a_hangup_ends_the_program_unless_the_caller_ignores_it(monkeypatch, ignored):
    from addsr_cli import __main__

    before = {number: signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGTERM)}
    monkeypatch.setattr("addsr_cli.cli.app.run", lambda: os.kill(os.getpid(), signal.SIGHUP))
    try:
        signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)
        with pytest.raises(SystemExit) as end:
            __main__.main()
        assert end.value.code == (None if ignored else 128 + signal.SIGHUP)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@posix
def test_upscale_removes_partial_files_of_killed_runs(
    photo, upscale, killed_part, living_part, tree
):
    source = photo()
    killed_part("out"), killed_part("elsewhere")
    living = living_part("out")
    assert upscale(source, "-o", "out/", "--dry-run").code == 0
    assert len(tree()) == 4
    assert upscale(source, "-o", "out/").code == 0
    assert {path.name for path in Path("out").iterdir()} == {living.name, "photo_x4.jpg"}
    assert len(list(Path("elsewhere").iterdir())) == 1


# Unreadable files

FOREIGN_PHOTOS = {
    "a.heic": (b"\0\0\0\x18ftypheic" + bytes(64), "HEIC"),
    "b.CR3": (b"\0\0\0\x18ftypcrx " + bytes(64), "camera raw"),
    "c.nef": (b"MM\0*\0\0\0\x08" + bytes(64), "NEF"),
    "d.jxl": (b"\xff\x0a" + bytes(64), "JPEG XL"),
    "e.dng": (b"anything", "not a picture"),
}


def test_photos_that_cannot_be_read_are_failures_with_a_reason(photo, batch):
    photo("in/photo.jpg")
    for name, (data, _) in FOREIGN_PHOTOS.items():
        (Path("in") / name).write_bytes(data)
    outcome = batch()
    assert outcome.code == 3
    assert outcome.lines[-2].startswith("1 done, 5 failed; ")
    assert rows().keys() == FOREIGN_PHOTOS.keys()
    assert {row["code"] for row in rows().values()} == {"unreadable_input"}
    for name in ("a.heic", "b.CR3", "d.jxl"):
        assert FOREIGN_PHOTOS[name][1] in rows()[name]["message"]


def test_the_summary_counts_skipped_files_by_kind(photo, batch):
    for name in ("clip.MOV", "clip2.mov", "clip.mp4", "notes.txt", ".hidden.jpg"):
        (Path("in") / name).parent.mkdir(exist_ok=True)
        (Path("in") / name).write_bytes(b"x")
    outcome = batch()
    assert outcome.code == 0
    assert "no photos in in" in outcome.err
    summary = "skipped: 1 hidden, 1 not a picture (1 .txt), 3 video (2 .mov, 1 .mp4)"
    assert f"0 done, 0 failed, {summary}" in outcome.lines[-1]
    assert summary in batch("--dry-run").lines[-1]


def test_a_dry_run_lists_files_that_will_fail(photo, batch, tree):
    photo("in/a.png")
    Image.new("1", (8000, 6000)).save("in/huge.png")
    Path("in/b.heic").write_bytes(FOREIGN_PHOTOS["a.heic"][0])
    Path("in/c.png").write_bytes(b"")
    before = tree()
    outcome = batch("--dry-run", "--device", "cpu", "--max-memory", "200M")
    assert outcome.code == 0
    messages = [line for line in outcome.lines if line.startswith("will fail: ")]
    assert len(messages) == 3
    assert all(any(name in line for line in messages) for name in ("huge.png", "b.heic", "c.png"))
    assert "1 photo, 0.00 MP in all, 3 will fail" in outcome.lines[-1]
    assert tree() == before

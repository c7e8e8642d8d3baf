import json
import os
import shutil

import pytest

from addsr_cli.batch import journal
from addsr_cli.batch.journal import Journal, JournalEntry
from addsr_cli.batch.shards import WHOLE, Shard
from addsr_cli.errors import NoSpace, OutputRefused, OutputVanished


def entry(name="a.jpg", state="ok", **more):
    return JournalEntry(state=state, input=name, settings="s", **more)


def test_written_entries_are_read_back(tmp_path):
    odd = entry("ä/\udcff.jpg", output="o", size=5, output_size=0, error={"code": "c"}, seconds=1.5)
    own_journal = Journal(tmp_path)
    own_journal.write(odd)
    own_journal.close()
    assert journal.read(tmp_path).entries == {odd.key: odd}


def write_run(folder, *entries, shard=WHOLE):
    """Write these entries in one run; return the path of the journal."""
    own_journal = Journal(folder, shard)
    for item in entries:
        own_journal.write(item)
    own_journal.close()
    return own_journal.path


def states(folder):
    return {key[0]: item.state for key, item in journal.read(folder).entries.items()}


@pytest.mark.parametrize("last", [1, 2])
def test_the_latest_entry_of_all_journals_counts(tmp_path, last):
    first, second = (Shard(number=number, count=2) for number in (last, 3 - last))
    write_run(tmp_path, entry(), shard=second)
    write_run(tmp_path, entry(state="failed"), entry("b.jpg"), shard=first)
    assert states(tmp_path) == {"a.jpg": "failed", "b.jpg": "ok"}
    assert len(list((tmp_path / ".addsr").glob("*.jsonl"))) == 2


@pytest.mark.parametrize("finished", [0, 1])
def test_of_processes_that_run_together_the_one_with_an_output_counts(tmp_path, finished):
    journals = [Journal(tmp_path, Shard(number=number, count=2)) for number in (1, 2)]
    for number, own_journal in enumerate(journals):
        own_journal.write(entry(state="ok" if number == finished else "failed"))
        own_journal.close()
    assert states(tmp_path) == {"a.jpg": "ok"}


def test_the_order_of_the_lines_decides_not_the_clock(tmp_path):
    future = 4e12
    path = write_run(tmp_path, entry(state="failed", at=future))
    write_run(tmp_path, entry(at=1.0))
    assert states(tmp_path) == {"a.jpg": "ok"}
    write_run(tmp_path, entry(state="failed", at=-1.0), shard=Shard(number=1, count=2))
    assert states(tmp_path) == {"a.jpg": "failed"}
    last = {"state": "ok", "input": "a.jpg", "run": 0}
    with path.open("a") as file:
        file.write(
            json.dumps(last | {"run": 9}) + "\n" + json.dumps(last | {"state": "writing"}) + "\n"
        )
    assert states(tmp_path) == {"a.jpg": "writing"}


def test_samples_have_separate_entries(tmp_path):
    own_journal = Journal(tmp_path)
    own_journal.write(entry(sample=0))
    own_journal.write(entry(sample=1))
    own_journal.close()
    assert len(journal.read(tmp_path).entries) == 2


@pytest.mark.parametrize(
    "torn", [b'{"state": "ok", "inp', b"\xff\xfe", b"[1]", b'{"state": "ok"}', b"null"]
)
def test_an_incomplete_line_spoils_no_other(tmp_path, torn):
    own_journal = Journal(tmp_path)
    own_journal.write(entry())
    own_journal.close()
    with own_journal.path.open("ab") as file:
        file.write(torn)
    own_journal = Journal(tmp_path)
    own_journal.write(entry("b.jpg"))
    own_journal.close()
    assert [key[0] for key in journal.read(tmp_path).entries] == ["a.jpg", "b.jpg"]


def test_two_runs_cannot_share_a_journal(tmp_path):
    own_journal = Journal(tmp_path)
    with pytest.raises(OutputRefused, match="Another addsr batch"):
        Journal(tmp_path)
    own_journal.close()
    Journal(tmp_path).close()


def test_a_full_disk_raises_no_space(tmp_path, monkeypatch):
    def full(number):
        raise OSError(28, "No space left on device")

    own_journal = Journal(tmp_path)
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(NoSpace):
        own_journal.write(entry())
    own_journal.close()


WELL_FORMED = {
    **{
        "state": "ok",
        "input": "a.jpg",
        "sample": 0,
        "root": "/in",
        "settings": "s",
        "size": 5,
        "mtime_ns": 6,
    },
    **{
        "sha256": "d",
        "output": "a.png",
        "output_size": 7,
        "output_sha256": "e",
        "seconds": 1.5,
        "at": 3,
        "run": 1,
    },
    "error": {"code": "c", "message": "m", "hint": "h"},
}
VALUES = [None, True, 5, -0.5, float("nan"), 10**400, "text", ["list"], {"a": "b"}, {"code": 5}]
TYPES = {
    **dict.fromkeys(("input", "root", "settings", "sha256", "output", "output_sha256"), (str,)),
    **dict.fromkeys(("sample", "size", "mtime_ns", "output_size", "run"), (int,)),
    **{"seconds": (int, float), "at": (int, float), "state": (), "error": ()},
}
PAIRS = [(name, value, type(value) in types) for name, types in TYPES.items() for value in VALUES]


def test_a_well_formed_line_is_an_entry():
    assert JournalEntry.parse(json.dumps(WELL_FORMED)) == JournalEntry(**WELL_FORMED)


@pytest.mark.parametrize(("name", "value", "fits"), PAIRS, ids=lambda item: f"{entry!s:.20}")
def test_a_line_with_a_value_of_the_wrong_type_is_ignored(tmp_path, name, value, fits):
    path = write_run(tmp_path, entry())
    with path.open("a") as file:
        file.write(json.dumps(WELL_FORMED | {name: value}) + "\n")
    contents = journal.read(tmp_path)
    assert contents.unknown_lines == (0 if fits else 1)
    assert len(contents.entries) == (2 if fits and name in ("input", "sample") else 1)


@pytest.mark.parametrize("field", ["input", "output"])
@pytest.mark.parametrize("name", ["../a.jpg", "a/../../b.jpg", "/etc/passwd", "..", "a\0b"])
def test_a_line_whose_paths_lead_outside_is_ignored(field, name):
    assert JournalEntry.parse(json.dumps(WELL_FORMED | {field: name})) is None


@pytest.mark.parametrize(
    "line", ["[" * 100_000, '{"a":' * 100_000, "1" * 10_000, '"' + "x" * 3_000_000, "\0\0\0", "{}"]
)
def test_an_invalid_line_is_ignored(tmp_path, line):
    path = write_run(tmp_path, entry())
    with path.open("a") as file:
        file.write(line + "\n")
    contents = journal.read(tmp_path)
    assert [key[0] for key in contents.entries] == ["a.jpg"]
    assert contents.unknown_lines >= 1


@pytest.mark.parametrize("kind", ["folder", "pipe", "link", "folder of journals is a link"])
def test_a_journal_that_is_not_a_regular_file_is_refused(tmp_path, kind):
    output, outside = tmp_path / "out", tmp_path / "outside"
    path = output / ".addsr" / "journal.jsonl"
    outside.mkdir()
    (outside / "journal.jsonl").write_bytes(b"precious")
    if kind == "folder of journals is a link":
        output.mkdir()
        path.parent.symlink_to(outside)
    else:
        path.parent.mkdir(parents=True)
        make = {"folder": path.mkdir, "pipe": lambda: os.mkfifo(path)}
        make.get(kind, lambda: path.symlink_to(outside / "journal.jsonl"))()
    with pytest.raises(OutputRefused, match="journal"):
        journal.read(output)
    with pytest.raises(OutputRefused, match="journal"):
        Journal(output)
    assert (outside / "journal.jsonl").read_bytes() == b"precious"


def test_a_lock_that_is_a_link_is_not_followed(tmp_path):
    precious = tmp_path / "precious"
    precious.write_bytes(b"precious")
    (tmp_path / "out" / ".addsr").mkdir(parents=True)
    (tmp_path / "out" / ".addsr" / "journal.lock").symlink_to(precious)
    with pytest.raises(OutputRefused, match="symbolic link"):
        Journal(tmp_path / "out")
    assert precious.read_bytes() == b"precious"


@pytest.mark.parametrize("change", ["moved", "deleted", "created again"])
def test_a_moved_or_deleted_journal_raises_output_vanished(tmp_path, change):
    output = tmp_path / "out"
    own_journal = Journal(output)
    own_journal.write(entry())
    output.rename(tmp_path / "elsewhere") if change == "moved" else shutil.rmtree(output)
    if change == "created again":
        (output / ".addsr").mkdir(parents=True)
        (output / ".addsr" / "journal.jsonl").touch()
    with pytest.raises(OutputVanished, match="deleted or moved"):
        own_journal.write(entry("b.jpg"))
    own_journal.close()

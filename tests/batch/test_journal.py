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


def test_what_is_written_is_read_back(tmp_path):
    odd = entry("ä/\udcff.jpg", output="o", size=5, output_size=0, error={"code": "c"}, seconds=1.5)
    ours = Journal(tmp_path)
    ours.write(odd)
    ours.close()
    assert journal.read(tmp_path).entries == {odd.key: odd}


def written(folder, *entries, shard=WHOLE):
    """One run that writes these entries."""
    ours = Journal(folder, shard)
    for each in entries:
        ours.write(each)
    ours.close()
    return ours.path


def said(folder):
    return {key[0]: each.state for key, each in journal.read(folder).entries.items()}


@pytest.mark.parametrize("last", [1, 2])
def test_the_latest_word_counts_over_all_journals(tmp_path, last):
    first, second = (Shard(number=number, count=2) for number in (last, 3 - last))
    written(tmp_path, entry(), shard=second)
    written(tmp_path, entry(state="failed"), entry("b.jpg"), shard=first)
    assert said(tmp_path) == {"a.jpg": "failed", "b.jpg": "ok"}
    assert len(list((tmp_path / ".addsr").glob("*.jsonl"))) == 2


def test_the_order_of_the_lines_counts_and_not_the_clock(tmp_path):
    future = 4e12
    path = written(tmp_path, entry(state="failed", at=future))
    written(tmp_path, entry(at=1.0))
    assert said(tmp_path) == {"a.jpg": "ok"}
    written(tmp_path, entry(state="failed", at=-1.0), shard=Shard(number=1, count=2))
    assert said(tmp_path) == {"a.jpg": "failed"}
    last = {"state": "ok", "input": "a.jpg", "run": 0}
    with path.open("a") as file:
        file.write(
            json.dumps(last | {"run": 9}) + "\n" + json.dumps(last | {"state": "writing"}) + "\n"
        )
    assert said(tmp_path) == {"a.jpg": "writing"}


def test_samples_are_kept_apart(tmp_path):
    ours = Journal(tmp_path)
    ours.write(entry(sample=0))
    ours.write(entry(sample=1))
    ours.close()
    assert len(journal.read(tmp_path).entries) == 2


@pytest.mark.parametrize(
    "torn", [b'{"state": "ok", "inp', b"\xff\xfe", b"[1]", b'{"state": "ok"}', b"null"]
)
def test_a_torn_line_costs_only_itself(tmp_path, torn):
    ours = Journal(tmp_path)
    ours.write(entry())
    ours.close()
    with ours.path.open("ab") as file:
        file.write(torn)
    ours = Journal(tmp_path)
    ours.write(entry("b.jpg"))
    ours.close()
    assert [key[0] for key in journal.read(tmp_path).entries] == ["a.jpg", "b.jpg"]


def test_two_runs_cannot_share_a_journal(tmp_path):
    ours = Journal(tmp_path)
    with pytest.raises(OutputRefused, match="Another addsr batch"):
        Journal(tmp_path)
    ours.close()
    Journal(tmp_path).close()


def test_a_full_disk_is_told_as_such(tmp_path, monkeypatch):
    def full(number):
        raise OSError(28, "No space left on device")

    ours = Journal(tmp_path)
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(NoSpace):
        ours.write(entry())
    ours.close()


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


@pytest.mark.parametrize(("name", "value", "fits"), PAIRS, ids=lambda each: f"{each!s:.20}")
def test_a_value_of_another_type_makes_its_line_an_unknown_one(tmp_path, name, value, fits):
    path = written(tmp_path, entry())
    with path.open("a") as file:
        file.write(json.dumps(WELL_FORMED | {name: value}) + "\n")
    contents = journal.read(tmp_path)
    assert contents.unknown_lines == (0 if fits else 1)
    assert len(contents.entries) == (2 if fits and name in ("input", "sample") else 1)


@pytest.mark.parametrize("field", ["input", "output"])
@pytest.mark.parametrize("name", ["../a.jpg", "a/../../b.jpg", "/etc/passwd", "..", "a\0b"])
def test_a_line_whose_paths_lead_outside_is_passed_over(field, name):
    assert JournalEntry.parse(json.dumps(WELL_FORMED | {field: name})) is None


@pytest.mark.parametrize(
    "line", ["[" * 100_000, '{"a":' * 100_000, "1" * 10_000, '"' + "x" * 3_000_000, "\0\0\0", "{}"]
)
def test_a_line_of_anything_is_passed_over(tmp_path, line):
    path = written(tmp_path, entry())
    with path.open("a") as file:
        file.write(line + "\n")
    contents = journal.read(tmp_path)
    assert [key[0] for key in contents.entries] == ["a.jpg"]
    assert contents.unknown_lines >= 1


@pytest.mark.parametrize("kind", ["folder", "pipe", "link", "folder of journals is a link"])
def test_a_journal_that_is_no_file_of_its_own_is_refused(tmp_path, kind):
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


@pytest.mark.parametrize("change", ["moved", "deleted", "made anew"])
def test_a_journal_that_is_no_longer_in_its_place_is_told(tmp_path, change):
    output = tmp_path / "out"
    ours = Journal(output)
    ours.write(entry())
    output.rename(tmp_path / "elsewhere") if change == "moved" else shutil.rmtree(output)
    if change == "made anew":
        (output / ".addsr").mkdir(parents=True)
        (output / ".addsr" / "journal.jsonl").touch()
    with pytest.raises(OutputVanished, match="deleted or moved"):
        ours.write(entry("b.jpg"))
    ours.close()

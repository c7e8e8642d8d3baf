import pytest

from addsr_cli.batch import journal
from addsr_cli.batch.journal import Entry, Journal
from addsr_cli.batch.shards import Shard
from addsr_cli.errors import NoSpace, OutputRefused


def entry(name="a.jpg", state="ok", **more):
    return Entry(state=state, input=name, settings="s", **more)


def test_what_is_written_is_read_back(tmp_path):
    odd = entry("ä/\udcff.jpg", output="o", size=5, output_size=0, error={"code": "c"}, seconds=1.5)
    ours = Journal(tmp_path)
    ours.write(odd)
    ours.close()
    assert journal.read(tmp_path) == {odd.key: odd}


def test_the_latest_word_counts_over_all_journals(tmp_path):
    first, second = Journal(tmp_path, Shard(number=1, count=2)), Journal(tmp_path, Shard(number=2, count=2))
    first.write(entry(at=3.0))
    second.write(entry(state="writing", at=2.0))
    second.write(entry("b.jpg", at=1.0))
    first.close()
    second.close()
    assert {key[0]: each.state for key, each in journal.read(tmp_path).items()} == {"a.jpg": "ok", "b.jpg": "ok"}
    assert len(list((tmp_path / ".addsr").glob("*.jsonl"))) == 2


def test_samples_are_kept_apart(tmp_path):
    ours = Journal(tmp_path)
    ours.write(entry(sample=0))
    ours.write(entry(sample=1))
    ours.close()
    assert len(journal.read(tmp_path)) == 2


@pytest.mark.parametrize("torn", [b'{"state": "ok", "inp', b"\xff\xfe", b"[1]", b'{"state": "ok"}', b"null"])
def test_a_torn_line_costs_only_itself(tmp_path, torn):
    ours = Journal(tmp_path)
    ours.write(entry())
    ours.close()
    with ours.path.open("ab") as file:
        file.write(torn)
    ours = Journal(tmp_path)
    ours.write(entry("b.jpg"))
    ours.close()
    assert [key[0] for key in journal.read(tmp_path)] == ["a.jpg", "b.jpg"]


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

"""Running the same command again."""

import json

import pytest


@pytest.fixture
def twice(photo, upscale):
    """Two photos and their outputs, in the order of a shell's ``*``."""
    first = upscale(photo("a.jpg"), photo("b.png"))
    assert first.code == 0
    return ["a.jpg", "a_x4.jpg", "b.png", "b_x4.png"]


def test_outputs_of_addsr_among_the_inputs_are_skipped_with_a_count(twice, photo, upscale, tree):
    outcome = upscale(*twice, photo("c.jpg"))
    assert (outcome.code, outcome.out) == (3, "c_x4.jpg\n")
    assert (
        "skipped 2 files: 2 made by addsr; to upscale an output of addsr, give it as the only input"
        in outcome.lines
    )
    assert len([line for line in outcome.lines if "already exists" in line]) == 2
    assert tree() == {*twice, "c.jpg", "c_x4.jpg"}


def test_skip_existing_upscales_new_photos_and_exits_with_0(twice, photo, upscale):
    outcome = upscale(*twice, photo("c.jpg"), "--skip-existing")
    assert (outcome.code, outcome.out) == (0, "c_x4.jpg\n")
    assert any(line.startswith("skipped 4 files: ") for line in outcome.lines)
    assert "2 made by addsr" in outcome.err
    assert "2 already done" in outcome.err


def test_skip_existing_also_skips_outputs_without_metadata(photo, upscale, tree):
    upscale(photo("a.png"), "--no-metadata")
    outcome = upscale("a.png", "a_x4.png", "--skip-existing")
    assert (outcome.code, outcome.out) == (0, "")
    assert tree() == {"a.png", "a_x4.png"}


def test_overwrite_repeats_the_work(twice, upscale):
    outcome = upscale(*twice, "--overwrite")
    assert (outcome.code, outcome.out.split()) == (0, ["a_x4.jpg", "b_x4.png"])


@pytest.mark.parametrize("names", [["a_x4.jpg"], ["a_x4.jpg", "b_x4.png"]])
def test_outputs_alone_are_upscaled_again(twice, upscale, names):
    outcome = upscale(*names, "--scale", 1.5)
    assert outcome.code == 0
    assert len(outcome.out.split()) == len(names)


def test_json_has_a_record_for_every_skipped_file(twice, upscale):
    outcome = upscale(*twice, "--skip-existing", "--json")
    records = [json.loads(line) for line in outcome.out.splitlines()]
    assert [record["input"] for record in records] == twice
    assert {record["status"] for record in records} == {"skipped"}
    assert records[0]["output"] == "a_x4.jpg"


def test_skip_existing_and_overwrite_contradict_each_other(photo, upscale):
    assert upscale(photo(), "--skip-existing", "--overwrite").code == 2

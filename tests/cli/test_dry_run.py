import json

import pytest


def test_a_dry_run_writes_nothing(photo, upscale, tree):
    photo()
    assert upscale("photo.jpg", "--dry-run", "-o", "out/").code == 0
    assert tree() == {"photo.jpg"}


def test_a_dry_run_prints_model_precision_tiles_memory_and_time(photo, upscale):
    text = upscale(
        photo("p.png", (300, 200)),
        "--dry-run",
        "--precision",
        "bf16",
        "--tile",
        256,
        "--device",
        "cpu",
    ).out
    for part in (
        "300x200",
        "1200x800",
        "model nano",
        "bf16",
        "tiles of 256 px",
        "20 tiles",
        "MB at its peak",
        "GB free",
        " s",
    ):
        assert part in text, part


def test_a_dry_run_prints_json(photo, upscale):
    outcome = upscale(photo(), "--dry-run", "--json", "--device", "cpu")
    record = json.loads(outcome.out)
    assert (record["status"], record["model"], record["size_out"]) == ("planned", "nano", [96, 72])
    assert record["plan"]["peak_bytes"] > record["plan"]["needed_bytes"] > 0
    assert record["plan"]["tiles"] == 1
    assert record["predicted_seconds"] > 0


def test_a_dry_run_counts_passes(photo, upscale):
    assert json.loads(upscale(photo(), "--dry-run", "--json", "--scale", 8).out)["passes"] == 2


def test_a_dry_run_reports_bad_files(upscale):
    assert upscale("missing.jpg", "--dry-run").code == 6


def test_a_dry_run_does_not_load_the_network(photo, upscale, monkeypatch):
    monkeypatch.setattr(
        "addsr_cli.weights.loader.load", lambda *arguments, **more: pytest.fail("loaded")
    )
    assert upscale(photo(), "--dry-run").code == 0


def test_little_memory_means_narrower_bands(photo, upscale):
    record = json.loads(
        upscale(photo("p.png", (600, 400)), "--dry-run", "--json", "--max-memory", "200M").out
    )
    assert record["plan"]["region"] < 2400
    assert record["plan"]["needed_bytes"] <= 200_000_000
    assert "bands of" in record["plan"]["why"]

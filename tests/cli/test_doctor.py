import json

import pytest


def test_doctor_prints_device_memory_model_and_paths(addsr):
    outcome = addsr("doctor")
    assert (outcome.code, outcome.err) == (0, "")
    for word in (
        "device",
        "memory",
        "precision",
        "model      nano: ready",
        "libraries",
        "config",
        "models",
        "downloads",
        "torch",
    ):
        assert word in outcome.out


def test_doctor_speaks_json(addsr):
    record = json.loads(addsr("doctor", "--json").out)
    assert record["memory_free"] > 0
    assert record["libraries"]["torch"] != "missing"
    assert record["model"]["state"] == "ready"
    assert len(record["model"]["sha256"]) == 64
    assert [example["size"] for example in record["examples"]] == [[128, 128], [1000, 750]]


def test_doctor_names_slow_operations_on_a_cpu(addsr):
    assert any(
        "processor" in note
        for note in json.loads(addsr("doctor", "--json", "--device", "cpu").out)["slow"]
    )


def test_doctor_reports_a_model_that_is_not_there(addsr):
    outcome = addsr("doctor", "--json", "--model", "bogus")
    model = json.loads(outcome.out)["model"]
    assert (outcome.code, model["state"]) == (0, "unavailable")
    assert model["hint"]


@pytest.mark.parametrize("arguments", [["--model", "bogus"], []])
def test_doctor_writes_plain_text_for_any_model(addsr, arguments):
    assert "model" in addsr("doctor", *arguments).out


def test_doctor_refuses_an_unknown_device(addsr):
    outcome = addsr("doctor", "--device", "abacus")
    assert (outcome.code, len(outcome.lines)) == (2, 1)


def test_doctor_shows_which_configuration_is_read(addsr, tmp_path):
    (tmp_path / "addsr.toml").write_text("steps = 1\n")
    configuration = json.loads(addsr("doctor", "--json").out)["configuration"]
    assert {"path": str(tmp_path / "addsr.toml"), "exists": True} in configuration

import re
import time

import pytest

from addsr_cli.version import __version__

HEAVY = r"\| +(torch|numpy|PIL|cv2|diffusers|transformers|huggingface_hub)$"


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["-h"],
        ["upscale", "--help"],
        ["batch", "--help"],
        ["bench", "--help"],
        ["compare", "--help"],
        ["distill", "--help"],
        ["doctor", "--help"],
        ["--version"],
    ],
    ids=" ".join,
)
def test_asking_for_help_succeeds_on_stdout(addsr, words):
    outcome = addsr(*words)
    assert outcome.code == 0
    assert outcome.out
    assert outcome.err == ""


def test_version_is_one_line(addsr):
    assert addsr("--version").out == f"addsr {__version__}\n"


def test_no_arguments_show_the_help(addsr):
    outcome = addsr()
    assert outcome.code == 2
    assert "upscale" in outcome.out + outcome.err


@pytest.mark.parametrize(
    "words",
    [["--help"], ["upscale", "--help"], ["batch", "--help"], ["bench", "--help"], ["--version"], ["upscale"]],
    ids=" ".join,
)
def test_help_never_imports_torch(finished, words):
    outcome = finished("-X", "importtime", "-m", "addsr_cli", *words)
    assert outcome.code == (2 if words == ["upscale"] else 0)
    assert "typer" in outcome.err
    assert not re.search(HEAVY, outcome.err, re.MULTILINE)


def test_help_is_quick(finished):
    times = []
    for _ in range(3):
        start = time.perf_counter()
        finished("--help")
        times.append(time.perf_counter() - start)
    assert min(times) < 1.0  # 0.25 s on a free machine


def test_upscale_help_names_every_option_of_the_contract(addsr, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    said = addsr("upscale", "--help").out
    for option in (
        *("--model", "--steps", "--prompt", "--psr", "--start", "--color", "--fidelity", "--seed", "--samples"),
        *("--scale", "--width", "--height", "--longest", "--shortest", "--output", "--format", "--quality"),
        *("--lossless", "--bit-depth", "--name", "--overwrite", "--no-metadata", "--device", "--precision", "--tile"),
        *("--overlap", "--offload", "--compile", "--max-memory", "--json", "--quiet", "--verbose", "--debug"),
        "--dry-run",
        "--compare",
    ):
        assert option in said, option


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_can_be_shown(finished, monkeypatch, shell):
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    outcome = finished("--show-completion", shell)
    assert outcome.code == 0
    assert "_ADDSR_COMPLETE" in outcome.out


def test_completion_knows_the_commands(finished, monkeypatch):
    monkeypatch.setenv("_ADDSR_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "addsr up")
    monkeypatch.setenv("COMP_CWORD", "1")
    assert finished("up").out.split() == ["upscale"]

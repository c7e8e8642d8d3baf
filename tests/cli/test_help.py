import os
import re

import pytest

from addsr_cli.models.registry import BUNDLED
from addsr_cli.version import __version__
from addsr_cli.weights.components import MODEL_COMPONENTS

HEAVY = ("torch", "numpy", "PIL", "cv2", "diffusers", "transformers", "huggingface_hub")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["-h"],
        ["upscale", "--help"],
        ["batch", "--help"],
        ["bench", "--help"],
        ["compare", "--help"],
        ["distill", "--help"],
        ["doctor", "--help"],
        ["verify", "--help"],
        ["--version"],
    ],
    ids=" ".join,
)
def test_asking_for_help_succeeds_on_stdout(addsr, arguments):
    outcome = addsr(*arguments)
    assert outcome.code == 0
    assert outcome.out
    assert outcome.err == ""


@pytest.mark.parametrize("flag", ["--version", "-V"])
def test_version_is_one_line(addsr, flag):
    assert addsr(flag).out == f"addsr {__version__}\n"


@pytest.fixture
def helped(addsr, monkeypatch):
    """Return the words of a help page, wrapped at so many columns."""

    def read(command, columns):
        monkeypatch.setenv("COLUMNS", str(columns))
        return re.sub(r"[│╭╮╰╯─]", " ", addsr(*command, "--help").out).split()

    return read


COMMANDS = [
    *([], ["upscale"], ["batch"], ["bench"], ["compare"], ["distill"], ["doctor"]),
    *(["models", name] for name in ("list", "pull", "verify", "import", "push", "path", "rm")),
]


def test_help_names_every_model_that_goes_by_a_name(helped):
    words = {word.strip(",.") for word in helped(["upscale"], 1000)}
    assert {"auto", *BUNDLED, *MODEL_COMPONENTS} <= words


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_breaks_no_word_at_80_columns(helped, command):
    assert set(helped(command, 80)) <= set(helped(command, 1000))


@pytest.mark.parametrize(
    ("command", "defaults"),
    [
        (
            "upscale",
            [
                "4",
                "auto",
                "lr",
                "wavelet",
                "0",
                "0.5",
                "0.4",
                "beside the input",
                "the input's",
                "{stem}_x",
            ],
        ),
        ("batch", ["2.0", "none", "auto"]),
        ("bench", ["1,4", "5"]),
        ("compare", ["A_compare.html beside A", "file names", "95"]),
        (
            "distill",
            ["seesr; nano for --arch nano", "0.5", "2.1", "runs/ARCH-STAGE", "student", "paper"],
        ),
    ],
)
def test_help_shows_defaults(helped, command, defaults):
    text = " ".join(helped([command], 400))
    for default in defaults:
        assert f"[default: {default}" in text, default


def test_help_names_the_choices(helped):
    text = " ".join(helped(["upscale"], 400))
    assert "How colours are matched to the photo: wavelet, adain, lab, none." in text
    assert "<auto|fp32|bf16|fp16>" in text


def test_no_arguments_show_the_help(addsr):
    outcome = addsr()
    assert outcome.code == 2
    assert "upscale" in outcome.out + outcome.err


def test_help_never_imports_torch(finished):
    script = f"""
import sys
from addsr_cli.cli.app import run
for arguments in ("--help", "upscale --help", "batch --help", "bench --help", "--version", ""):
    code = run(arguments.split())
    print([code, *(name for name in {HEAVY} if name in sys.modules)], file=sys.stderr)
print("typer" in sys.modules, file=sys.stderr)
"""
    outcome = finished("-c", script)
    assert outcome.lines[-7:] == ["[0]"] * 5 + ["[2]", "True"]


@pytest.mark.slow
def test_help_is_quick(finished):
    times = []
    for _ in range(3):
        before = os.times()
        finished("--help")
        after = os.times()  # seconds of work, which other programs do not make longer
        spent = (after.children_user - before.children_user) + (
            after.children_system - before.children_system
        )
        times.append(spent)
    assert min(times) < 0.5


def test_upscale_help_names_every_option_of_the_contract(addsr, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    text = addsr("upscale", "--help").out
    for option in (
        *(
            "--model",
            "--steps",
            "--prompt",
            "--psr",
            "--start",
            "--color",
            "--fidelity",
            "--seed",
            "--samples",
        ),
        *(
            "--scale",
            "--width",
            "--height",
            "--longest",
            "--shortest",
            "--output",
            "--format",
            "--quality",
        ),
        *(
            "--lossless",
            "--bit-depth",
            "--name",
            "--overwrite",
            "--no-metadata",
            "--device",
            "--precision",
            "--tile",
        ),
        *(
            "--overlap",
            "--offload",
            "--compile",
            "--max-memory",
            "--json",
            "--quiet",
            "--verbose",
            "--debug",
        ),
        "--dry-run",
        "--compare",
    ):
        assert option in text, option


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


def completed(finished, monkeypatch, line):
    words = line.split(" ")
    monkeypatch.setenv("_ADDSR_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
    return finished(words[-1]).out.split()


@pytest.mark.parametrize("line", ["addsr upscale --model ", "addsr photo.jpg --model "])
def test_completion_knows_the_models(finished, monkeypatch, tmp_path, line):
    (tmp_path / "run").mkdir()
    (tmp_path / "x4.pth").touch()
    (tmp_path / "notes.txt").touch()
    models = completed(finished, monkeypatch, line)
    assert {"auto", "nano", "addsr", "seesr", "seesr-turbo", "run/", "x4.pth"} <= set(models)
    assert not {"notes.txt", ".home/"} & set(models)


def test_completion_of_a_model_continues_the_typed_text(finished, monkeypatch, tmp_path):
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    assert completed(finished, monkeypatch, "addsr upscale --model se") == ["seesr", "seesr-turbo"]
    assert completed(finished, monkeypatch, "addsr upscale --model runs/m") == ["runs/mine/"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("addsr models pull stablesr-768", ["stablesr-768v", "stablesr-768v-small"]),
        ("addsr models verify na", ["nano"]),
        ("addsr upscale --for p", ["photo", "print"]),
        ("addsr upscale --device c", ["cpu", "cuda"]),
    ],
)
def test_completion_knows_names_of_models_intents_and_devices(finished, monkeypatch, line, words):
    assert completed(finished, monkeypatch, line) == words

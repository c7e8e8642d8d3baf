"""Both streams on a terminal of 80 columns."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import addsr_cli

pty = pytest.importorskip("pty", reason="terminals are those of POSIX")
REPOSITORY = Path(addsr_cli.__file__).parents[1]
CODES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


@pytest.fixture
def terminal(monkeypatch):
    """Run ``python ...`` with both streams on a terminal; return all output."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("NO_COLOR", raising=False)

    def run(*arguments, **variables):
        test_end, terminal_end = pty.openpty()
        environment = {
            **os.environ,
            "PYTHONPATH": str(REPOSITORY),
            "OMP_NUM_THREADS": "1",
        } | variables
        command = [sys.executable, *map(str, arguments)]
        pipes = {"stdin": subprocess.DEVNULL, "stdout": terminal_end, "stderr": terminal_end}
        with subprocess.Popen(command, env=environment, **pipes):
            os.close(terminal_end)
            shown = b""
            while piece := _read(test_end):
                shown += piece
        os.close(test_end)
        return shown.decode().replace("\r\n", "\n")

    return run


def _read(descriptor):
    try:
        return os.read(descriptor, 65536)
    except OSError:  # Linux's way to say that the other side is closed
        return b""


def plain(shown):
    """Lines without escape codes, including those that a bar overwrote."""
    return [line.rstrip() for line in re.split(r"[\r\n]+", CODES.sub("", shown))]


def test_upscaling_several_photos_on_a_terminal(photo, terminal):
    shown = terminal(
        "-m",
        "addsr_cli",
        "upscale",
        photo("a.png"),
        photo("b.png"),
        "missing.png",
        "--model",
        "nano",
        "--steps",
        "1",
    )
    lines = plain(shown)
    assert sum("a_x4.png" in line for line in lines) == 1  # as a message, not as a result too
    assert any(
        re.fullmatch(r"a\.png -> a_x4\.png: 96x72, 1 step, seed 0, in [\d.]+ s", line)
        for line in lines
    )
    assert any(re.fullmatch(r"[\d.]+ s elapsed, file 2 of 2: b\.png", line) for line in lines)
    assert "\x1b[31merror:\x1b[0m 'missing.png' does not exist" in shown
    assert max(map(len, lines)) <= 80


MESSAGE = """
from addsr_cli.cli.console import Console, print_message
with Console().step_progress("photo.jpg"):
    print_message(
        "error: '{name}' may not be read, whatever one tries. "
        "Check its permissions and those of all folders."
    )
"""


LONG_PATH = """
import sys
from addsr_cli.cli.console import Console
from addsr_cli.cli.batch_progress import BatchProgress
with BatchProgress(Console(), "photos").bar(9, 10**9):
    Console().result("folder/" * 20, {})
"""


TIME_LEFT = """
import time
from types import SimpleNamespace
from addsr_cli.cli.console import Console
with Console().step_progress("photo.jpg") as update:
    for done in range(1, 4):
        update(SimpleNamespace(done=done, total=8, step=done, steps=4))
        time.sleep(0.3)
"""


def test_the_remaining_time_is_labelled(terminal):
    lines = plain(terminal("-c", TIME_LEFT))
    assert any(re.search(r"step 3/4, tile 3/8 0:00:0\d left$", line) for line in lines), lines
    assert any(re.fullmatch(r"0\.\d s elapsed, photo\.jpg", line) for line in lines), lines


def test_a_long_path_above_a_bar_stays_whole(terminal):
    lines = plain(terminal("-c", LONG_PATH))
    assert "folder/" * 20 in lines
    assert any(re.search(r"0/9 files, 0\.0 MP, ", line) for line in lines)
    assert max(len(line) for line in lines if "files" in line or "elapsed" in line) <= 80


@pytest.mark.parametrize(
    "template", [MESSAGE, MESSAGE.replace('with Console().step_progress("photo.jpg"):', "if True:")]
)
def test_lines_are_broken_between_words_only(terminal, template):
    name = "/".join(["a-folder-with-a-long-name"] * 4)
    script = template.format(name=name)
    lines = plain(terminal("-c", script))
    assert f"'{name}'" in lines  # longer than a line, and whole
    words = " ".join(lines).split()
    assert {"permissions", "whatever", "folders."} <= set(words)


@pytest.mark.parametrize("variables", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_colour_can_be_switched_off(terminal, variables):
    shown = terminal("-m", "addsr_cli", "upscale", "missing.png", **variables)
    assert "\x1b[" not in shown
    assert shown.startswith("error: ")


CONTROL_CHARACTERS = """
from addsr_cli.cli.console import Console
from addsr_cli.cli.records import print_result, EMPTY_RECORD
name = "a\\x1b[2Jb\\nerror: c\\u202e.png"
done = dict(input=name, output=name, size_out=(1, 1), steps=1, seed=0, seconds={}, prompt="",
            plan={"why": ""}, peak_memory=0)
print_result(EMPTY_RECORD | done, Console(), summary=LINE)
"""


@pytest.mark.parametrize("line", [True, False])
def test_control_characters_in_names_are_escaped_on_a_terminal(terminal, line):
    shown = terminal("-c", CONTROL_CHARACTERS.replace("LINE", str(line)))
    assert r"a\x1b[2Jb" in shown
    assert r"c\u202e.png" in shown
    assert "\x1b[2J" not in shown
    assert "\u202e" not in shown
    if line:
        assert "\nerror" not in shown


def test_data_for_a_program_is_not_escaped(capsys):
    from addsr_cli.cli.console import Console

    Console().result("a\x1b[2Jb\nc", {})
    assert capsys.readouterr().out == "a\x1b[2Jb\nc\n"


def test_paths_may_end_in_nul(photo, upscale):
    outcome = upscale(photo("a\nb.png"), photo("c.png"), "--print0")
    assert (outcome.code, outcome.out) == (0, "a\nb_x4.png\0c_x4.png\0")
    assert r"a\nb.png -> a\nb_x4.png" in outcome.err


def test_print0_and_json_contradict_each_other(photo, upscale):
    assert upscale(photo(), "--print0", "--json").code == 2


BATCH = """
import sys
from addsr_cli.cli.app import run
from addsr_cli.batch.pipeline import Pipeline
original = Pipeline._upscale
def upscale(self, *arguments):
    result = original(self, *arguments)
    self.observer._bar.refresh()
    return result
Pipeline._upscale = upscale
sys.exit(run(["batch", "photos", "--model", "nano", "--steps", "1"]))
"""


def test_a_batch_shows_the_current_file(photo, terminal):
    photo("photos/a.png"), photo("photos/sub/b.png")
    lines = plain(terminal("-c", BATCH))
    assert any(re.search(r"elapsed, now photos/a\.png", line) for line in lines), lines
    assert any(re.search(r"elapsed, now photos/sub/b\.png", line) for line in lines), lines
    assert any(re.search(r"[012]/2 files, .* MP/s", line) for line in lines), lines
    assert max(map(len, lines)) <= 80

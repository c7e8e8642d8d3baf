"""Both streams on a terminal of 80 columns."""

import os
import re
import time
from threading import Thread
from types import SimpleNamespace

import pytest

from addsr_cli.batch.pipeline import Pipeline
from addsr_cli.cli.app import run
from addsr_cli.cli.batch_progress import BatchProgress
from addsr_cli.cli.console import Console, print_message
from addsr_cli.cli.progress_bars import stderr_console
from addsr_cli.cli.records import EMPTY_RECORD, print_result

pty = pytest.importorskip("pty", reason="terminals are those of POSIX")
CODES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


@pytest.fixture
def terminal(monkeypatch):
    """Call a function with both streams on a terminal; return all output."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("NO_COLOR", raising=False)

    def call(function):
        stderr_console.cache_clear()  # it remembers the terminal and the environment
        test_end, terminal_end = pty.openpty()
        pieces = []
        reader = Thread(target=lambda: pieces.extend(iter(lambda: _read(test_end), b"")))
        reader.start()
        with os.fdopen(terminal_end, "w", encoding="utf-8") as stream, monkeypatch.context() as at:
            at.setattr("sys.stdout", stream)
            at.setattr("sys.stderr", stream)
            function()
        reader.join()
        os.close(test_end)
        stderr_console.cache_clear()
        return b"".join(pieces).decode().replace("\r\n", "\n")

    return call


def _read(descriptor):
    try:
        return os.read(descriptor, 65536)
    except OSError:  # Linux's way to say that the other side is closed
        return b""


def plain(shown):
    """Lines without escape codes, including those that a bar overwrote."""
    return [line.rstrip() for line in re.split(r"[\r\n]+", CODES.sub("", shown))]


def test_upscaling_several_photos_on_a_terminal(photo, terminal):
    paths = [str(photo("a.png")), str(photo("b.png")), "missing.png"]
    shown = terminal(lambda: run(["upscale", *paths, "--model", "nano", "--steps", "1"]))
    lines = plain(shown)
    assert sum("a_x4.png" in line for line in lines) == 1  # as a message, not as a result too
    assert any(
        re.fullmatch(r"a\.png -> a_x4\.png: 96x72, 1 step, seed 0, in [\d.]+ s", line)
        for line in lines
    )
    assert any(re.fullmatch(r"[\d.]+ s elapsed, file 2 of 2: b\.png", line) for line in lines)
    assert "\x1b[31merror:\x1b[0m 'missing.png' does not exist" in shown
    assert max(map(len, lines)) <= 80


def show_time_left():
    with Console().step_progress("photo.jpg") as update:
        for done in range(1, 4):
            update(SimpleNamespace(done=done, total=8, step=done, steps=4))
            time.sleep(0.3)


def test_the_remaining_time_is_labelled(terminal):
    lines = plain(terminal(show_time_left))
    assert any(re.search(r"step 3/4, tile 3/8 0:00:0\d left$", line) for line in lines), lines
    assert any(re.fullmatch(r"0\.\d s elapsed, photo\.jpg", line) for line in lines), lines


def test_a_long_path_above_a_bar_stays_whole(terminal):
    def show():
        with BatchProgress(Console(), "photos").bar(9, 10**9):
            Console().result("folder/" * 20, {})

    lines = plain(terminal(show))
    assert "folder/" * 20 in lines
    assert any(re.search(r"0/9 files, 0\.0 MP, ", line) for line in lines)
    assert max(len(line) for line in lines if "files" in line or "elapsed" in line) <= 80


@pytest.mark.parametrize("with_bar", [True, False])
def test_lines_are_broken_between_words_only(terminal, with_bar):
    name = "/".join(["a-folder-with-a-long-name"] * 4)
    message = (
        f"error: '{name}' may not be read, whatever one tries. "
        "Check its permissions and those of all folders."
    )

    def show():
        if not with_bar:
            print_message(message)
            return
        with Console().step_progress("photo.jpg"):
            print_message(message)

    lines = plain(terminal(show))
    assert f"'{name}'" in lines  # longer than a line, and whole
    words = " ".join(lines).split()
    assert {"permissions", "whatever", "folders."} <= set(words)


@pytest.mark.parametrize("variables", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_colour_can_be_switched_off(terminal, monkeypatch, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    shown = terminal(lambda: run(["upscale", "missing.png"]))
    assert "\x1b[" not in shown
    assert shown.startswith("error: ")


@pytest.mark.parametrize("line", [True, False])
def test_control_characters_in_names_are_escaped_on_a_terminal(terminal, line):
    name = "a\x1b[2Jb\nerror: c\u202e.png"
    record = EMPTY_RECORD | {
        "input": name,
        "output": name,
        "size_out": (1, 1),
        "steps": 1,
        "seed": 0,
        "seconds": {},
        "prompt": "",
        "plan": {"why": ""},
        "peak_memory": 0,
    }
    shown = terminal(lambda: print_result(record, Console(), summary=line))
    assert r"a\x1b[2Jb" in shown
    assert r"c\u202e.png" in shown
    assert "\x1b[2J" not in shown
    assert "\u202e" not in shown
    if line:
        assert "\nerror" not in shown


def test_data_for_a_program_is_not_escaped(capsys):
    Console().result("a\x1b[2Jb\nc", {})
    assert capsys.readouterr().out == "a\x1b[2Jb\nc\n"


def test_paths_may_end_in_nul(photo, upscale):
    outcome = upscale(photo("a\nb.png"), photo("c.png"), "--print0")
    assert (outcome.code, outcome.out) == (0, "a\nb_x4.png\0c_x4.png\0")
    assert r"a\nb.png -> a\nb_x4.png" in outcome.err


def test_print0_and_json_contradict_each_other(photo, upscale):
    assert upscale(photo(), "--print0", "--json").code == 2


def test_a_batch_shows_the_current_file(photo, terminal, monkeypatch):
    photo("photos/a.png"), photo("photos/sub/b.png")
    original = Pipeline._upscale

    def upscale(self, *arguments):
        result = original(self, *arguments)
        self.observer._bar.refresh()
        return result

    monkeypatch.setattr(Pipeline, "_upscale", upscale)
    lines = plain(terminal(lambda: run(["batch", "photos", "--model", "nano", "--steps", "1"])))
    assert any(re.search(r"elapsed, now photos/a\.png", line) for line in lines), lines
    assert any(re.search(r"elapsed, now photos/sub/b\.png", line) for line in lines), lines
    assert any(re.search(r"[012]/2 files, .* MP/s", line) for line in lines), lines
    assert max(map(len, lines)) <= 80

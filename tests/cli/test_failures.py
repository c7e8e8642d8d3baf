"""Interrupted calls and unexpected errors: exit codes and messages."""

import json
import signal
import sys

import pytest

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals are those of POSIX")
BOOM = """
import sys
from addsr_cli.cli import doctor
from addsr_cli.cli.app import run
def boom(*arguments):
    raise ZeroDivisionError("two\\nlines")
doctor.diagnose = boom
sys.exit(run(sys.argv[1:]))
"""


class Interrupting:
    """A module that is still loading when Control-C comes."""

    def __getattr__(self, name):
        raise KeyboardInterrupt


@posix
def test_control_c_in_the_middle_of_a_run_leaves_nothing_behind(photo, process, tree):
    child = process("upscale", photo("large.png", (1200, 900)), "--model", "nano")
    assert child.stderr.readline().startswith(b"model nano")
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    assert (child.returncode, out) == (130, b"")
    assert err == b"Interrupted. No incomplete file was left behind.\n"
    assert tree() == {"large.png"}


@posix
@pytest.mark.slow
def test_control_c_between_photos_keeps_those_that_are_done(photo, process, tree):
    child = process("upscale", photo("a.png"), photo("large.png", (1200, 900)), "--model", "nano")
    assert child.stdout.readline() == b"a_x4.png\n"
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=60)
    assert child.returncode == 130
    assert tree() == {"a.png", "a_x4.png", "large.png"}


def test_control_c_while_the_file_is_written_leaves_nothing_behind(
    photo, upscale, tree, monkeypatch
):
    def interrupted(*names):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", interrupted)
    outcome = upscale(photo())
    assert outcome.code == 130
    assert outcome.lines[-1].startswith("Interrupted")
    assert tree() == {"photo.jpg"}


def test_control_c_before_the_command_starts_is_quiet_too(addsr, monkeypatch):
    def interrupted(options):
        raise KeyboardInterrupt

    monkeypatch.setattr("addsr_cli.cli.config.load_defaults", interrupted)
    outcome = addsr("--help")
    assert (outcome.code, outcome.out, len(outcome.lines)) == (130, "", 1)


def test_control_c_while_the_program_loads_is_quiet_too(monkeypatch, capsys):
    from addsr_cli.__main__ import main

    monkeypatch.setitem(sys.modules, "addsr_cli.cli.app", Interrupting())
    with pytest.raises(SystemExit, match="130"):
        main()
    assert capsys.readouterr().err == "Interrupted.\n"


def test_quiet_does_not_tell_of_control_c(photo, upscale, monkeypatch):
    def interrupted(*names):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", interrupted)
    outcome = upscale(photo(), "--quiet")
    assert (outcome.code, outcome.err) == (130, "")


def test_an_unexpected_error_is_one_line_and_exit_1(finished):
    outcome = finished("-c", BOOM, "doctor")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.lines[0] == "error: unexpected ZeroDivisionError: two lines"
    assert "Traceback" not in outcome.err
    assert "--debug" in outcome.err


def test_debug_shows_the_traceback_of_an_unexpected_error(finished):
    outcome = finished("-c", BOOM, "doctor", "--debug")
    assert outcome.code == 1
    assert "Traceback" in outcome.err
    assert "in boom" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "code"), [(["photo.jpg", "--steps", "9"], 2), (["missing.jpg"], 6)]
)
def test_debug_adds_a_traceback_to_foreseen_errors_and_keeps_the_exit_code(
    photo, addsr, arguments, code
):
    photo()
    plain, debug = addsr("upscale", *arguments), addsr("upscale", *arguments, "--debug")
    assert (plain.code, debug.code) == (code, code)
    assert "Traceback" not in plain.err
    assert "Traceback" in debug.err
    assert debug.lines[-1] == plain.lines[-1]


def test_no_memory_at_all_exits_with_5_and_the_numbers(photo, upscale, denoise, tree):
    def full(nano, z, answer):
        raise MemoryError

    denoise(full)
    outcome = upscale(photo("photo.png", (64, 48)))
    assert (outcome.code, outcome.out) == (5, "")
    assert "GB needed" in outcome.err
    assert "GB free" in outcome.err
    assert tree() == {"photo.png"}


def test_too_little_memory_goes_on_with_smaller_tiles_and_says_so(photo, upscale, denoise):
    def tight(nano, z, answer):
        if z.shape[-1] * nano.factor > 240:
            raise MemoryError("out of memory")
        return answer()

    denoise(tight)
    outcome = upscale(photo("photo.png", (64, 48)), "--json")
    record = json.loads(outcome.out)
    assert (outcome.code, record["plan"]["tile"]) == (0, 128)
    assert any("tiles of 128 px after memory ran out" in note for note in record["warnings"])
    assert "warning: photo.png: out of memory" in outcome.err


def test_unusable_numbers_are_never_written(photo, upscale, denoise, tree):
    denoise(lambda nano, z, answer: answer() * float("nan"))
    outcome = upscale(photo())
    assert (outcome.code, outcome.out) == (1, "")
    assert "unusable numbers" in outcome.err
    assert tree() == {"photo.jpg"}

import errno
import io
import json
import os
import shlex
import stat
import sys
import threading
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from addsr_cli.cli import streams

KEYS = {
    *(
        "input",
        "output",
        "status",
        "seconds",
        "peak_memory",
        "size_in",
        "size_out",
        "model",
        "steps",
        "seed",
    ),
    *("tags", "prompt", "plan", "warnings", "error"),
}


def test_stdout_is_the_path_of_the_result(photo, upscale):
    outcome = upscale(photo())
    assert (outcome.code, outcome.out) == (0, "photo_x4.jpg\n")


def test_stderr_names_the_model_and_why(photo, upscale):
    assert upscale(photo()).lines[0] == "model nano: requested by name"


def test_the_automatic_choice_is_explained(photo, addsr):
    outcome = addsr("upscale", photo(), "--steps", 1)
    assert outcome.lines[0].startswith("model small: the sharper bundled model")


def test_quiet_prints_no_messages(photo, upscale):
    outcome = upscale(photo(), "--quiet")
    assert (outcome.out, outcome.err) == ("photo_x4.jpg\n", "")


def test_quiet_does_not_silence_errors(upscale):
    outcome = upscale("missing.jpg", "-q")
    assert len(outcome.lines) == 1


def test_verbose_adds_the_plan_and_the_stages(photo, upscale):
    plain, verbose = upscale(photo()), upscale(photo(), "--verbose", "--overwrite")
    assert "plan: " not in plain.err
    assert "plan: " in verbose.err
    assert "network" in verbose.err


def test_nothing_is_animated_when_stderr_is_no_terminal(photo, upscale):
    assert not {"\r", "\x1b"} & set(upscale(photo(), "--verbose").err)


def test_json_has_every_key_for_success(photo, upscale):
    record = json.loads(upscale(photo(), "--json", "--seed", 5).out)
    assert record.keys() >= KEYS
    assert (record["input"], record["output"], record["status"]) == (
        "photo.jpg",
        "photo_x4.jpg",
        "ok",
    )
    assert (record["size_in"], record["size_out"]) == ([24, 18], [96, 72])
    assert (record["model"], record["steps"], record["seed"], record["error"]) == (
        "nano",
        1,
        5,
        None,
    )


def test_json_has_seconds_by_stage_and_peak_memory_in_bytes(photo, upscale):
    record = json.loads(upscale(photo(), "--json").out)
    assert record["seconds"].keys() >= {"read", "network", "finish"}
    assert all(time >= 0 for time in record["seconds"].values())
    assert record["peak_memory"] > 10**6


def test_json_has_every_key_for_failure(upscale):
    record = json.loads(upscale("missing.jpg", "--json").out)
    assert record.keys() >= KEYS
    assert (record["input"], record["output"], record["status"]) == ("missing.jpg", None, "failed")
    assert record["error"]["code"] == "unreadable_input"
    assert all(record["error"][part] for part in ("message", "hint"))


def test_json_is_one_object_a_line_in_the_order_of_the_inputs(photo, upscale):
    outcome = upscale(photo("a.jpg"), "missing.jpg", photo("b.png"), "--json")
    records = [json.loads(line) for line in outcome.out.splitlines()]
    assert [r["input"] for r in records] == ["a.jpg", "missing.jpg", "b.png"]
    assert [r["status"] for r in records] == ["ok", "failed", "ok"]


def test_json_is_printed_for_invalid_options_too(photo, upscale):
    record = json.loads(upscale(photo(), "--json", "--steps", "many").out)
    assert record["error"]["code"] == "usage"


def test_json_may_come_from_the_environment_even_for_errors(photo, upscale, monkeypatch):
    monkeypatch.setenv("ADDSR_JSON", "1")
    assert json.loads(upscale(photo(), "--steps", 9).out)["error"]["code"] == "usage"


def test_a_prompt_for_nano_is_reported_to_have_no_effect(photo, upscale):
    outcome = upscale(photo(), "--prompt", "a cat", "--json")
    record = json.loads(outcome.out)
    assert record["prompt"] == "a cat"
    assert "reads no text" in record["warnings"][0]
    assert "warning: photo.jpg: the model nano reads no text" in outcome.err


def test_dash_as_output_writes_the_picture_to_stdout(photo, capfdbinary):
    from addsr_cli.cli.app import run

    source = photo()
    assert run(["upscale", str(source), "--model", "nano", "--steps", "1", "-o", "-"]) == 0
    with Image.open(io.BytesIO(capfdbinary.readouterr().out)) as image:
        assert (image.format, image.size) == ("JPEG", (96, 72))
    assert not list(source.absolute().parent.glob("*_x4*"))


def test_a_full_stdout_exits_with_7(photo, upscale, monkeypatch):
    class Full(io.RawIOBase):
        def writable(self):
            return True

        def write(self, data):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(sys, "stdout", SimpleNamespace(buffer=Full(), isatty=lambda: False))
    outcome = upscale(photo(), "-o", "-")
    assert outcome.code == 7
    assert "No space left" in outcome.lines[-1]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
@pytest.mark.parametrize(
    ("encoding", "data"), [("utf-8", b"\xff \xe6\x97\xa5\n"), ("cp1252", b"\\udcff \\u65e5\n")]
)
def test_a_name_beyond_the_encoding_of_a_stream_is_no_failure(encoding, data):
    before = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    stream = streams._wrap(before, streams.StandardOutput)
    print(os.fsdecode(b"\xff \xe6\x97\xa5"), file=stream, flush=True)
    assert stream.buffer.getvalue() == data


def test_dash_as_input_reads_stdin_and_writes_stdout(photo, capfdbinary, monkeypatch):
    from addsr_cli.cli.app import run

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(photo("photo.png").read_bytes())))
    assert run(["upscale", "-", "--model", "nano", "--steps", "1"]) == 0
    out, err = capfdbinary.readouterr()
    with Image.open(io.BytesIO(out)) as image:
        assert (image.format, image.size) == ("PNG", (96, 72))
    assert b"stdin -> stdout" in err


def test_stdin_with_a_folder_becomes_a_file_there(photo, upscale, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(photo().read_bytes())))
    assert upscale("-", "-o", "out/").out.split() == [os.path.join("out", "stdin_x4.jpg")]  # noqa: PTH118


def test_empty_stdin_is_unreadable(upscale, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    outcome = upscale("-")
    assert (outcome.code, outcome.out, len(outcome.lines)) == (6, "", 1)


@pytest.mark.parametrize(
    "arguments",
    [["photo.jpg", "-"], ["-", "--samples", "2"], ["photo.jpg", "other.jpg", "-o", "-"]],
)
def test_only_one_picture_goes_through_stdout(photo, upscale, monkeypatch, tree, arguments):
    photo(), photo("other.jpg")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(photo().read_bytes())))
    outcome = upscale(*arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert tree() == {"photo.jpg", "other.jpg"}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are those of POSIX")
def test_a_bar_shows_on_a_terminal_and_stdout_stays_clean(photo, process, monkeypatch):
    import pty

    monkeypatch.setenv("TERM", "xterm-256color")
    test_end, terminal_end = pty.openpty()
    child = process("upscale", photo(), "--model", "nano", "--steps", "1", stderr=terminal_end)
    os.close(terminal_end)
    pieces = []
    with suppress(OSError):  # Linux's way to say that the other side is closed
        while piece := os.read(test_end, 65536):
            pieces.append(piece)
    os.close(test_end)
    out, _ = child.communicate(timeout=60)
    text = b"".join(pieces).decode()
    assert out == b"photo_x4.jpg\n"
    assert "\x1b[" in text
    assert "tile" in text


def with_streams(finished, redirections, *arguments):
    """Run a separate process whose streams a shell redirects."""
    command = shlex.join([sys.executable, "-m", "addsr_cli", *map(str, arguments)])
    line = f"exec {command} {redirections}"
    return finished("-c", f"import os; os.execv('/bin/sh', ['sh', '-c', {line!r}])")


shell = pytest.mark.skipif(sys.platform != "linux", reason="needs a shell, and /dev/full")


@shell
@pytest.mark.parametrize("redirections", ["<&- >&- 2>&-", "2>&-", ">&- 2>/dev/full"])
def test_no_file_takes_the_place_of_a_closed_stream(finished, redirections):
    script = (
        "import sys; from addsr_cli.cli import streams; streams.prepare(); "
        "file = open('whole', 'wb'); file.write(b'picture'); file.flush(); "
        "print('message', file=sys.stderr, flush=True)\n"
        "if sys.__stdout__ is None: print('result', flush=True)\n"
        "sys.exit(file.fileno() <= 2)"
    )
    line = f"exec {shlex.join([sys.executable, '-c', script])} {redirections}"
    outcome = finished("-c", f"import os; os.execv('/bin/sh', ['sh', '-c', {line!r}])")
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "")
    assert Path("whole").read_bytes() == b"picture"


@shell
@pytest.mark.parametrize("redirections", ["2>&-", "2>/dev/full"])
def test_messages_for_a_closed_stderr_are_dropped_and_the_exit_code_stays(finished, redirections):
    outcome = with_streams(finished, redirections, "upscale", "none.jpg")
    assert (outcome.code, outcome.out, outcome.err) == (6, "", "")


@shell
@pytest.mark.parametrize(
    ("redirections", "arguments", "code", "message"),
    [
        ("<&-", ["upscale", "-", "-o", "x.png"], 6, "stdin is closed"),
        (">&-", ["upscale", "photo.jpg", "-o", "-"], 7, "stdout, which is closed"),
        (">/dev/full", ["--version"], 7, "stdout cannot be written: No space left on device"),
        (">/dev/full", ["--help"], 7, "stdout cannot be written"),
        (">/dev/full", ["upscale", "none.jpg", "--json"], 7, "stdout cannot be written"),
        (">/dev/full", ["upscale", "--steps", "many", "--json"], 2, "--steps"),
    ],
)
def test_a_stream_that_is_closed_or_full_is_one_line(
    photo, finished, redirections, arguments, code, message
):
    photo()
    outcome = with_streams(finished, redirections, *arguments)
    assert (outcome.code, outcome.out) == (code, "")
    assert message in outcome.lines[-1]
    assert "unexpected" not in outcome.err


@pytest.mark.skipif(sys.platform == "win32", reason="no device files here")
@pytest.mark.parametrize("arguments", [[], ["--overwrite"]])
def test_the_null_device_takes_a_picture_and_stays(photo, upscale, arguments):
    outcome = upscale(photo(), "-o", "/dev/null", *arguments)
    assert (outcome.code, outcome.out) == (0, "/dev/null\n")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


@pytest.mark.skipif(sys.platform != "linux", reason="Linux has /dev/full")
def test_a_device_that_is_full_exits_with_7(photo, upscale):
    outcome = upscale(photo(), "-o", "/dev/full")
    assert outcome.code == 7
    assert "No space is left for '/dev/full'" in outcome.lines[-1]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_as_input_is_read_once(photo, upscale):
    data = photo("photo.png").read_bytes()
    os.mkfifo("pipe")
    writer = threading.Thread(target=Path("pipe").write_bytes, args=(data,))
    writer.start()
    outcome = upscale("pipe", "-o", "large.png")
    writer.join()
    assert (outcome.code, outcome.out) == (0, "large.png\n")


@pytest.mark.skipif(sys.platform == "win32", reason="permission bits are those of POSIX")
def test_outputs_and_pages_are_as_private_as_the_photo(photo, upscale):
    source = photo()
    source.chmod(0o600)
    assert upscale(source, "--compare").code == 0
    assert {path.stat().st_mode & 0o777 for path in Path().glob("photo_x4*")} == {0o600}

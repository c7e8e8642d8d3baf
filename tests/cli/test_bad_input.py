import json
import struct
import sys
import zlib
from pathlib import Path

import pytest

from addsr_cli.errors import ModelUnavailable

SHARED = Path(__file__).parents[3] / "shared" / "data" / "bad"
BROKEN = (
    *(
        "bomb_60000x60000.png",
        "bomb_65500x65500.jpg",
        "corrupt_idat.png",
        "corrupt_middle.jpg",
        "header_only.jpg",
    ),
    *("text_renamed.png", "truncated.gif", "truncated.jpg", "zero_byte.jpg"),
)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, pixels):
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


def truncated(photo, tmp_path):
    data = photo("whole.jpg", (200, 150)).read_bytes()
    (tmp_path / "bad.jpg").write_bytes(data[: len(data) // 2])
    (tmp_path / "whole.jpg").unlink()
    return "bad.jpg"


def written(name, data):
    def make(photo, tmp_path):
        (tmp_path / name).write_bytes(data)
        return name

    return make


def folder(photo, tmp_path):
    (tmp_path / "folder.jpg").mkdir()
    return "folder.jpg"


KINDS = {
    "zero bytes": written("bad.jpg", b""),
    "text with a picture's name": written("bad.png", b"Dear diary, today I was renamed.\n" * 9),
    "cut JPEG": truncated,
    "corrupt PNG": written(
        "bad.png", png(64, 64, zlib.compress(b"\x07" * 64 * 193)[:-9] + b"garbage..")
    ),
    "PNG without pixels": written("bad.png", png(64, 64, b"")),
    "bomb": written("bad.png", png(60000, 60000, zlib.compress(b""))),
    "header alone": written("bad.jpg", b"\xff\xd8\xff\xe0"),
    "PDF": written("bad.jpg", b"%PDF-1.7 and so on"),
    "folder": folder,
    "missing": lambda photo, tmp_path: "missing.jpg",
    "name too long": lambda photo, tmp_path: "x" * 5000 + ".jpg",
}


def assert_refused(outcome, tree, before):
    messages = [line for line in outcome.lines if not line.startswith("model nano")]
    assert (outcome.code, outcome.out, len(messages)) == (6, "", 1)
    assert messages[0].startswith("error: ")
    assert tree() == before


@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_file_gives_one_line_and_exit_6(photo, upscale, tree, tmp_path, kind):
    source = KINDS[kind](photo, tmp_path)
    assert_refused(upscale(source), tree, tree())


@pytest.mark.parametrize("kind", ["zero bytes", "cut JPEG", "bomb"])
def test_a_bad_file_leaves_no_output_folder_behind(photo, upscale, tmp_path, kind):
    assert upscale(KINDS[kind](photo, tmp_path), "-o", "out/").code == 6
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["cut JPEG", "corrupt PNG"])
def test_a_bad_file_never_replaces_an_existing_output(photo, upscale, tmp_path, kind):
    (tmp_path / "out.png").write_bytes(b"precious")
    assert upscale(KINDS[kind](photo, tmp_path), "-o", "out.png", "--overwrite").code == 6
    assert (tmp_path / "out.png").read_bytes() == b"precious"


def test_a_file_that_may_not_be_read_gives_one_line_and_exit_6(photo, upscale, tree, unprivileged):
    upscale(photo("warm.png"))
    source = photo()
    source.chmod(0)
    before = tree()
    with unprivileged():
        outcome = upscale(source)
    assert_refused(outcome, tree, before)
    assert "may not be read" in outcome.err


@pytest.mark.parametrize("name", BROKEN)
def test_a_shared_broken_file_gives_one_line_and_exit_6(upscale, tree, name):
    if not (SHARED / name).is_file():
        pytest.skip(f"{SHARED / name} is not here")
    assert_refused(upscale(SHARED / name, "-o", "out.png"), tree, set())


def test_a_png_named_jpg_is_read_as_png(upscale, tmp_path):
    source = SHARED / "png_named.jpg"
    if not source.is_file():
        pytest.skip(f"{source} is not here")
    assert upscale(source, "--scale", "0.5", "-o", "out.png").code == 0
    assert (tmp_path / "out.png").is_file()


def test_one_bad_file_among_several_exits_with_3_and_the_others_are_written(
    photo, upscale, tree, tmp_path
):
    names = [photo("a.jpg"), truncated(photo, tmp_path), "missing.jpg", photo("z.png")]
    outcome = upscale(*names, "-o", "out")
    assert (outcome.code, outcome.out.split()) == (3, ["out/a_x4.jpg", "out/z_x4.png"])
    assert len([line for line in outcome.lines if line.startswith("error: ")]) == 2
    assert tree() == {"a.jpg", "bad.jpg", "z.png", "out/a_x4.jpg", "out/z_x4.png"}


def test_the_error_names_the_file_once(upscale):
    line = upscale("missing.jpg").lines[-1]
    assert line.count("missing.jpg") == 1


def test_json_has_the_error_of_a_file_that_fails_to_decode(photo, upscale, tmp_path):
    record = json.loads(upscale(truncated(photo, tmp_path), "--json").out)
    assert (record["status"], record["output"]) == ("failed", None)
    assert record["error"]["code"] == "unreadable_input"


def test_a_missing_file_is_reported_at_once_and_without_torch(finished):
    script = (
        "import sys, time; from addsr_cli.cli.app import run; "
        "code = run(['upscale', 'missing.jpg']); "
        "print(code, 'torch' in sys.modules, time.process_time())"
    )
    outcomes = [finished("-c", script) for _ in range(2)]  # the first may have to compile bytecode
    assert {outcome.out.split()[:2] == ["6", "False"] for outcome in outcomes} == {True}
    # It takes 0.5 s on an idle core.
    assert min(float(outcome.out.split()[2]) for outcome in outcomes) < 1.0
    assert (
        outcomes[0].err
        == "error: 'missing.jpg' does not exist. Check the spelling and the folder.\n"
    )


def test_every_input_is_checked_before_the_first_is_upscaled(photo, upscale, monkeypatch, capsys):
    messages = []

    def load(*arguments, **more):
        messages.append(capsys.readouterr().err)
        raise ModelUnavailable("No model.")

    monkeypatch.setattr("addsr_cli.weights.loader.load", load)
    photo("taken_x4.jpg")
    upscale(photo("a.jpg"), photo("taken.jpg"), "missing.jpg")
    assert "'missing.jpg' does not exist" in messages[0]
    assert "'taken_x4.jpg' already exists" in messages[0]


def test_a_rejected_file_is_reported_once_and_recorded_in_order(photo, upscale):
    outcome = upscale(photo("a.jpg"), "missing.jpg", photo("b.jpg"), "--json")
    assert [json.loads(line)["input"] for line in outcome.out.splitlines()] == [
        "a.jpg",
        "missing.jpg",
        "b.jpg",
    ]
    assert outcome.err.count("missing.jpg") == 1


def test_a_folder_as_input_points_to_batch(upscale, tmp_path):
    (tmp_path / "holiday").mkdir()
    outcome = upscale("holiday")
    assert outcome.code == 6
    assert (
        outcome.err
        == "error: 'holiday' is a folder. Upscale all photos in it: addsr batch holiday\n"
    )


def test_no_picture_is_sent_to_a_terminal(photo, upscale, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    outcome = upscale(photo(), "-o", "-")
    assert (outcome.code, outcome.out) == (2, "")
    assert "to the terminal" in outcome.err


def test_no_picture_is_read_from_a_terminal(upscale, monkeypatch):
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    outcome = upscale("-", "-o", "out.png")
    assert (outcome.code, outcome.out) == (2, "")
    assert "stdin is a terminal" in outcome.err

"""``addsr batch``: outputs, failures, interruption and second runs."""

import json
import os
import shutil
import signal
import sys
import threading
from pathlib import Path

import pytest
from PIL import Image

from addsr_cli.batch import journal

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals are those of POSIX")


@pytest.fixture
def batch(addsr):
    """``addsr batch in`` with nano and one step."""
    return lambda *arguments: addsr("batch", "in", "--model", "nano", "--steps", 1, *arguments)


# For comparisons of separate processes with this one, whatever --bf16 says.
EXACT = ("--precision", "fp32")


@pytest.fixture
def photos(photo):
    """A tree of five photos."""
    return [
        photo(f"in/{name}") for name in ("a.jpg", "b.png", "sub/a.png", "sub/deep/c.webp", "z.png")
    ]


def outputs(folder="in_x4"):
    """The bytes of every output by its path."""
    files = (path for path in Path(folder).rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in files
        if ".addsr" not in str(path)
    }


def states(folder="in_x4"):
    return {key[0]: entry.state for key, entry in journal.read(Path(folder)).entries.items()}


def spoil(name="in/bad.jpg"):
    Path(name).write_bytes(Path("in/a.jpg").read_bytes()[:300])


def test_the_tree_is_mirrored_beside_the_folder(photos, batch):
    outcome = batch()
    assert outcome.code == 0, outcome.err
    names = {"a_x4.jpg", "b_x4.png", "sub/a_x4.png", "sub/deep/c_x4.webp", "z_x4.png"}
    assert outputs().keys() == names
    assert set(outcome.out.split()) == {f"in_x4/{name}" for name in names}
    assert outcome.lines[-1].startswith("5 done, 0 failed; ")
    for name in names:
        with Image.open(Path("in_x4") / name) as image:
            assert image.size == (96, 72)


@pytest.mark.parametrize(
    ("arguments", "folder"),
    [
        (["--scale", 2], "in_x2"),
        (["--scale", 1.5], "in_x1.5"),
        (["--width", 48], "in_width48"),
        (["-o", "deep/out"], "deep/out"),
    ],
)
def test_the_output_folder_is_named_after_the_size_or_by_the_user(photo, batch, arguments, folder):
    photo("in/a.png")
    assert batch(*arguments).code == 0
    assert len(outputs(folder)) == 1


def test_the_folder_may_be_a_dot(photo, addsr, monkeypatch):
    photo("in/a.png")
    monkeypatch.chdir("in")
    assert addsr("batch", ".", "--model", "nano", "--steps", 1).code == 0
    assert outputs("../in_x4").keys() == {"a_x4.png"}


def test_an_output_equals_that_of_upscale_with_the_same_seed(photos, batch, addsr):
    record = next(
        json.loads(line) for line in batch("--json").out.splitlines() if "sub/a.png" in line
    )
    addsr(
        "upscale",
        "in/sub/a.png",
        "--model",
        "nano",
        "--steps",
        1,
        "--seed",
        record["seed"],
        "-o",
        "alone.png",
    )
    assert Path("alone.png").read_bytes() == outputs()["sub/a_x4.png"]


def test_a_bad_file_is_one_line_and_one_row_and_exit_3(photos, batch):
    spoil()
    outcome = batch()
    assert outcome.code == 3
    assert len([line for line in outcome.lines if "bad.jpg" in line]) == 1
    assert len(outputs()) == 6
    [row] = json.loads(Path("in_x4/failures.json").read_text())
    assert row.keys() == {"input", "code", "message", "hint"}
    assert (Path(row["input"]).name, row["code"]) == ("bad.jpg", "unreadable_input")
    assert outcome.lines[-1] == f"see {Path('in_x4/failures.json')}"


def test_damage_that_only_decoding_shows_is_a_failure_too(photos, batch):
    whole = Path("in/z.png").read_bytes()
    Path("in/z.png").write_bytes(whole[: len(whole) * 2 // 3])
    assert batch().code == 3
    assert states()["z.png"] == "failed"
    assert len(outputs()) == 5


def test_a_second_run_does_nothing(photos, batch):
    first = batch()
    before = {path: path.stat().st_mtime_ns for path in Path("in_x4").rglob("*.*g")}
    second = batch()
    assert (second.code, second.out) == (0, "")
    assert "5 already done" in second.lines[-1]
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert first.code == 0


@pytest.mark.parametrize("change", ["pixels", "output gone", "output cut", "new file"])
def test_changed_photos_are_upscaled_again(photos, photo, batch, change):
    batch()
    if change == "pixels":
        photo("in/b.png", (26, 18))
    elif change == "output gone":
        Path("in_x4/b_x4.png").unlink()
    elif change == "output cut":
        Path("in_x4/b_x4.png").write_bytes(b"cut")
    else:
        Path("in/b.png").rename("in/n.png")
    name = "n_x4.png" if change == "new file" else "b_x4.png"
    outcome = batch()
    assert (outcome.code, outcome.out) == (0, f"in_x4/{name}\n"), outcome.err


def test_a_touched_file_is_not_done_again(photos, batch):
    batch()
    os.utime("in/b.png", (1, 1))
    assert batch().out == ""


def test_a_failure_stays_until_it_is_to_be_retried(photos, batch, denoise):
    def none(nano, z, answer):
        raise MemoryError

    spoil()
    batch()
    again = batch()
    assert (again.code, again.out) == (3, "")
    assert not [line for line in again.lines if line.startswith("error")]
    assert again.lines[-1].endswith("failures.json; --retry-failed tries them again")
    shutil.copy("in/a.jpg", "in/bad.jpg")
    os.utime("in/bad.jpg", ns=(0, 1))
    healed = batch()
    assert (healed.code, healed.out) == (0, "in_x4/bad_x4.jpg\n")
    assert not Path("in_x4/failures.json").exists()
    denoise(none)
    Path("in_x4/bad_x4.jpg").unlink()
    assert batch().code == 3
    denoise(lambda nano, z, answer: answer())
    assert batch().code == 3
    assert batch("--retry-failed").code == 0


def test_a_bad_file_that_was_deleted_is_no_failure_any_more(photos, batch):
    spoil()
    batch()
    Path("in/bad.jpg").unlink()
    assert batch().code == 0
    assert not Path("in_x4/failures.json").exists()


def test_a_terminal_sees_files_pixels_and_failures_and_stdout_stays_data(
    photos, batch, monkeypatch
):
    spoil()
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    outcome = batch()
    assert "6/6 files, 0.0 MP, " in outcome.err
    assert "1 failed" in outcome.err
    assert "step, seed" not in outcome.err
    assert len(outcome.out.splitlines()) == 5
    assert "\x1b" not in outcome.out


def test_other_settings_are_refused_unless_overwriting_or_elsewhere(photos, batch):
    batch()
    before = outputs()
    outcome = batch("--seed", 5)
    assert (outcome.code, outcome.out) == (7, "")
    assert "--overwrite" in outcome.err
    assert outputs() == before
    assert batch("--seed", 5, "-o", "other").code == 0
    assert batch("--seed", 5, "--overwrite").code == 0
    assert outputs() == outputs("other")
    assert batch("--seed", 5, "--overwrite").out == ""


def test_a_file_that_addsr_did_not_write_is_never_replaced(photos, batch):
    Path("in_x4").mkdir()
    Path("in_x4/b_x4.png").write_bytes(b"precious")
    assert batch().code == 3
    assert outputs()["b_x4.png"] == b"precious"
    assert batch("--overwrite").code == 0
    assert outputs()["b_x4.png"] != b"precious"


def test_outputs_of_another_folder_are_not_replaced(photos, photo, addsr):
    arguments = ("--model", "nano", "--steps", 1, "-o", "out")
    addsr("batch", "in", *arguments)
    before = outputs("out")
    photo("other/b.png", (30, 20))
    assert addsr("batch", "other", *arguments).code == 3
    assert outputs("out")["b_x4.png"] == before["b_x4.png"]


@pytest.mark.parametrize("batch_size", ["auto", pytest.param("3", marks=pytest.mark.slow)])
def test_running_out_of_memory_for_one_file_does_not_stop_the_next(
    photos, photo, batch, denoise, batch_size
):
    photo("in/giant.png", (64, 48))

    def tight(nano, z, answer):
        if z.shape[-1] > 24:
            raise MemoryError
        return answer()

    denoise(tight)
    outcome = batch("--batch-size", batch_size)
    assert outcome.code == 3
    [row] = json.loads(Path("in_x4/failures.json").read_text())
    assert (Path(row["input"]).name, row["code"]) == ("giant.png", "out_of_memory")
    assert len(outputs()) == 6


def test_an_unexpected_error_of_one_file_does_not_stop_the_next(photos, batch, denoise):
    calls = []

    def odd(nano, z, answer):
        calls.append(1)
        if len(calls) == 2:
            raise ValueError("strange")
        return answer()

    denoise(odd)
    assert batch().code == 3
    assert sorted(states().values()) == ["failed", *["ok"] * 4]


def test_unexpected_errors_of_all_files_end_the_batch(photos, photo, batch, denoise):
    def broken(nano, z, answer):
        raise RuntimeError("illegal instruction")

    denoise(broken)
    for number in range(4):
        photo(f"in/more{number}.png")
    with pytest.raises(RuntimeError, match="illegal"):
        batch()


def test_no_thread_is_left_behind(photos, batch):
    def ours():
        return [thread for thread in threading.enumerate() if thread.name.startswith("addsr-")]

    for thread in ours():
        thread.join(5)
    batch()
    for thread in ours():
        thread.join(5)
    assert not ours()


def test_fail_fast_stops_at_the_first_failure_with_its_exit_code(photos, batch):
    spoil("in/0.jpg")
    outcome = batch("--fail-fast")
    assert outcome.code == 6
    assert len(states()) < 6


@pytest.mark.parametrize(
    "arguments",
    [
        ["--batch-size", "0"],
        ["--batch-size", "x"],
        ["--shard", "3/2"],
        ["--shard", "1/2", "--devices", "cpu,cpu"],
        ["--devices", "tpu"],
        ["-o", "in"],
        ["-o", "-"],
        ["--steps", "9"],
        ["--tile", "100"],
        ["--name", "{bogus}"],
        ["--samples", "0"],
    ],
    ids=" ".join,
)
def test_invalid_options_print_one_line_and_write_nothing(photos, batch, tree, arguments):
    before = tree()
    outcome = batch(*arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert len([line for line in outcome.lines if line.startswith("error")]) == 1
    assert tree() == before


def test_a_missing_folder_is_exit_6(addsr):
    assert addsr("batch", "nowhere", "--model", "nano").code == 6


def test_an_output_beyond_the_limits_is_the_failure_of_its_file(photos, photo, batch):
    photo("in/strip.png", (2000, 1))
    assert batch("--scale", 200, "--dry-run").code == 0
    outcome = batch("--height", 160)
    assert outcome.code == 3
    assert states("in_height160")["strip.png"] == "failed"


def test_json_has_a_record_for_every_file_whatever_its_outcome(photos, batch):
    spoil()
    records = [json.loads(line) for line in batch("--json").out.splitlines()]
    assert sorted(record["status"] for record in records) == ["failed", *["ok"] * 5]
    again = [json.loads(line) for line in batch("--json").out.splitlines()]
    assert sorted(record["status"] for record in again) == ["failed", *["skipped"] * 5]
    assert all(record.keys() >= records[0].keys() for record in again)


def test_a_dry_run_lists_all_files_and_writes_nothing(photos, batch, tree):
    spoil()
    before = tree()
    outcome = batch("--dry-run", "--verbose")
    assert outcome.code == 0
    assert len(outcome.out.splitlines()) == 5
    assert "5 photos, 0.00 MP in all, 1 will fail, about" in outcome.lines[-1]
    assert (
        len(
            [
                line
                for line in outcome.lines
                if line.startswith("will fail: 'in/bad.jpg' is damaged")
            ]
        )
        == 1
    )
    assert tree() == before
    records = [json.loads(line) for line in batch("--dry-run", "--json").out.splitlines()]
    assert sorted(record["status"] for record in records) == ["failed", *["planned"] * 5]


def test_options_come_from_the_file_and_the_environment(photos, addsr, monkeypatch):
    Path("addsr.toml").write_text('steps = 1\n[batch]\nexclude = ["sub"]\n')
    monkeypatch.setenv("ADDSR_SCALE", "2")
    outcome = addsr("batch", "in", "--model", "nano")
    assert outcome.code == 0, outcome.err
    assert outputs("in_x2").keys() == {"a_x2.jpg", "b_x2.png", "z_x2.png"}


@posix
def test_the_first_control_c_finishes_the_files_in_flight(photos, batch, denoise):
    def pressed(nano, z, answer):
        os.kill(os.getpid(), signal.SIGINT)
        return answer()

    denoise(pressed)
    outcome = batch()
    assert outcome.code == 130
    assert len(outputs()) == 1
    assert list(states().values()) == ["ok"]
    assert "1 done, 0 failed, 4 left" in outcome.err
    denoise(lambda nano, z, answer: answer())
    assert batch().code == 0
    assert len(outputs()) == 5


@posix
def test_the_second_control_c_stops_at_once_without_incomplete_files(
    photos, batch, denoise, monkeypatch
):
    def pressed(nano, z, answer):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        return answer()

    denoise(pressed)
    outcome = batch()
    assert outcome.code == 130
    assert outputs() == {}
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@posix
@pytest.mark.slow
def test_a_killed_and_resumed_batch_equals_an_uninterrupted_one(photo, process, batch):
    for number in range(12):
        photo(f"in/{number}.png", (60, 40))
    child = process("batch", "in", "--model", "nano", "--steps", 1, *EXACT)
    for _ in range(4):
        child.stdout.readline()
    child.kill()
    child.wait()
    done = {name: data for name, data in outputs().items() if name.endswith(".png")}
    again = batch(*EXACT)
    assert again.code == 0, again.err
    assert 4 <= len(done) < 12
    # One output may have been written without its journal entry.
    assert len(again.out.split()) <= 12 - len(done) + 1
    assert not list(Path("in_x4").rglob("*.part"))
    batch("-o", "whole", *EXACT)
    assert outputs() == outputs("whole")


def test_a_file_written_but_not_yet_journaled_is_written_again(photos, batch, monkeypatch):
    original = journal.Journal.write

    def crashing(self, entry):
        if entry.state == "ok" and entry.input == "sub/a.png":
            raise SystemExit(9)
        original(self, entry)

    monkeypatch.setattr(journal.Journal, "write", crashing)
    assert batch().code == 9
    assert states()["sub/a.png"] == "writing"
    assert "sub/a_x4.png" in outputs()
    monkeypatch.setattr(journal.Journal, "write", original)
    assert batch().code == 0
    assert len(outputs()) == 5


@posix
def test_partial_files_of_a_killed_run_are_removed(photo, batch, killed_part, living_part):
    photo("in/b.png")
    killed_part("in_x4")
    other = living_part("in_x4")
    assert batch().out == "in_x4/b_x4.png\n"
    assert list(Path("in_x4").glob("*.part")) == [other]


def test_a_full_disk_ends_the_run_which_resumes_once_there_is_space(
    photo, addsr, disk, monkeypatch
):
    import subprocess

    for number in range(6):
        photo(f"in/{number}.png", (60, 44))
    folder = disk("size=160k")
    monkeypatch.setattr(
        shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**12, 0, 10**12)
    )
    arguments = ("batch", "in", "--model", "nano", "--steps", 1, "-o", folder)
    outcome = addsr(*arguments)
    assert outcome.code == 7
    assert "No space is left" in outcome.err
    assert 0 < len(outcome.out.split()) < 6
    assert all(state in ("ok", "writing") for state in states(folder).values())
    subprocess.run(["mount", "-o", "remount,size=4m", folder], check=True)
    again = addsr(*arguments)
    assert again.code == 0, again.err
    assert len(outcome.out.split()) + len(again.out.split()) == 6
    addsr(*arguments[:-1], "whole")
    assert outputs(folder) == outputs("whole")


def test_shards_together_make_the_same_tree(photos, batch):
    assert batch("--shard", "1/2").code == 0
    assert batch("--shard", "2/2").code == 0
    assert batch("--shard", "1/2").out == ""
    assert batch().out == ""
    batch("-o", "whole")
    assert outputs() == outputs("whole")


def test_processes_do_not_inherit_options_of_the_whole_batch(photos, batch, monkeypatch):
    started = []
    monkeypatch.setattr(
        "addsr_cli.cli.launcher.Launcher.run",
        lambda self, *arguments: started.append(self.arguments) or 0,
    )
    assert batch("--devices", "cpu,cpu", "--print0", "--quiet", "--scale", "2x").code == 0
    assert started == [["--scale=2.0", "--steps=1"]]


@pytest.mark.slow
def test_many_devices_make_the_same_tree(photos, batch):
    spoil()
    outcome = batch("--devices", "cpu,cpu", "--json", *EXACT)
    assert outcome.code == 3, outcome.err
    assert sorted(json.loads(line)["status"] for line in outcome.out.splitlines()) == [
        "failed",
        *["ok"] * 5,
    ]
    assert "5 done, 1 failed" in outcome.lines[-2]
    batch("-o", "whole", *EXACT)
    assert {n: d for n, d in outputs().items() if n != "failures.json"} == {
        n: d for n, d in outputs("whole").items() if n != "failures.json"
    }


@posix
@pytest.mark.slow
def test_launched_processes_share_the_work(photos, process, batch, monkeypatch):
    import socket

    spoil()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children = []
    for rank in ("0", "1"):
        for name, value in (
            ("RANK", rank),
            ("LOCAL_RANK", rank),
            ("WORLD_SIZE", "2"),
            ("LOCAL_WORLD_SIZE", "2"),
        ):
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
        monkeypatch.setenv("MASTER_PORT", str(port))
        children.append(
            process("batch", "in", "--model", "nano", "--steps", 1, "--device", "cpu", *EXACT)
        )
    streams = [child.communicate(timeout=120) for child in children]
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name)
    assert sorted(child.returncode for child in children) == [0, 3], streams
    assert len(b"".join(out for out, _ in streams).split()) == 5
    batch("-o", "whole", *EXACT)
    assert [len(outputs()), len(outputs("whole"))] == [6, 6]
    assert all(
        outputs()[name] == data
        for name, data in outputs("whole").items()
        if name != "failures.json"
    )


@posix
def test_a_hot_folder_is_watched_until_control_c(photo, batch, denoise):
    photo("in/a.png")

    def pressed(nano, z, answer):
        if Path("in/b.png").exists():
            os.kill(os.getpid(), signal.SIGINT)
        else:
            photo("in/b.png")
        return answer()

    denoise(pressed)
    outcome = batch("--watch", "--settle", 0.2)
    assert outcome.code == 0, outcome.err
    assert outputs().keys() == {"a_x4.png", "b_x4.png"}
    assert "2 done, 0 failed" in outcome.lines[-1]


def test_a_growing_file_waits_until_it_is_complete(photo, tmp_path):
    from addsr_cli.batch.pipeline import RunOptions
    from addsr_cli.batch.watch import watch

    session, growing = watching(tmp_path), tmp_path / "in" / "a.png"
    photo("in/a.png")
    whole, rounds, ran = growing.read_bytes(), [], []
    session.run = lambda queue, *more: ran.append(
        (len(rounds), [task.name for task in queue.pending])
    )

    def stopping():
        rounds.append(1)
        if len(rounds) < 8:
            growing.write_bytes(whole[: 20 * len(rounds)])
        elif len(rounds) == 8:
            growing.write_bytes(whole)
        return len(rounds) > 60

    watch(session, None, stopping, RunOptions(), 0.2)
    assert [names for _, names in ran] == [["a.png"]]
    assert ran[0][0] > 8


def watching(tmp_path):
    from addsr_cli import Machine, Settings, Upscaler
    from addsr_cli.batch.config import BatchConfig
    from addsr_cli.batch.session import Session
    from addsr_cli.engine.job import Naming
    from addsr_cli.imageio import WriteOptions

    config = BatchConfig(
        root=tmp_path / "in",
        output=tmp_path / "out",
        settings=Settings(steps=1),
        options=WriteOptions(),
        naming=Naming(template="{stem}{ext}", model="nano", steps=1),
        model_sha256="",
    )
    return Session(
        upscaler=Upscaler("nano", Machine(device="cpu")), config=config, shard_by_name=True
    )


def test_a_missing_folder_is_reported_without_importing_torch(finished):
    script = (
        "import sys; from addsr_cli.cli.app import run; code = run(['batch', 'missing']); "
        "print(code, 'torch' in sys.modules)"
    )
    outcome = finished("-c", script)
    assert (outcome.out, outcome.err) == (
        "6 False\n",
        "error: 'missing' does not exist. Give a folder of photos.\n",
    )


def test_a_photo_in_place_of_the_folder_points_to_upscale(photo, addsr):
    outcome = addsr("batch", photo())
    assert outcome.code == 6
    assert "For one photo: addsr upscale photo.jpg" in outcome.err


def test_equal_samples_are_warned_about(photo, batch, monkeypatch):
    from addsr_cli import noise

    original = noise.placed_noise
    monkeypatch.setattr(noise, "placed_noise", lambda seed, top, left: original(0, top, left))
    photo("in/a.png")
    outcome = batch("--samples", 2)
    assert outcome.err.count("warning: in/a.png: equals the first sample") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="permission bits are those of POSIX")
def test_outputs_are_as_private_as_their_photos(photo, batch):
    for name, mode in (("a.jpg", 0o600), ("b.jpg", 0o644)):
        photo(f"in/{name}").chmod(mode)
    assert batch("-o", "out").code == 0
    assert [Path(f"out/{name}_x4.jpg").stat().st_mode & 0o777 for name in "ab"] == [0o600, 0o644]

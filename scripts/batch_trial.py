"""Measure ``addsr batch`` on 300 photos, some of them broken, with kills and two processes.

``python scripts/batch_trial.py [FOLDER]``; the folder (default: a temporary one) must not exist.
The photos are crops of the example in this repository. Times are ratios within one run, so that a
busy machine does not matter much.
"""

import hashlib
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
from PIL import Image

from addsr_cli import Machine, Settings, Upscaler, imageio
from addsr_cli.batch.config import BatchConfig
from addsr_cli.batch.pipeline import RunOptions
from addsr_cli.batch.session import Session
from addsr_cli.engine.job import Naming
from addsr_cli.errors import UnreadableInput
from addsr_cli.imageio import WriteOptions

EXAMPLE = Path(__file__).parents[1] / "examples" / "cat.jpg"
COUNT, BAD, KILLS = 300, 15, 10
SIZE = (64, 48)


def main() -> None:
    """Run all trials."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp()) / "trial"
    folder.mkdir(parents=True)
    make(folder / "in", COUNT, BAD)
    make(folder / "few", 60, 3)
    many(folder)
    speed(folder)
    kills(folder)
    ranks(folder)


def make(root: Path, count: int, bad: int) -> None:
    """Write crops in folders of 50, as JPEG, PNG and WebP in turn; some of them truncated."""
    rng = random.Random(0)
    with Image.open(EXAMPLE) as photo:
        for number in range(count):
            path = root / f"{number // 50:02}" / f"{number:03}.{('jpg', 'png', 'webp')[number % 3]}"
            path.parent.mkdir(parents=True, exist_ok=True)
            x, y = (
                rng.randrange(whole - part) for whole, part in zip(photo.size, SIZE, strict=True)
            )
            photo.crop((x, y, x + SIZE[0], y + SIZE[1])).save(path)
            if number % (count // bad) == 7:
                path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def start(*words: object) -> subprocess.Popen[bytes]:
    """``addsr batch`` in a process of its own."""
    command = [
        sys.executable,
        "-m",
        "addsr_cli",
        "batch",
        *map(str, words),
        "--model",
        "nano",
        "--device",
        "cpu",
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def tree(root: Path) -> dict[str, str]:
    """Every output and its hash."""
    files = (path for path in root.rglob("*") if path.is_file() and ".addsr" not in path.parts)
    found = {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }
    found.pop("failures.json", None)
    return found


def many(folder: Path) -> None:
    """300 photos, one in twenty bad: exit code, tree, memory."""
    child, resident = start(folder / "in", "-o", folder / "out"), []
    watched = psutil.Process(child.pid)
    while child.stdout and child.stdout.readline():
        resident.append(watched.memory_info().rss)
    child.communicate()
    inputs = {
        str(path.relative_to(folder / "in").with_suffix(""))
        for path in (folder / "in").rglob("*.*")
    }
    written = {name.rsplit("_x4", 1)[0] for name in tree(folder / "out")}
    failed = json.loads((folder / "out" / "failures.json").read_text())
    rejected = {
        str(Path(row["input"]).relative_to((folder / "in").resolve()).with_suffix(""))
        for row in failed
    }
    print(
        f"{COUNT} photos, {BAD} bad: exit {child.returncode}, {len(written)} written, "
        f"{len(rejected)} in failures.json"
    )
    complete = written | rejected == inputs and not written & rejected
    print(f"every input is in exactly one of them: {complete}")
    ratio = resident[-1] / resident[29]
    print(
        f"resident memory after file 30: {resident[29] / 1e6:.0f} MB, "
        f"after the last: {ratio:.3f} times that"
    )


def speed(folder: Path) -> None:
    """Wall time of the pipeline over that of bare calls on the same photos, in turns."""
    upscaler, options, ratios = Upscaler("nano", Machine(device="cpu")), WriteOptions(), []
    naming = Naming(template="{stem}{ext}", model="nano", steps=4)
    for number, chunk in enumerate(
        sorted(path for path in (folder / "in").iterdir() if path.is_dir())
    ):
        config = BatchConfig(
            root=chunk,
            output=folder / "speed" / str(number),
            settings=Settings(),
            options=options,
            naming=naming,
            model_sha256=upscaler.digest(),
        )
        session = Session(upscaler=upscaler, config=config)
        queue = session.scan()
        photos = []
        for task in queue.pending:
            with suppress(UnreadableInput):
                photos.append(imageio.read(chunk / task.name))
        upscaler.upscale(photos[0])
        bare = timed(lambda photos=photos: [upscaler.upscale(photo) for photo in photos])
        piped = timed(lambda: session.run(queue, Silent(), lambda: False, RunOptions()))  # noqa: B023 (called at once)
        ratios.append([ours / theirs for ours, theirs in zip(piped, bare, strict=True)])
    whole, network = (statistics.median(each) for each in zip(*ratios, strict=True))
    print(
        f"per image, relative to Upscaler.upscale: wall time {whole:.3f}, "
        f"processor time of the network's thread {network:.3f}"
    )
    print(
        f"  medians of {len(ratios)} chunks; reading and writing run on other cores if any are free"
    )


def timed(do: Callable[[], object]) -> tuple[float, float]:
    """Seconds that it takes: on the clock, and of this thread on a processor."""
    wall, busy = time.perf_counter(), time.thread_time()
    do()
    return time.perf_counter() - wall, time.thread_time() - busy


class Silent:
    """An observer that says nothing."""

    def on_start(self, task: object) -> None:
        """A file goes through the network."""

    def on_success(self, job: object, result: object) -> None:
        """A file is written."""

    def on_failure(self, task: object, error: object) -> None:
        """A file failed."""


def kills(folder: Path) -> None:
    """kill -9 at random moments and resume, against a run that was left alone."""
    rng, output = random.Random(1), folder / "killed"
    for _ in range(KILLS):
        child = start(folder / "few", "-o", output)
        for _ in range(rng.randrange(1, 6)):
            if child.stdout:
                child.stdout.readline()
        time.sleep(rng.random() * 0.5)
        child.kill()
        child.communicate()
    last = start(folder / "few", "-o", output)
    last.communicate()
    whole = start(folder / "few", "-o", folder / "whole")
    whole.communicate()
    lines = (output / ".addsr" / "journal.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines if line.endswith("}")]
    done = Counter(row["input"] for row in rows if row["state"] == "ok")
    begun = Counter(row["input"] for row in rows if row["state"] == "writing")
    parts = list(output.rglob("*.part"))
    print(
        f"killed {KILLS} times and resumed: exit {last.returncode}, {len(done)} done, "
        f"each at most {max(done.values())} time"
    )
    print(
        f"started again after a kill: {sum(count > 1 for count in begun.values())}; "
        f"partial files left: {len(parts)}"
    )
    print(f"same bytes as without kills: {tree(output) == tree(folder / 'whole')}")


def ranks(folder: Path) -> None:
    """Two processes that a launcher starts, against one."""
    launcher = [
        "accelerate",
        "launch",
        "--multi_gpu",
        "--num_processes",
        "2",
        "--num_machines",
        "1",
    ]
    launcher += ["--mixed_precision", "no", "--dynamo_backend", "no", "-m", "addsr_cli"]
    words = ["batch", folder / "few", "-o", folder / "ranks", "--model", "nano", "--device", "cpu"]
    ended = subprocess.run([*launcher, *map(str, words)], capture_output=True, check=False)
    counts = Counter(
        row["input"]
        for path in (folder / "ranks" / ".addsr").glob("*.jsonl")
        for row in map(json.loads, path.read_text().splitlines())
        if row["state"] != "writing"
    )
    once = set(counts.values()) == {1}
    print(
        f"two processes: launcher's exit {ended.returncode}, {len(counts)} files, each once: {once}"
    )
    print(f"same bytes as one process: {tree(folder / 'ranks') == tree(folder / 'whole')}")


if __name__ == "__main__":
    main()

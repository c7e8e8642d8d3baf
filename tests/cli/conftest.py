"""Calls of the command line, and small photos as inputs."""

import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import addsr_cli

REPOSITORY = Path(addsr_cli.__file__).parents[1]
NOBODY = 65534
TEMPORARY = Path(tempfile.gettempdir()).resolve()


@pytest.fixture(scope="session")
def kept_loader():
    """``weights.loader.load`` with a memory."""
    from kept_networks import keeping

    from addsr_cli.weights import loader

    return keeping(loader.load)


@pytest.fixture(autouse=True)
def kept_networks(monkeypatch, kept_loader):
    """Calls of the command line share loaded networks."""
    monkeypatch.setattr("addsr_cli.weights.loader.load", kept_loader)


@dataclass(frozen=True)
class Outcome:
    """Exit code and output of one call."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """The lines of stderr."""
        return self.err.splitlines()


@pytest.fixture
def addsr(capsys) -> Callable[..., Outcome]:
    """Call the command line in this process."""
    from addsr_cli.cli.app import run

    def call(*arguments: object) -> Outcome:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        return Outcome(code, *capsys.readouterr())

    return call


@pytest.fixture
def upscale(addsr) -> Callable[..., Outcome]:
    """``addsr upscale`` with nano and one step."""
    return lambda *arguments: addsr("upscale", "--model", "nano", "--steps", "1", *arguments)


@pytest.fixture
def process() -> Callable[..., subprocess.Popen]:
    """Start ``python -m addsr_cli ...``, or ``python ...`` if that starts with ``-c`` or ``-X``."""
    started = []

    def start(*arguments: object, **more: object) -> subprocess.Popen:
        program = [] if arguments[0] in ("-c", "-X") else ["-m", "addsr_cli"]
        variables = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
        pipes = {
            "stdin": subprocess.PIPE,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
        } | more
        started.append(
            subprocess.Popen(
                [sys.executable, *program, *map(str, arguments)], env=variables, **pipes
            )
        )
        return started[-1]

    yield start
    for child in started:
        child.kill()
        child.communicate()


@pytest.fixture
def finished(process) -> Callable[..., Outcome]:
    """Run a separate process to its end."""

    def run(*arguments: object) -> Outcome:
        child = process(*arguments)
        out, err = child.communicate(timeout=60)
        return Outcome(child.returncode, out.decode(), err.decode())

    return run


def picture(width: int = 24, height: int = 18, mode: str = "RGB") -> Image.Image:
    """Smooth waves of colour in any 8-bit mode."""
    y, x = np.mgrid[:height, :width]
    waves = [128 + 100 * np.sin(x / (2 + k) + k) * np.cos(y / (3 + k)) for k in range(4)]
    bands = len(Image.new(mode, (1, 1)).getbands())
    pixels = np.stack(waves[:bands], axis=2).astype(np.uint8)
    return Image.fromarray(pixels[:, :, 0] if bands == 1 else pixels)


@pytest.fixture
def photo(tmp_path) -> Callable[..., Path]:
    """Create a photo of 24 x 18 pixels, or another size; return its relative path."""

    def make(name: str = "photo.jpg", size: tuple[int, int] = (24, 18), mode: str = "RGB") -> Path:
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(*size, mode).save(path)
        return path

    return make


@pytest.fixture
def waves(tmp_path) -> Path:
    """A photo of 40 x 32 pixels with fine waves of colour."""
    y, x = np.mgrid[:32, :40]
    colours = [128 + 90 * np.sin(x / (1.2 + k)) * np.cos(y / (2 + k)) for k in range(3)]
    path = tmp_path / "waves.png"
    Image.fromarray(np.stack(colours, 2).astype(np.uint8)).save(path)
    return path


@pytest.fixture
def tree() -> Callable[[], set[str]]:
    """All files below the working folder, including hidden ones."""
    return lambda: {str(p) for p in Path().rglob("*") if p.is_file() and p.parts[0] != ".home"}


@pytest.fixture
def disk(tmp_path) -> Callable[[str], Path]:
    """Mount a small file system with these mount options, if permitted."""
    mounted = []

    def mount(options: str) -> Path:
        folder = tmp_path / f"disk{len(mounted)}"
        folder.mkdir()
        try:
            subprocess.run(
                ["mount", "-t", "tmpfs", "-o", options, "addsr", folder],
                check=True,
                capture_output=True,
            )
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("mounting a file system needs root on Linux")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", folder], check=True)


@pytest.fixture
def unprivileged(tmp_path):
    """In ``with unprivileged():`` permissions apply, even for root, who becomes nobody."""
    if not hasattr(os, "geteuid"):
        pytest.skip("file permissions are those of POSIX")
    folders = [path for path in (tmp_path, *tmp_path.parents) if TEMPORARY in path.parents]
    above = {folder: folder.stat().st_mode & 0o777 for folder in folders}

    @contextmanager
    def nobody():
        if os.geteuid() != 0:
            yield
            return
        for folder in above:
            folder.chmod(0o711)
        os.seteuid(NOBODY)
        try:
            yield
        finally:
            os.seteuid(0)
            for folder, mode in above.items():
                folder.chmod(mode)

    return nobody


@pytest.fixture
def killed_part():
    """Create the partial file of a killed process in a folder, without a lock."""

    def create(folder: str) -> Path:
        part = Path(folder) / f".addsr-{secrets.token_hex(8)}.part"
        part.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(b"half")
        return part

    return create


@pytest.fixture
def living_part(killed_part):
    """The same, with the lock of a running process."""
    fcntl = pytest.importorskip("fcntl")
    files = []

    def write(folder: str) -> Path:
        part = killed_part(folder)
        files.append(part.open("rb"))
        fcntl.flock(files[-1], fcntl.LOCK_EX)
        return part

    yield write
    for file in files:
        file.close()


@pytest.fixture
def one_small_process():
    """One thread, and accelerate without the state of the previous test."""
    import torch
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(True)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
    AcceleratorState._reset_state(True)

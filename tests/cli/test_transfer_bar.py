"""The bar of a download, as a terminal shows it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import addsr_cli

REPOSITORY = Path(addsr_cli.__file__).parents[1]
SHOW = """
import time
from addsr_cli.cli.console import Console
from addsr_cli.weights.progress import TransferProgress
with Console().transfer_progress() as report:
    for phase, done in (("fetching", 2_000_000), ("fetching", 4_000_000), ("checking", 1_000_000)):
        report(
            TransferProgress(
                file="unet/model.safetensors",
                phase=phase,
                done=done,
                size=4_000_000,
                total_done=done + 500_000,
                total_size=8_000_000,
            )
        )
        time.sleep(0.25)
"""


def test_fetching_and_checking_are_labelled_differently():
    pty = pytest.importorskip("pty", reason="terminals are those of POSIX")
    terminal, there = pty.openpty()
    variables = os.environ | {"COLUMNS": "90", "TERM": "xterm"}
    with subprocess.Popen(
        [sys.executable, "-c", SHOW], cwd=REPOSITORY, env=variables, stderr=there
    ) as child:
        os.close(there)
        shown = b""
        while piece := _read(terminal):
            shown += piece
    os.close(terminal)
    assert child.returncode == 0
    lines = [line.strip() for line in re.split(r"[\r\n]+|\x1b\[[0-9;?]*[a-zA-Z]", shown.decode())]
    assert any("fetching unet/model.safetensors" in line for line in lines), lines
    text = "".join(lines)
    assert "2.5/8.0 MB" in text
    assert "checking unet/model.safetensors" in text
    assert "1.0/4.0 MB" in text


def _read(terminal):
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux's way to say that the other side is closed
        return b""

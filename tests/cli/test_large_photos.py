"""What goes wrong in the middle of a photo that is run in strips."""

import json
import os
import signal
import sys
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image

from addsr_cli.models.nano.restorer import NanoStream

pytestmark = pytest.mark.slow
SIZE = (1600, 520)  # pixels; three strips
FILE_LIMIT = 200_000  # bytes; the result takes more


@pytest.fixture
def enlarge(upscale, photo):
    source = photo("large.png", SIZE)
    return lambda *more: upscale(source, "--scale", 1, "--device", "cpu", "--json", *more)


@pytest.fixture
def second_strip(monkeypatch):
    """Call a function with the stream and its arguments before the second strip of each run."""

    def before(action):
        strips = {}
        run = NanoStream.__call__

        def counted(stream, z, *arguments):
            strips[stream] = strips.get(stream, 0) + 1
            if strips[stream] == 2:
                action(z)
            return run(stream, z, *arguments)

        monkeypatch.setattr(NanoStream, "__call__", counted)

    return before


@contextmanager
def file_limit(most):
    """Let no file become larger than ``most`` bytes, as a full disk would."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.skipif(sys.platform == "win32", reason="signals are those of POSIX")
def test_control_c_between_strips_leaves_nothing_behind(enlarge, second_strip, tree):
    second_strip(lambda z: os.kill(os.getpid(), signal.SIGINT))
    outcome = enlarge()
    assert (outcome.code, outcome.out) == (130, "")
    assert tree() == {"large.png"}


def test_memory_that_never_suffices_exits_with_5_and_leaves_nothing_behind(
    enlarge, second_strip, tree
):
    def full(z):
        raise MemoryError("out of memory")

    second_strip(full)
    outcome = enlarge()
    assert outcome.code == 5
    assert json.loads(outcome.out)["error"]["code"] == "out_of_memory"
    assert tree() == {"large.png"}


def test_memory_that_runs_out_between_strips_makes_bands_and_the_same_picture(
    enlarge, second_strip
):
    whole = json.loads(enlarge("-o", "whole.png").out)

    def tight(z):
        if z.shape[-1] * 4 > 1200:
            raise MemoryError("out of memory")

    second_strip(tight)
    bands = json.loads(enlarge("-o", "bands.png").out)
    assert whole["plan"]["strip"] == bands["plan"]["strip"] == 256
    assert (whole["plan"]["region"], bands["plan"]["region"]) == (None, 800)
    pictures = [np.asarray(Image.open(f"{name}.png")).astype(int) for name in ("whole", "bands")]
    assert np.abs(pictures[0] - pictures[1]).max() <= 1


def test_a_file_that_cannot_be_written_to_its_end_is_not_left_behind(enlarge, tree):
    with file_limit(FILE_LIMIT):
        outcome = enlarge("-o", "out.tif")
    assert outcome.code == 7
    assert "File too large" in json.loads(outcome.out)["error"]["message"]
    assert tree() == {"large.png"}

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

LEVELS = (30, 120, 220)


@pytest.fixture
def gif(tmp_path):
    frames = [Image.fromarray(np.full((8, 12, 3), level, np.uint8)) for level in LEVELS]
    path = tmp_path / "dance.gif"
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=[50, 70, 90], loop=0)
    return path


def frames_of(path):
    with Image.open(path) as image:
        frames = []
        for number in range(image.n_frames):
            image.seek(number)
            pixels = np.asarray(image.convert("RGB"))
            frames.append((pixels.mean(), image.info["duration"], image.size))
        return frames


def test_all_frames_of_an_animation_are_upscaled(upscale, gif):
    outcome = upscale(gif, "--frames", "all", "--scale", "2", "--format", "webp")
    assert outcome.code == 0
    frames = frames_of("dance_x2.webp")
    assert [duration for _, duration, _ in frames] == [50, 70, 90]
    assert {size for _, _, size in frames} == {(24, 16)}
    assert np.allclose([mean for mean, _, _ in frames], LEVELS, atol=6)


def test_without_the_option_the_first_frame_becomes_a_png_with_a_note(upscale, gif):
    outcome = upscale(gif, "--scale", "2")
    assert Path("dance_x2.png").exists()
    assert "--frames all" in outcome.err


def test_a_dry_run_counts_the_frames(addsr, gif, monkeypatch):
    from addsr_cli.engine import planner

    monkeypatch.setattr(planner, "predicted_seconds", lambda *_: 2.0)
    arguments = ("upscale", gif, "--model", "nano", "--dry-run")
    one = json.loads(addsr(*arguments, "--json").out)
    outcome = addsr(*arguments, "--frames", "all")
    several = json.loads(addsr(*arguments, "--frames", "all", "--json").out)
    assert "3 frames" in outcome.out
    assert (one["predicted_seconds"], several["predicted_seconds"]) == (2.0, 6.0)


def test_a_format_of_one_picture_is_refused_before_any_work(upscale, gif):
    outcome = upscale(gif, "--frames", "all", "-o", "out.jpg")
    assert outcome.code == 7
    assert "--frames first" in outcome.err
    assert not Path("out.jpg").exists()


def test_frames_that_do_not_fit_into_memory_are_refused(upscale, gif, monkeypatch):
    from addsr_cli.engine import frames

    monkeypatch.setattr(frames, "_BYTES_PER_SAMPLE", 10**15)
    outcome = upscale(gif, "--frames", "all")
    assert (outcome.code, len(outcome.lines)) == (5, 2)
    assert "3 frames" in outcome.err


@pytest.mark.slow
def test_a_batch_upscales_all_frames(addsr, gif):
    Path("in").mkdir()
    gif.rename("in/dance.gif")
    outcome = addsr(
        "batch", "in", "-o", "out", "--model", "nano", "--steps", 1, "--scale", 2, "--frames", "all"
    )
    assert outcome.code == 0
    assert len(frames_of("out/dance_x2.gif")) == 3

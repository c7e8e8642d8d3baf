"""scripts/compare_auto.py, with distances that are given and with a network."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

from addsr_cli import Machine, Upscaler

SCRIPT = runpy.run_path(str(Path(__file__).parents[1] / "scripts" / "compare_auto.py"))
main = SCRIPT["main"]


@pytest.fixture
def photos(tmp_path):
    Image.fromarray(data.astronaut()[:96, 200:300]).save(tmp_path / "a.png")
    Image.fromarray(data.astronaut()[:20, :20]).save(tmp_path / "too_small.png")
    (tmp_path / "no_photo.txt").write_text("text")
    return tmp_path


def test_the_middle_of_every_photo_that_is_large_enough_is_taken(photos):
    [middle] = SCRIPT["crops"]([photos], 64, 12)

    assert np.array_equal(np.rint(middle * 255), data.astronaut()[16:80, 218:282])


@pytest.mark.parametrize(
    ("gains", "code"), [([-0.01] * 8, 0), ([-0.01] * 7 + [0.006], 1), ([-0.01] * 3 + [0.0] * 5, 1)]
)
def test_the_exit_code_says_whether_the_promise_is_kept(photos, monkeypatch, capsys, gains, code):
    left = iter(gains)

    def compare(*_):
        return np.array([[0.5, 0.5 + next(left)]] * 2), 1

    fake = {"compare": compare, "Upscaler": lambda *_: None}
    monkeypatch.setitem(main.__globals__, "LPIPS", type("LPIPS", (), {"load": lambda _: None}))
    for name, value in fake.items():
        monkeypatch.setitem(main.__globals__, name, value)
    arguments = ["compare_auto.py", str(photos), "--side", "64", "--models", "m"]
    monkeypatch.setattr(sys, "argv", arguments)

    with pytest.raises(SystemExit) as raised:
        main()

    assert raised.value.code == code
    assert capsys.readouterr().out.count("| m |") == 8


def test_both_ways_are_held_to_the_original(photos):
    upscaler = Upscaler("nano", Machine(device="cpu", precision="fp32"))
    originals = SCRIPT["crops"]([photos], 64, 1)

    distances, changed = SCRIPT["compare"](
        upscaler, originals, "clean", 0, lambda a, b: (a - b).abs().mean()
    )

    assert distances.shape == (1, 2)
    assert (distances > 0).all()
    assert (distances < 0.2).all()
    assert changed == (distances[0, 0] != distances[0, 1])

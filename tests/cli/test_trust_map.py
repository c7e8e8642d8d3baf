import json

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def photo(tmp_path):
    y, x = np.mgrid[:32, :40]
    waves = np.stack([128 + 90 * np.sin(x / (1.2 + k)) * np.cos(y / (2 + k)) for k in range(3)], 2)
    path = tmp_path / "waves.png"
    Image.fromarray(waves.astype(np.uint8)).save(path)
    return path


def test_a_map_lies_beside_the_result_and_the_share_is_told(upscale, photo, tmp_path):
    outcome = upscale(photo, "-s", "2", "--trust-map", "--compare", "--json")
    record = json.loads(outcome.out)
    trust = record["trust"]
    assert 0 < trust["invented"] < 100
    assert trust["departure"] > 0
    assert trust["areas"] == []
    with Image.open(trust["map"]) as image:
        assert image.size == (20, 16)
        assert "orange: invented detail" in image.info["Comment"]
    with Image.open(record["output"]) as image:
        assert f"invented_detail={trust['invented']:.1f}%" in image.info["Comment"]
    assert f"invented detail: {trust['invented']:.1f} %" in outcome.err
    page = (tmp_path / record["compare"]).read_text(encoding="utf-8")
    assert page.count("<figure>") == 3
    assert "Invented (orange), drift (blue)" in page


def test_an_existing_map_is_not_replaced(upscale, photo):
    photo.with_name("waves_x2_trust.png").write_text("mine")
    outcome = upscale(photo, "-s", "2", "--trust-map")
    assert outcome.code == 7
    assert photo.with_name("waves_x2_trust.png").read_text() == "mine"


def test_stdout_has_no_place_for_a_map(upscale, photo):
    outcome = upscale(photo, "--trust-map", "-o", "-")
    assert outcome.code == 2
    assert "--trust-map writes a picture beside the output" in outcome.err


def test_without_the_option_nothing_is_measured(upscale, photo):
    assert json.loads(upscale(photo, "-s", "2", "--json").out)["trust"] is None


def test_a_batch_writes_a_map_beside_every_result(addsr, photo, tmp_path):
    out = tmp_path / "out"
    outcome = addsr("batch", photo.parent, "-o", out, "--model", "nano", "-s", "2", "--trust-map")
    assert outcome.code == 0, outcome.err
    assert len(list(out.rglob("*_trust.png"))) == 1

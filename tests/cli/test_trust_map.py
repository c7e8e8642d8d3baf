import json

from PIL import Image


def test_a_map_lies_beside_the_result_and_the_share_is_told(upscale, waves, tmp_path):
    outcome = upscale(waves, "-s", "2", "--trust-map", "--compare", "--json")
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


def test_an_existing_map_is_not_replaced(upscale, waves):
    waves.with_name("waves_x2_trust.png").write_text("mine")
    outcome = upscale(waves, "-s", "2", "--trust-map")
    assert outcome.code == 7
    assert waves.with_name("waves_x2_trust.png").read_text() == "mine"


def test_stdout_has_no_place_for_a_map(upscale, waves):
    outcome = upscale(waves, "--trust-map", "-o", "-")
    assert outcome.code == 2
    assert "--trust-map writes a picture next to the output" in outcome.err


def test_without_the_option_nothing_is_measured(upscale, waves):
    assert json.loads(upscale(waves, "-s", "2", "--json").out)["trust"] is None


def test_a_batch_writes_a_map_beside_every_result(addsr, waves, tmp_path):
    out = tmp_path / "out"
    outcome = addsr("batch", waves.parent, "-o", out, "--model", "nano", "-s", "2", "--trust-map")
    assert outcome.code == 0, outcome.err
    assert len(list(out.rglob("*_trust.png"))) == 1

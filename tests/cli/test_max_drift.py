import json

from PIL import Image


def test_the_figures_are_printed_recorded_and_embedded(upscale, waves):
    outcome = upscale(waves, "--scale", "2", "--max-drift", "2", "--json")
    drift = json.loads(outcome.out)["drift"]
    assert drift["bound"] == 2
    assert drift["within_bound"]
    assert drift["mean"] <= drift["p999"] <= 2
    assert drift["written"] is None
    assert f"99.9 % of it within {drift['p999']:.2f} of 255" in outcome.err
    with Image.open("waves_x2.png") as image:
        assert f"drift_p999={drift['p999']:.3f}" in image.info["Comment"]


def test_after_a_lossy_encoder_the_file_is_measured_again(upscale, waves):
    outcome = upscale(
        waves, "-s", "2", "--max-drift", "1", "-o", "out.jpg", "--quality", "40", "--json"
    )
    drift = json.loads(outcome.out)["drift"]
    assert drift["p999"] <= 1 < drift["written"]["p999"]
    assert "after lossy encoding" in outcome.err


def test_without_the_option_nothing_is_measured(upscale, waves):
    assert json.loads(upscale(waves, "-s", "2", "--json").out)["drift"] is None


def test_a_negative_bound_is_refused(upscale, waves):
    outcome = upscale(waves, "--max-drift", "-1")
    assert outcome.code == 2
    assert "--max-drift must be from 0 to 255" in outcome.err

import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from addsr_cli.bench import speed
from addsr_cli.bench.options import Repeats
from addsr_cli.bench.speed import measure, synthetic_photo
from addsr_cli.bench.stages import STAGES, TimedRestorer, seconds_by_stage
from addsr_cli.bench.variants import Sweep, variants
from addsr_cli.engine import progress
from addsr_cli.errors import UsageError
from addsr_cli.models.restorer import Conditioning
from addsr_cli.settings import Machine
from addsr_cli.weights.loader import locate


@pytest.fixture(scope="module")
def rows():
    """Times are processor time of this thread, which other processes do not change."""
    threads = torch.get_num_threads()
    sweep = variants(Sweep(steps=[1, 3], precision=["fp32"]), ())
    nano = locate("nano")
    located = replace(nano, spec=replace(nano.spec, most_steps=None))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(speed, "perf_counter", time.thread_time)
        patch.setattr(progress, "time", SimpleNamespace(perf_counter=time.thread_time))
        torch.set_num_threads(1)
        try:
            return measure(
                located, Machine(device="cpu"), sweep, [(64, 48)], Repeats(runs=3, seconds=0)
            )
        finally:
            torch.set_num_threads(threads)


def test_stages_add_up_to_the_total(rows):
    for row in rows:
        assert set(row.stages) == set(STAGES)
        assert sum(row.stages.values()) == pytest.approx(row.median, rel=0.03)


def test_only_later_steps_have_the_stages_of_psr(rows):
    one, three = rows
    assert one.stages["psr decode"] == 0
    assert three.stages["psr decode"] > 0
    assert (
        min(one.stages["decode"], one.stages["denoise"], one.stages["io"], one.stages["color"]) > 0
    )


def test_a_row_describes_its_run(rows):
    one, three = rows
    assert (one.size, one.out, one.steps, one.dtype, one.tiles, one.runs) == (
        (64, 48),
        (256, 192),
        1,
        "fp32",
        1,
        3,
    )
    assert one.label == "1 step, fp32"
    assert one.median <= one.p90
    assert one.load > 0
    assert three.load == 0
    assert one.peak_memory > 50e6
    assert one.images_per_second == pytest.approx(1 / one.median)
    assert one.megapixels_per_second == pytest.approx(256 * 192 / one.median / 1e6)


def test_work_is_counted_and_grows_with_the_steps(rows):
    one, three = rows
    per_pixel = one.flop / (256 * 192)
    assert per_pixel == pytest.approx(locate("nano").spec.footprint.flop, rel=0.05)
    assert three.flop == pytest.approx(3 * one.flop, rel=0.01)
    assert one.rate == three.rate > 1e8
    assert one.share == pytest.approx(one.flop / one.network_seconds / one.rate)


@pytest.mark.parametrize("size", [(8, 64), (64, 30_000)])
def test_sizes_out_of_range_are_refused(size):
    with pytest.raises(UsageError, match="cannot be measured"):
        measure(locate("nano"), Machine(), variants(Sweep(), (1,)), [size], Repeats())


def test_no_run_measures_nothing():
    with pytest.raises(UsageError):
        Repeats(runs=0)


def test_the_imitation_has_the_contrast_of_a_photo_at_every_size():
    for size in ((16, 16), (301, 77)):
        photo = synthetic_photo(*size)
        assert photo.size == size
        assert 0.1 < photo.rgb.std() < 0.3


def test_the_stopwatch_separates_psr_decodes_from_the_last_one():
    class Model:
        schedule, factor, channels, exact_codec, halo = None, 8, 4, False, None
        latent_control = False

        def decode(self, z, canvas=None, cond=None):
            return z

        def embed(self, image, cond):
            return cond

    timed, z = TimedRestorer(Model()), torch.zeros(1)
    timed.embed(timed.decode(z), Conditioning())
    before = timed.clock.seconds["psr decode"]
    assert before > 0
    assert "decode" not in timed.clock.seconds
    timed.decode(z)
    assert timed.clock.seconds["decode"] > 0
    assert timed.clock.seconds["psr decode"] == before


def test_the_network_of_the_engine_is_split_and_loading_is_left_out():
    seconds = seconds_by_stage(
        {"load": 9, "read": 1, "write": 2, "plan": 0.5, "network": 5}, {"denoise": 3, "decode": 1}
    )
    assert {name: value for name, value in seconds.items() if value} == {
        "io": 3,
        "resize": 0.5,
        "denoise": 3,
        "decode": 1,
        "sampler": 1,
    }

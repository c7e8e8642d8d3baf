"""How a run would scale over GPUs: laws of the arithmetic, not measurements."""

from dataclasses import replace

import pytest

from addsr_cli.errors import UsageError
from addsr_cli.train.scaling import GPUS, MACHINE_GPUS, paces, plan_for, table


@pytest.fixture(scope="module")
def planned(configured_once):
    """Makes runs of the full model, whose cost is a formula; the default batch has two samples."""
    return lambda **changes: configured_once(arch="addsr", stage="student", **changes)


@pytest.fixture(scope="module")
def run(planned):
    return planned(steps=3600)


def test_a_fixed_batch_is_done_sooner_and_a_growing_one_in_the_same_time(planned):
    fixed = planned(total_batch=8)
    growing = planned()
    one, *_, four = paces(fixed, GPUS["h100"], 4, 25)
    assert (one.samples, four.samples) == (8, 8)
    assert four.compute < one.compute / 4  # nor does the student run again where it has one batch
    one, *_, four = paces(growing, GPUS["h100"], 4, 25)
    assert (one.samples, four.samples) == (2, 8)
    assert four.compute == pytest.approx(one.compute)


def test_the_exchange_is_that_of_a_ring_over_the_slowest_link(run):
    by_cards = {pace.gpus: pace for pace in paces(run, GPUS["a100-40g"], 16, 25)}
    assert list(by_cards) == [1, 2, 4, 8, 16]
    assert by_cards[1].exchange == 0
    assert by_cards[4].exchange == pytest.approx(1.5 * by_cards[2].exchange)
    assert by_cards[2 * MACHINE_GPUS].exchange > 50 * by_cards[MACHINE_GPUS].exchange
    alone = by_cards[1]
    assert by_cards[8].record(alone)["efficiency"] < alone.record(alone)["efficiency"] == 1


def test_a_faster_network_between_machines_takes_less_of_the_time(run):
    slow, fast = (paces(run, GPUS["h100"], 16, network)[-1] for network in (25, 400))
    assert slow.exchange == pytest.approx(16 * fast.exchange)
    assert slow.compute == fast.compute


def test_more_cards_than_samples_are_refused_as_by_the_run(planned):
    config = planned(total_batch=6)
    assert [pace.gpus for pace in paces(config, GPUS["h100"], 6, 25)] == [1, 2, 4, 6]
    with pytest.raises(UsageError, match="6 samples cannot be shared by 8"):
        paces(config, GPUS["h100"], 8, 25)
    assert plan_for(config, GPUS["h100"], 3).tflop < plan_for(config, GPUS["h100"], 1).tflop / 2


def test_a_sharded_optimizer_needs_less_memory_and_sends_a_half_more(run):
    whole, sharded = (replace(run, shard_optimizer=shard, accumulate=2) for shard in (False, True))
    memory, less = (plan_for(each, GPUS["h100"], 4).memory for each in (whole, sharded))
    assert less["optimiser"] == memory["optimiser"] // 4
    assert less | {"optimiser": 0} == memory | {"optimiser": 0}
    pace, other = (paces(each, GPUS["h100"], 4, 25)[-1] for each in (whole, sharded))
    assert other.exchange == pytest.approx(1.5 * pace.exchange)
    alone = plan_for(sharded, GPUS["h100"], 1)
    assert alone == plan_for(whole, GPUS["h100"], 1)


def test_the_table_has_a_line_for_each_number_of_cards_and_says_what_grows(run):
    lines = table(paces(run, GPUS["rtx3090"], 3, 25), 25).splitlines()
    assert [line.split()[0] for line in lines[:-1]] == ["GPUs", "1", "2", "3"]
    assert "--total-batch 2" in lines[-1]
    fixed = table(paces(replace(run, total_batch=16), GPUS["h100"], 16, 400), 400)
    assert "400 Gbit/s" in fixed
    assert "--total-batch" not in fixed

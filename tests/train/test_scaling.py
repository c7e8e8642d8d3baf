"""How a run would scale over GPUs: laws of the arithmetic, not measurements."""

import pytest

from addsr_cli.train.scaling import GPUS, MACHINE_GPUS, paces, plan_for, table


@pytest.fixture(scope="module")
def run(configured_once):
    return configured_once(stage="student", batch_size=2, steps=3600)


def test_a_fixed_batch_is_done_sooner_and_a_growing_one_in_the_same_time(configured_once):
    fixed = configured_once(stage="student", batch_size=2, total_batch=8)
    growing = configured_once(stage="student", batch_size=2)
    one, *_, four = paces(fixed, GPUS["h100"], 4)
    assert (one.samples, four.samples) == (8, 8)
    assert four.compute < one.compute / 4  # nor does the student run again where it has one batch
    one, *_, four = paces(growing, GPUS["h100"], 4)
    assert (one.samples, four.samples) == (2, 8)
    assert four.compute == pytest.approx(one.compute)


def test_the_exchange_is_that_of_a_ring_over_the_slowest_link(run):
    by_cards = {pace.gpus: pace for pace in paces(run, GPUS["a100-40g"], 16)}
    assert list(by_cards) == [1, 2, 4, 8, 16]
    assert by_cards[1].exchange == 0
    assert by_cards[4].exchange == pytest.approx(1.5 * by_cards[2].exchange)
    assert by_cards[2 * MACHINE_GPUS].exchange > 50 * by_cards[MACHINE_GPUS].exchange
    alone = by_cards[1]
    assert by_cards[8].record(alone)["efficiency"] < alone.record(alone)["efficiency"] == 1


def test_more_cards_than_samples_are_left_out(configured_once):
    config = configured_once(stage="student", batch_size=2, total_batch=6)
    assert [pace.gpus for pace in paces(config, GPUS["h100"], 8)] == [1, 2, 4]
    assert plan_for(config, GPUS["h100"], 3).tflop < plan_for(config, GPUS["h100"], 1).tflop / 2


def test_the_table_has_a_line_for_each_number_of_cards(run):
    lines = table(paces(run, GPUS["rtx3090"], 3)).splitlines()
    assert [line.split()[0] for line in lines] == ["GPUs", "1", "2", "3"]

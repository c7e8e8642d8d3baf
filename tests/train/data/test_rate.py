"""How fast samples are prepared, and what follows for the number of workers."""

import pytest

from addsr_cli.train.data.dataset import photos_of
from addsr_cli.train.data.rate import Preparation


@pytest.mark.parametrize(
    ("needed", "workers", "wanted", "advice"),
    [(25.0, 1, 3, True), (25.0, 3, 3, False), (9.0, 0, 1, False), (11.0, 0, 2, True)],
)
def test_workers_are_wanted_where_one_is_too_slow(needed, workers, wanted, advice):
    preparation = Preparation(per_worker=10.0, needed=needed, workers=workers)
    assert preparation.workers_needed == wanted
    assert (f"--workers {wanted}" in preparation.text()) is advice


def test_without_a_pace_of_the_network_the_rate_stands_alone():
    preparation = Preparation(per_worker=10.0, needed=None, workers=1)
    assert preparation.text() == "one worker on this machine prepares 10.0 samples/s"
    assert preparation.record() == {"samples_per_second_and_worker": 10.0, "workers_needed": None}


def test_the_rate_is_that_of_the_photos_of_the_run(configured, monkeypatch):
    config = configured(stage="student")
    clock = iter([10.0, 12.0])
    monkeypatch.setattr("addsr_cli.train.data.rate.time.process_time", lambda: next(clock))
    assert Preparation.measured(photos_of(config), config, None).per_worker == 2.0

import threading

import pytest

from addsr_cli.batch.prefetch import prefetch
from addsr_cli.batch.worker import Worker


def test_a_worker_runs_functions_in_order_and_passes_on_exceptions():
    worker, done = Worker("test"), []
    first, second = worker.submit(lambda: done.append(1)), worker.submit(lambda: 1 // 0)
    third = worker.submit(lambda: done.append(3))
    worker.close()
    first.result(5)
    third.result(5)
    assert done == [1, 3]
    with pytest.raises(ZeroDivisionError):
        second.result(5)


def test_prefetching_respects_its_bound_but_always_decodes_one(monkeypatch):
    started = []
    gate = threading.Event()
    monkeypatch.setattr("addsr_cli.batch.prefetch._decoded_size", lambda tasks: 10)
    monkeypatch.setattr("addsr_cli.batch.prefetch.decode", lambda task: (gate.wait(5), task)[1])
    groups = ([started.append(number) or number] for number in range(9))
    prefetched = prefetch(groups, 30)
    first = next(prefetched)
    assert len(started) == 4  # three are being read, one is known
    gate.set()
    assert first[0][1].result(5) == 0
    assert [group[0][1].result(5) for group in prefetched] == list(range(1, 9))
    tight = prefetch(([number] for number in range(3)), 5)
    assert [group[0][0] for group in tight] == [0, 1, 2]

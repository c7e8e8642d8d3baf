"""Precomputed tags: every process reads its share of the photos, and all get all tags."""

import json
import threading
from types import SimpleNamespace

import pytest
import torch

from addsr_cli.train.data import tags
from addsr_cli.train.data.dataset import find_photos
from addsr_cli.train.data.tags import precompute_tags


class FakeModel:
    """A model whose tagger returns the width of a picture."""

    def __init__(self):
        self.read = 0

    def read_tags(self, picture):
        self.read += 1
        return f"{picture.shape[-1]} wide"


def process(index=0, count=1):
    return SimpleNamespace(
        is_main_process=index == 0,
        process_index=index,
        num_processes=count,
        device=torch.device("cpu"),
    )


@pytest.fixture
def usable(photos):
    return find_photos(photos, 32)


def test_every_photo_is_tagged_once_and_reused(usable, tmp_path):
    model = FakeModel()
    known = precompute_tags(usable, model, tmp_path, process())
    assert known.keys() == {str(path) for path in usable.paths}
    assert known == json.loads((tmp_path / "tags.json").read_text())
    assert model.read == 3
    assert precompute_tags(usable, model, tmp_path, process()) == known
    assert model.read == 3


def test_processes_share_the_photos_and_gather_their_tags_regularly(usable, tmp_path, monkeypatch):
    count, gathers = 2, []
    barrier, shared = threading.Barrier(count, timeout=30), [None] * count

    def exchange(index, value):
        shared[index] = value
        barrier.wait()
        gathered = list(shared)
        barrier.wait()
        return gathered

    own = threading.local()

    def gather(pairs):
        gathers.append(len(pairs))
        return [pair for part in exchange(own.index, pairs) for pair in part]

    monkeypatch.setattr(tags, "SAVE_EVERY", 1)
    monkeypatch.setattr(tags, "gather_object", gather)
    monkeypatch.setattr(
        tags, "broadcast_object_list", lambda values: [exchange(own.index, values)[0][0]]
    )
    models, results = [FakeModel() for _ in range(count)], [None] * count

    def run(index):
        own.index = index
        results[index] = precompute_tags(usable, models[index], tmp_path, process(index, count))

    threads = [threading.Thread(target=run, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results[0] == results[1] == json.loads((tmp_path / "tags.json").read_text())
    assert [model.read for model in models] == [2, 1]
    assert sorted(gathers) == [0, 1, 1, 1]

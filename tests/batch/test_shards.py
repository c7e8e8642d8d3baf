import pytest

from addsr_cli.batch.shards import Shard, parse_shard
from addsr_cli.errors import UsageError


def test_every_file_is_in_one_shard():
    shards = [Shard(number=n, count=3) for n in (1, 2, 3)]
    assert all(sum(shard.contains_index(n) for shard in shards) == 1 for n in range(20))
    assert all(sum(shard.contains_name(f"{n}.jpg") for shard in shards) == 1 for n in range(20))


def test_shards_are_even():
    shards = [Shard(number=n, count=4) for n in (1, 2, 3, 4)]
    assert [sum(shard.contains_index(n) for n in range(400)) for shard in shards] == [100] * 4
    assert min(sum(shard.contains_name(f"{n}.jpg") for n in range(400)) for shard in shards) > 60


def test_a_shard_is_parsed_from_its_number_and_count():
    assert parse_shard("2/8") == Shard(number=2, count=8)


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/0", "-1/2"])
def test_an_invalid_shard_is_refused(text):
    with pytest.raises(UsageError):
        parse_shard(text)

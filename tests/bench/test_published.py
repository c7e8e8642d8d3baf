import json

import pytest

from addsr_cli.bench.learned import NAMES
from addsr_cli.bench.metrics import BASIC_METRICS
from addsr_cli.bench.published import DATA, load_table
from addsr_cli.errors import UnreadableInput, UsageError

TABLES = list(json.loads(DATA.read_text()))


@pytest.mark.parametrize("name", TABLES)
def test_every_table_names_its_source_and_how_to_get_the_data(name):
    table = load_table(name)
    assert table.source
    assert table.protocol
    assert f"--preset {name}" in table.data
    elsewhere = {"fid", "musiq", "maniqa", "clipiqa"}  # published, and not measured here
    known = {metric.name for metric in BASIC_METRICS} | {*NAMES} | elsewhere
    assert {metric for values in table.rows.values() for metric in values} <= known


def test_addsr_stands_in_every_table():
    assert all(any("AddSR" in method for method in load_table(name).rows) for name in TABLES)


def test_a_user_table_is_read(tmp_path):
    path = tmp_path / "paper.json"
    path.write_text(json.dumps({"source": "page 7", "rows": {"X": {"psnr": 20}}}))
    table = load_table(str(path))
    assert (table.name, table.source, table.rows) == ("paper", "page 7", {"X": {"psnr": 20.0}})


def test_an_unknown_table_is_refused_with_the_known_names():
    with pytest.raises(UsageError, match="no published table paper-table2") as caught:
        load_table("paper-table2")
    assert "realsr" in caught.value.hint


@pytest.mark.parametrize(
    "rows",
    ["", "[]", "{}", '{"source": "x", "rows": [1]}', '{"source": "x", "rows": {"a": {"b": "c"}}}'],
)
def test_a_file_that_is_no_table_is_refused(tmp_path, rows):
    path = tmp_path / "paper.json"
    path.write_text(rows)
    with pytest.raises(UnreadableInput, match=r"paper\.json"):
        load_table(str(path))

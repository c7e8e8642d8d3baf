import json
from pathlib import Path

import pytest

from addsr_cli.bench.learned import NAMES
from addsr_cli.bench.metrics import BASIC_METRICS
from addsr_cli.bench.published import ABLATION_TABLES, beside, load_tables, names
from addsr_cli.errors import UnreadableInput, UsageError

OURS = {metric.name for metric in BASIC_METRICS} | {*NAMES}
ELSEWHERE = {"fid", "musiq", "maniqa", "clipiqa"}  # published, and not measured here
OTHERS = ("realsr", "drealsr", "div2k-val")
V1 = [f"addsr-v1-table{n}" for n in range(1, 8)]
V4 = [f"addsr-v4-table{n}" for n in range(1, 10)]
PAPER_TABLES = [*V1, *V4]
WITHOUT_NUMBERS = [f"addsr-v4-table{n}" for n in (1, 2, 3, 6, 7)]


def columns(table):
    return {name for method in table.rows for name in table.values(method)}


def test_every_table_of_both_papers_is_there():
    assert set(names()) == {*PAPER_TABLES, *OTHERS, "reallr200"}


@pytest.mark.parametrize("name", [*PAPER_TABLES, *OTHERS])
def test_every_table_names_its_source_and_how_to_get_the_data(name):
    for table in load_tables(name):
        assert table.source
        assert table.protocol
        assert f"--preset {name}" in table.data


def test_all_cells_of_the_papers_are_there_and_what_is_unreadable_is_null():
    cells = [
        value
        for name in PAPER_TABLES
        for table in load_tables(name)
        for row in table.rows.values()
        for value in row.values()
    ]
    assert (len(cells), cells.count(None)) == (742, 3)


def test_what_others_measured_is_kept_apart_from_what_the_authors_did():
    theirs = [table for name in PAPER_TABLES for table in load_tables(name)]
    others = [table for name in OTHERS for table in load_tables(name)]
    assert {table.measured_by for table in theirs} == {"AddSR's authors"}
    assert {table.measured_by for table in others} == {"TSD-SR's authors"}
    assert all(columns(table) <= OURS | ELSEWHERE for table in others)


def test_the_papers_stay_in_columns_of_their_own_for_they_state_no_variants():
    first, fourth = (
        {column for name in version for table in load_tables(name) for column in columns(table)}
        for version in (V1, V4)
    )
    assert not first & fourth
    assert not (first | fourth) & (OURS | ELSEWHERE)


@pytest.mark.parametrize("name", WITHOUT_NUMBERS)
def test_a_table_whose_numbers_are_missing_says_so(name):
    (table,) = load_tables(name)
    assert not table.rows
    assert "missing" in table.doubts[0]


@pytest.mark.parametrize(
    ("name", "dataset", "method", "expected"),
    [
        (
            "addsr-v1-table3",
            "RealSR",
            "AddSR, 4 steps",
            {"MANIQA (v1)": 0.6347, "PSNR (v1)": 20.95},
        ),
        ("addsr-v1-table2", "addsr-case3", "BSRGAN, 1 step", {"PSNR (v1)": 17.9}),
        (
            "addsr-v4-table8",
            "RealSR",
            "TA-ADD exponential, mu=0.5, nu=2.1, 4 steps",
            {"MANIQA (v4)": 0.6597, "PSNR (v4)": 22.73},
        ),
    ],
)
def test_numbers_are_those_of_the_papers(name, dataset, method, expected):
    (table,) = [table for table in load_tables(name) if table.dataset == dataset]
    assert expected.items() <= table.values(method).items()


def test_an_unreadable_number_is_left_out():
    case = load_tables("addsr-v1-table2")[2]
    assert case.rows["BSRGAN, 1 step"]["CLIPIQA"] is None
    assert "CLIPIQA (v1)" not in case.values("BSRGAN, 1 step")
    assert any("04543" in doubt for doubt in case.doubts)


def datasets(tables):
    return [table.dataset for table in tables]


def test_the_tables_beside_a_test_set_are_those_of_its_pictures():
    tables = load_tables("addsr-v1-table5")
    assert set(datasets(beside(tables, "LR", "drealsr"))) == {"DRealSR", ""}
    assert set(datasets(beside(tables, "LR", "mine"))) == {"RealLR200", "DRealSR", ""}
    cases = load_tables("addsr-v1-table2")
    assert datasets(beside(cases, "addsr-case3", "DIV2K-val")) == ["addsr-case3"]


def test_one_data_set_may_come_from_several_tables():
    tables = load_tables("reallr200")
    assert set(datasets(tables)) == {"RealLR200"}
    assert {table.edition for table in tables} == {"v1", "v4"}


@pytest.mark.parametrize("ablation", list(ABLATION_TABLES))
def test_every_ablation_has_published_rows(ablation):
    assert any(table.rows for name in ABLATION_TABLES[ablation] for table in load_tables(name))


def test_a_user_table_is_read(tmp_path):
    path = tmp_path / "paper.json"
    path.write_text(json.dumps({"source": "page 7", "rows": {"X": {"psnr": 20}}}))
    (table,) = load_tables(str(path))
    assert (table.name, table.source, table.rows) == ("paper", "page 7", {"X": {"psnr": 20.0}})


def test_an_unknown_table_is_refused_with_the_known_names():
    with pytest.raises(UsageError, match="no published table paper-table2") as caught:
        load_tables("paper-table2")
    assert "realsr" in caught.value.hint


@pytest.mark.parametrize(
    "rows",
    ["", "[]", "{}", '{"source": "x", "rows": [1]}', '{"source": "x", "rows": {"a": {"b": "c"}}}'],
)
def test_a_file_that_is_no_table_is_refused(tmp_path, rows):
    path = tmp_path / "paper.json"
    path.write_text(rows)
    with pytest.raises(UnreadableInput, match=r"paper\.json"):
        load_tables(str(path))


def test_the_documentation_has_a_command_for_every_table():
    text = (Path(__file__).parents[2] / "docs" / "papers.md").read_text()
    lines = [line for line in text.splitlines() if line.startswith(("| v1, ", "| v4, "))]
    assert [line.split(" | ")[0] for line in lines] == [
        f"| {version}, {number}"
        for version, count in (("v1", 7), ("v4", 9))
        for number in range(1, count + 1)
    ]
    assert all("addsr bench" in line or "as v1, 2" in line for line in lines)
    assert "later" not in "".join(lines)

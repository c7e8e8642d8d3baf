import io
import math

from rich.console import Console

from addsr_cli.report import Column, Table

TABLE = Table(
    title="Speed",
    columns=[Column(title="name"), Column(title="s", digits=2), Column(title="n", digits=0)],
    rows=[("a|b", 1.005, 3), ("<c>", None, 12), ("[d]", math.nan, None), ("e", math.inf, 0)],
    notes=["a note"],
)


def test_text_is_aligned_words_left_and_numbers_right():
    assert TABLE.text().splitlines() == [
        "Speed",
        "name     s   n",
        "a|b   1.00   3",
        "<c>      -  12",
        "[d]      -   -",
        "e      inf   0",
        "a note",
    ]


def test_markdown_is_a_pipe_table():
    lines = TABLE.markdown().splitlines()
    assert lines[2:5] == ["| name | s | n |", "|---|---:|---:|", "| a\\|b | 1.00 | 3 |"]
    assert lines[-1] == "a note"


def test_html_escapes_user_text():
    page = TABLE.html()
    assert "&lt;c&gt;" in page
    assert "<c>" not in page
    assert page.count("<tr>") == 5


def test_a_terminal_sees_the_same_words():
    screen = io.StringIO()
    Console(file=screen, width=80).print(TABLE.rich())
    assert all(word in screen.getvalue() for word in ("Speed", "a|b", "[d]", "1.00", "a note"))

"""README and docs: links lead somewhere, and the README stays short."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from addsr_cli.cli.app import app

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)")


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    words = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in words}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_and_headings_that_exist(page):
    broken = []
    for target, anchor in LINK.findall(page.read_text(encoding="utf-8")):
        file = (page.parent / target) if target else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append((target, anchor))
    assert broken == []


def test_the_index_names_every_page():
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert {page for page in pages if f"]({page})" not in index} == set()


def test_the_readme_is_read_in_a_few_minutes():
    prose = re.sub(r"```.*?```|\]\([^)]*\)", "", README, flags=re.DOTALL)
    assert len(re.findall(r"[A-Za-z]{2,}", prose)) < 1000


def test_the_readme_gives_exactly_one_command_to_install_and_one_to_test():
    commands = [line for line in README.splitlines() if line.startswith("python3 -m venv")]
    assert ["upscale examples/cat.jpg" in line for line in commands] == [True, False]
    assert ["-m pytest" in line for line in commands] == [False, True]


NO_CALL = (" --model", " --help")  # what text mentions


def commands(page: Path) -> list[str]:
    """The commands of addsr in a page's shell blocks and in its running text."""
    text = page.read_text(encoding="utf-8")
    blocks = "\n".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL)).replace("\\\n", " ")
    lines = [line.partition(" #")[0] for line in blocks.splitlines()]
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    spans = re.findall(r"`(addsr [^`]*)`", prose.replace("\n", " "))
    called = [re.search(r"(?:^|-m )(?:addsr|addsr_cli) (.*)", line) for line in lines]
    whole = [span.removeprefix("addsr ") for span in spans if not span.endswith(NO_CALL)]
    return [each[1] for each in called if each] + whole


@pytest.fixture(scope="module")
def parse():
    """Parses a command without running it; raises what the command line raises."""
    addsr = typer.main.get_command(app)

    def parsed(text):
        command, words = addsr, shlex.split(re.sub(r"(?<!--data) \.\.\.", "", text))
        while hasattr(command, "commands") and words and words[0] in command.commands:
            command = command.commands[words.pop(0)]
        if not hasattr(command, "commands"):
            command.make_context("addsr", words)

    return parsed


@pytest.mark.parametrize("name", ["distill", "papers"])
def test_every_command_of_the_training_pages_is_understood(parse, name):
    found = commands(ROOT / "docs" / f"{name}.md")
    assert len(found) > 10
    for text in found:
        parse(text)


def test_a_command_with_an_unknown_option_or_choice_is_not_understood(parse):
    for text in ("distill --data hr --no-such-option", "distill --data hr --ta quadratic"):
        with pytest.raises(Exception, match=r"no-such-option|quadratic"):
            parse(text)

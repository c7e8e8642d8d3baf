"""scripts/manual.py and scripts/prepare_release.py: what a release adds to the packages."""

import re
import runpy
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
URL = "https://example.org/owner/addsr"
MANUAL = runpy.run_path(str(ROOT / "scripts" / "manual.py"))
PREPARE = runpy.run_path(str(ROOT / "scripts" / "prepare_release.py"))


@pytest.fixture(scope="module")
def manual(tmp_path_factory):
    folder = tmp_path_factory.mktemp("manual")
    MANUAL["write"](folder)
    return folder


def test_every_command_has_a_manual_page_that_the_program_lists(manual):
    pages = {page.stem for page in (manual / "man1").iterdir()}
    listed = re.findall(r"^\.BR (\S+) \(1\)", (manual / "man1" / "addsr.1").read_text(), re.M)
    assert {name.replace("\\-", "-") for name in listed} <= pages
    assert {"addsr", "addsr-upscale", "addsr-models-pull"} <= pages


def test_a_manual_page_has_options_and_defaults(manual):
    page = (manual / "man1" / "addsr-upscale.1").read_text()
    assert ".B \\-s, \\-\\-scale" in page
    assert "[default: 4]" in page
    assert "\\e[" not in page  # what Typer escapes for rich
    assert "{IMAGE}..." in page


def test_no_line_of_text_is_a_request_of_roff():
    assert MANUAL["text"](".toml and -o") == "\\&.toml and \\-o"


@pytest.mark.parametrize("name", ["addsr.bash", "_addsr", "addsr.fish"])
def test_completions_ask_the_program(manual, name):
    assert "_ADDSR_COMPLETE=complete_" in (manual / "completions" / name).read_text()


def test_pypi_shows_pictures_and_follows_links():
    readme = PREPARE["absolute_links"]((ROOT / "README.md").read_text(encoding="utf-8"), URL, "v1")
    targets = re.findall(r"\]\(([^)\s]+)\)", readme)
    assert [target for target in targets if not target.startswith(("https:", "#"))] == []
    assert f"({URL}/raw/v1/docs/terminal.svg)" in readme
    assert f"({URL}/blob/v1/docs/install.md)" in readme


def test_a_release_names_its_repository_once():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    named = PREPARE["with_urls"](text, URL, "v1")
    assert tomllib.loads(named)["project"]["urls"]["Issues"] == f"{URL}/issues"
    with pytest.raises(ValueError, match="already"):
        PREPARE["with_urls"](named, URL, "v1")

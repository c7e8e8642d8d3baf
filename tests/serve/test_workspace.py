"""Nothing temporary stays: not after the end, and not after a kill once the page starts again."""

import subprocess
import sys

import pytest

from addsr_cli.errors import OutputRefused
from addsr_cli.folders import cache_folder
from addsr_cli.serve.workspace import require_folder, workspace


def leftovers():
    folder = cache_folder() / "serve"
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_the_folder_is_private_and_deleted_at_the_end():
    with workspace() as folder:
        (folder / "photo").write_text("x")
        assert folder.stat().st_mode & 0o077 == 0
    assert leftovers() == []


KILLED = """
import os
from addsr_cli.serve.workspace import workspace
with workspace() as folder:
    (folder / "photo").write_text("x")
    os._exit(9)
"""


def test_the_next_start_deletes_what_a_killed_process_left_behind():
    subprocess.run([sys.executable, "-c", KILLED], check=False, env=None)
    assert leftovers()
    with workspace() as folder:
        assert {name.partition(".")[0] for name in leftovers()} == {folder.name}
    assert leftovers() == []


def test_a_page_that_runs_is_left_alone():
    with workspace() as first:
        (first / "photo").write_text("x")
        with workspace() as second:
            assert first != second
        assert (first / "photo").exists()


def test_an_output_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputRefused, match="is a file"):
        require_folder(tmp_path / "file")

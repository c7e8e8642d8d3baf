"""What the program sets up before a command runs."""

import atexit
import gc
import os

import pytest

from addsr_cli import __main__ as program


@pytest.fixture
def start(monkeypatch):
    """Start the program as far as its command line."""
    monkeypatch.setattr("addsr_cli.cli.app.run", lambda: 0)
    threshold = gc.get_threshold()
    at_exit = []
    monkeypatch.setattr(atexit, "register", at_exit.append)

    def run():
        with pytest.raises(SystemExit):
            program.main()
        return at_exit

    yield run
    gc.set_threshold(*threshold)


def test_threads_of_a_command_sleep_while_they_wait(start, monkeypatch):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    start()
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
    del os.environ["OMP_WAIT_POLICY"]


def test_threads_wait_as_the_environment_says(start, monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    start()
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"


def test_a_command_collects_cyclic_garbage_rarely_but_does(start):
    start()
    assert gc.isenabled()
    assert gc.get_threshold()[0] >= 10_000


def test_a_command_looks_for_no_garbage_as_it_exits(start):
    before = gc.get_freeze_count()
    for finish in start():
        finish()
    assert gc.get_freeze_count() > before

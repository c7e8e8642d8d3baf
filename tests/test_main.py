"""What the program sets up before a command runs."""

import gc
import os

import pytest

from addsr_cli import __main__ as program


@pytest.fixture
def start(monkeypatch):
    """Start the program as far as its command line."""
    monkeypatch.setattr("addsr_cli.cli.app.run", lambda: 0)
    threshold = gc.get_threshold()

    def run():
        with pytest.raises(SystemExit):
            program.main()

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

"""Ctrl-C waits for the end of a step."""

import os
import signal
import threading

import pytest

from addsr_cli.train.interrupt import defer_interrupts


def press():
    os.kill(os.getpid(), signal.SIGINT)


def within(*acts):
    """Run the block while Ctrl-C is deferred."""
    with defer_interrupts():
        for act in acts:
            act()


def test_ctrl_c_is_raised_at_the_end_of_the_block():
    done = []
    with pytest.raises(KeyboardInterrupt):
        within(press, press, lambda: done.append(True))
    assert done


def test_the_previous_handler_is_restored():
    before = signal.getsignal(signal.SIGINT)
    with defer_interrupts():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_does_not_hide_an_error_of_the_block():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(ZeroDivisionError):
        within(press, lambda: 1 / 0)
    assert signal.getsignal(signal.SIGINT) is before


def test_the_block_also_runs_in_other_threads():
    ran = []

    thread = threading.Thread(target=within, args=[lambda: ran.append(True)])
    thread.start()
    thread.join()
    assert ran

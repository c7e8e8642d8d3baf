"""Ctrl-C waits for the end of a step."""

import os
import signal
import threading

import pytest

from addsr_cli.train.interrupt import defer_interrupts


def press():
    os.kill(os.getpid(), signal.SIGINT)


def within(*acts):
    """Do all this while Ctrl-C waits."""
    with defer_interrupts():
        for act in acts:
            act()


def test_ctrl_c_is_heard_when_the_block_is_done():
    done = []
    with pytest.raises(KeyboardInterrupt):
        within(press, press, lambda: done.append(True))
    assert done


def test_the_handler_before_comes_back():
    before = signal.getsignal(signal.SIGINT)
    with defer_interrupts():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


def test_a_failure_inside_is_not_hidden_by_ctrl_c():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(ZeroDivisionError):
        within(press, lambda: 1 / 0)
    assert signal.getsignal(signal.SIGINT) is before


def test_other_threads_are_left_alone():
    ran = []

    thread = threading.Thread(target=within, args=[lambda: ran.append(True)])
    thread.start()
    thread.join()
    assert ran

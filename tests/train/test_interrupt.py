"""Ctrl-C and SIGTERM wait for the end of a step."""

import os
import signal
import threading

import pytest

from addsr_cli.train.interrupt import SIGNALS, Interrupts


def send(number):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_during_a_step_is_only_noted(number):
    interrupts, done = Interrupts(), []
    with interrupts.watched(), interrupts.deferred():
        send(number)
        send(number)
        done.append(True)
    assert done
    assert interrupts.requested


@pytest.mark.parametrize("number", SIGNALS)
def test_between_steps_it_ends_a_run_of_one_process_at_once(number):
    with pytest.raises(KeyboardInterrupt), Interrupts().watched():
        send(number)


def test_between_steps_one_of_several_processes_waits_for_the_others():
    interrupts = Interrupts(alone=False)
    with interrupts.watched():
        send(signal.SIGTERM)
    assert interrupts.requested


def test_the_previous_handlers_are_restored_after_an_error_too():
    before = [signal.getsignal(number) for number in SIGNALS]
    seen = []

    def fail():
        with Interrupts().watched():
            seen.extend(signal.getsignal(number) for number in SIGNALS)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not set(seen) & set(before)
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_the_block_also_runs_in_other_threads():
    ran = []

    def watch():
        with Interrupts().watched():
            ran.append(True)

    thread = threading.Thread(target=watch)
    thread.start()
    thread.join()
    assert ran

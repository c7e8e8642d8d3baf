"""The queue: one job at a time, in order, urgent ones first, each can be cancelled."""

from threading import Event

import pytest

from addsr_cli.serve.job_queue import Cancelled, JobQueue


@pytest.fixture
def queue():
    queue = JobQueue()
    yield queue
    queue.close()


def test_urgent_jobs_go_before_those_that_wait(queue):
    order, go = [], Event()
    queue.submit(lambda job: go.wait(10))
    last = queue.submit(lambda job: order.append("photo"))
    queue.submit(lambda job: order.append("preview"), urgent=True)
    go.set()
    last.future.result(10)
    assert order == ["preview", "photo"]


def test_a_running_job_ends_at_its_next_check(queue):
    running = Event()

    def endless(job):
        running.set()
        while True:
            job.check()

    job = queue.submit(endless)
    running.wait(10)
    job.cancel()
    assert isinstance(job.future.exception(10), Cancelled)


def test_an_error_reaches_the_caller_and_the_next_job_runs(queue):
    failed = queue.submit(lambda job: 1 / 0)
    good = queue.submit(lambda job: 7)
    assert isinstance(failed.future.exception(10), ZeroDivisionError)
    assert good.future.result(10) == 7


def test_closing_cancels_everything():
    queue, running = JobQueue(), Event()

    def endless(job):
        running.set()
        while True:
            job.check()

    jobs = [queue.submit(endless), queue.submit(lambda job: 1)]
    running.wait(10)
    queue.close()
    assert isinstance(jobs[0].future.exception(10), Cancelled)
    assert jobs[1].future.cancelled()

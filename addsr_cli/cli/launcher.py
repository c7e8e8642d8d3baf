"""One batch on many devices: a process for each, started here with a share of its own, and heard as one."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Collection, Sequence
from threading import Lock, Thread
from typing import IO, TYPE_CHECKING, Any

import typer

from addsr_cli.cli.batch_progress import BatchProgress
from addsr_cli.cli.console import Console, print_message
from addsr_cli.errors import UsageError

if TYPE_CHECKING:
    from typer.core import TyperOption

OWN = ("directory", "devices", "shard", "device", "model", "json", "print0", "quiet")
INTERRUPTED, SOME_FAILED, UNEXPECTED = 130, 3, 1


def named(text: str) -> list[str]:
    """``all``, ``0,1``, ``cuda:0,cpu`` -> devices. Raises UsageError."""
    from addsr_cli import hardware

    if text == "all":
        return hardware.devices()
    names = [
        f"cuda:{word}" if word.isdecimal() else word for word in text.replace(" ", "").split(",")
    ]
    for name in names:
        hardware.probe(name)
    if "" in names:
        raise UsageError(f"--devices {text} names no device.", "Use all, 0,1 or cuda:0,cuda:1.")
    return names


def words_of(context: typer.Context) -> list[str]:
    """The options given on the command line, but for those that each process gets its own of."""
    words = []
    for option in context.command.params:
        given = (
            option.name
            and getattr(context.get_parameter_source(option.name), "name", "") == "COMMANDLINE"
        )
        if given and option.name not in OWN:
            words += _words(option, context.params[str(option.name)])  # type: ignore[arg-type]
    return words


def _words(option: "TyperOption", value: Any) -> list[str]:  # noqa: ANN401 (whatever the option holds)
    flag = max(option.opts, key=len)
    if isinstance(value, bool):
        return [flag if value else max(option.secondary_opts, key=len)]
    return [f"{flag}={each}" for each in (value if isinstance(value, list | tuple) else [value])]


class Launcher:
    """The processes of one batch: ``devices`` and the ``words`` of the command line they share.

    ``known`` are inputs that failed in an earlier run and were told of already.
    """

    def __init__(self, devices: Sequence[str], words: Sequence[str], directory: str) -> None:
        self.devices, self.words, self.directory = devices, words, directory
        self.known: Collection[str] = ()
        self._children: list[subprocess.Popen[bytes]] = []
        self._threads: list[Thread] = []
        self._telling = Lock()

    def run(self, gauge: BatchProgress, console: Console) -> int:
        """Start them all and hear them to their end; returns the exit code of the whole.

        What ended a process early counts most, then Ctrl-C, then files that failed.
        """
        self.gauge, self.console = gauge, console
        try:
            self._start()
            return self._code([child.wait() for child in self._children])
        except BaseException as exc:
            self.stop(signal.SIGINT if isinstance(exc, KeyboardInterrupt) else signal.SIGTERM)
            raise
        finally:
            for child in self._children:
                child.wait()
            for thread in self._threads:
                thread.join()

    def _start(self) -> None:
        """One process for each device; a Ctrl-C of the terminal reaches them only through ``stop``."""
        count = len(self.devices)
        cores = str(max(1, (os.cpu_count() or 1) // count))
        threads = {} if "OMP_NUM_THREADS" in os.environ else {"OMP_NUM_THREADS": cores}
        for number, device in enumerate(self.devices, start=1):
            share = [
                f"--shard={number}/{count}",
                f"--device={device}",
                "--devices=none",
                "--json",
                "--quiet",
            ]
            child = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "addsr_cli",
                    "batch",
                    *self.words,
                    *share,
                    "--",
                    self.directory,
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=os.environ | (threads if device == "cpu" else {}),
                start_new_session=True,
            )
            self._children.append(child)
            for pipe, hear in ((child.stdout, self._record), (child.stderr, self._talk)):
                self._threads.append(
                    Thread(
                        target=self._listen,
                        args=(pipe, hear),
                        daemon=True,
                    )
                )
                self._threads[-1].start()

    def stop(self, number: int = signal.SIGINT) -> None:
        """Pass a signal on."""
        for child in self._children:
            if child.poll() is None:
                child.send_signal(number)

    def _code(self, codes: Sequence[int]) -> int:
        for device, code in zip(self.devices, codes, strict=True):
            if code < 0:
                self.console.info(
                    f"error: signal {-code} ended the process on {device}; run it again to do its files"
                )
        fatal = [
            UNEXPECTED if code < 0 else code
            for code in codes
            if code not in (0, SOME_FAILED, INTERRUPTED)
        ]
        return (fatal or sorted(codes, reverse=True))[0]

    def _listen(self, pipe: IO[bytes], hear: Any) -> None:  # noqa: ANN401 (a method of ours)
        with pipe:
            for line in pipe:
                with self._telling:
                    hear(line.decode(errors="surrogateescape").rstrip("\n"))

    def _talk(self, line: str) -> None:
        print_message(line)

    def _record(self, line: str) -> None:
        record: dict[str, Any] = json.loads(line)
        if record["status"] == "ok":
            self.gauge.success(record)
        elif record["status"] == "failed" and record.get("input") not in self.known:
            if "input" in record:  # else it is what ended the process
                self.gauge.count_failure()
            if self.console.json:
                self.console.result("", record)

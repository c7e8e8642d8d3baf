"""``--devices``: one process per device, each with a shard of the batch, shown as one batch."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Collection, Sequence
from threading import Lock, Thread
from typing import IO, TYPE_CHECKING, Any

import typer

from addsr_cli.cli.batch_progress import BatchProgress
from addsr_cli.cli.console import Console, print_message
from addsr_cli.cli.exit_codes import INTERRUPTED, SOME_FAILED, UNEXPECTED
from addsr_cli.errors import UsageError

if TYPE_CHECKING:
    from typer.core import TyperOption

# Options that the processes do not inherit: the launcher sets them, or handles them itself.
NOT_INHERITED = (
    "directory",
    "devices",
    "shard",
    "device",
    "model",
    "open",
    "json",
    "print0",
    "quiet",
)


def parse_devices(text: str) -> list[str]:
    """``all``, ``0,1``, ``cuda:0,cpu`` -> names of devices. Raises UsageError."""
    from addsr_cli import hardware

    if text == "all":
        return hardware.devices()
    names = text.replace(" ", "").split(",")
    if "" in names:
        raise UsageError(f"--devices {text} has an empty entry.", "Use all, 0,1 or cuda:0,cuda:1.")
    names = [f"cuda:{name}" if name.isdecimal() else name for name in names]
    for name in names:
        hardware.probe(name)
    return names


def typed_options(context: typer.Context) -> list[str]:
    """Return the options given on the command line that the processes inherit."""
    arguments = []
    for option in context.command.params:
        name = option.name
        if not name or name in NOT_INHERITED:
            continue
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            arguments += _arguments(option, context.params[name])  # type: ignore[arg-type]
    return arguments


def _arguments(option: "TyperOption", value: Any) -> list[str]:  # noqa: ANN401 (any option's value)
    flag = max(option.opts, key=len)
    if isinstance(value, bool):
        return [flag if value else max(option.secondary_opts, key=len)]
    values = value if isinstance(value, list | tuple) else [value]
    return [f"{flag}={item}" for item in values]


class Launcher:
    """The processes of one batch, one for each device, with the same ``arguments``.

    ``known_failures`` are inputs that failed in an earlier run and are already reported.
    """

    def __init__(
        self,
        devices: Sequence[str],
        arguments: Sequence[str],
        directory: str,
    ) -> None:
        self.devices = devices
        self.arguments = arguments
        self.directory = directory
        self.known_failures: Collection[str] = ()
        self._processes: list[subprocess.Popen[bytes]] = []
        self._threads: list[Thread] = []
        self._lock = Lock()  # one line of output at a time

    def run(self, progress: BatchProgress, console: Console) -> int:
        """Start the processes, forward their output, and return the exit code of the batch.

        An error that ended a process counts most, then Ctrl-C, then failed files.
        """

        def on_record(line: str) -> None:
            self._handle_record(json.loads(line), progress, console)

        try:
            for number, device in enumerate(self.devices, start=1):
                process = self._start(number, device)
                self._processes.append(process)
                self._forward(process.stdout, on_record)
                self._forward(process.stderr, print_message)
            codes = [process.wait() for process in self._processes]
            return self._exit_code(codes, console)
        except BaseException as exc:
            self.stop(signal.SIGINT if isinstance(exc, KeyboardInterrupt) else signal.SIGTERM)
            raise
        finally:
            for process in self._processes:
                process.wait()
            for thread in self._threads:
                thread.join()

    def stop(self, number: int = signal.SIGINT) -> None:
        """Send a signal to all processes that still run."""
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(number)

    def _start(self, number: int, device: str) -> subprocess.Popen[bytes]:
        """Start the process of one device, which does shard ``number``."""
        command = [
            sys.executable,
            "-m",
            "addsr_cli",
            "batch",
            *self.arguments,
            f"--shard={number}/{len(self.devices)}",
            f"--device={device}",
            "--devices=none",
            "--json",
            "--quiet",
            "--",
            self.directory,
        ]
        environment = dict(os.environ)
        if device == "cpu":
            threads = max(1, (os.cpu_count() or 1) // len(self.devices))
            environment.setdefault("OMP_NUM_THREADS", str(threads))
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,  # a Ctrl-C of the terminal arrives only through `stop`
        )

    def _forward(self, pipe: IO[bytes] | None, handle: Callable[[str], None]) -> None:
        """Call ``handle`` with every line of a pipe, in a thread."""
        if pipe is None:
            raise TypeError("the process has no pipe")
        thread = Thread(
            target=self._read_lines,
            args=(pipe, handle),
            daemon=True,
        )
        thread.start()
        self._threads.append(thread)

    def _read_lines(self, pipe: IO[bytes], handle: Callable[[str], None]) -> None:
        with pipe:
            for line in pipe:
                with self._lock:
                    handle(line.decode(errors="surrogateescape").rstrip("\n"))

    def _handle_record(
        self,
        record: dict[str, Any],
        progress: BatchProgress,
        console: Console,
    ) -> None:
        if record["status"] == "ok":
            progress.add_success(record)
            return
        if record["status"] != "failed" or record.get("input") in self.known_failures:
            return
        if "input" in record:  # otherwise it is the error that ended the process
            progress.add_failure()
        if console.json:
            console.result("", record)

    def _exit_code(self, codes: Sequence[int], console: Console) -> int:
        errors = []
        for device, code in zip(self.devices, codes, strict=True):
            if code < 0:
                console.info(
                    f"error: signal {-code} ended the process on {device}. "
                    "Run the same command again to process its files."
                )
                errors.append(UNEXPECTED)
            elif code not in (0, SOME_FAILED, INTERRUPTED):
                errors.append(code)
        return errors[0] if errors else max(codes)

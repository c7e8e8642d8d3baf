"""Turns photos into tasks, and decides from the journal which of them are still to be done."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from addsr_cli import imageio
from addsr_cli.batch.config import BatchConfig
from addsr_cli.batch.failures import UNEXPECTED, to_addsr_error
from addsr_cli.batch.journal import JournalEntry, Key
from addsr_cli.batch.naming import draft_task, file_seed, possible_outputs, resolve_collisions
from addsr_cli.batch.output_folder import estimated_size, is_inside
from addsr_cli.batch.task import FileStat, Rejected, Task, file_sha256, file_stat
from addsr_cli.errors import AddsrError, NoSpace, OutputRefused, UnreadableInput
from addsr_cli.imageio import Header


@dataclass(kw_only=True)
class WorkQueue:
    """What a run will do: ``pending`` goes through the network, ``rejected`` fails at once.

    ``already_done`` and ``already_failed`` are left as an earlier run left them. ``unknown_lines``
    counts the ignored lines of the journal.
    """

    pending: list[Task] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    already_done: list[JournalEntry] = field(default_factory=list)
    already_failed: list[JournalEntry] = field(default_factory=list)
    unknown_lines: int = 0

    @property
    def total(self) -> int:
        """Number of outputs that the run will handle."""
        return len(self.pending) + len(self.rejected)

    @property
    def input_pixels(self) -> int:
        """Pixels of all photos that go through the network."""
        sizes = (task.job.header.size for task in self.pending)
        return sum(width * height for width, height in sizes)


class TaskReader:
    """Reads the headers of photos, each once as long as its file does not change."""

    def __init__(self, config: BatchConfig) -> None:
        self.config = config
        self._headers: dict[str, tuple[FileStat, Header | AddsrError]] = {}

    def tasks(self, names: Iterable[str]) -> list[Task | Rejected]:
        """Return the tasks of all photos of the tree, in the order of ``names``.

        All names are needed at once, since the names of outputs depend on each other.
        """
        drafts: list[Task | Rejected] = []
        for name in names:
            drafts += self._draft(name)
        return resolve_collisions(drafts, self.config)

    def _draft(self, name: str) -> list[Task | Rejected]:
        config = self.config
        stat = file_stat(config.root / name)
        header = self._header(name, stat)
        if isinstance(header, AddsrError):
            return [Rejected(name=name, error=header, stat=stat)]
        try:
            size = config.settings.output_size(header.width, header.height)
        except AddsrError as exc:
            return [Rejected(name=name, error=exc, stat=stat)]
        first_seed = file_seed(config.settings.seed, name)
        drafts: list[Task | Rejected] = []
        for sample in range(config.naming.samples):
            settings = replace(config.settings, seed=first_seed + sample)
            drafts.append(
                draft_task(
                    config,
                    name,
                    sample,
                    header,
                    size,
                    settings,
                    stat,
                )
            )
        return drafts

    def _header(self, name: str, stat: FileStat) -> Header | AddsrError:
        cached = self._headers.get(name)
        if cached is not None and cached[0] == stat:
            return cached[1]
        header: Header | AddsrError
        try:
            header = imageio.read_header(self.config.root / name)
        except (AddsrError, MemoryError, *UNEXPECTED) as exc:
            header = to_addsr_error(exc.with_traceback(None))
        self._headers[name] = (stat, header)
        return header


def build_queue(
    tasks: Sequence[Task | Rejected],
    config: BatchConfig,
    journal: Mapping[Key, JournalEntry],
) -> WorkQueue:
    """Sort tasks by what is to be done about them.

    Raises OutputRefused if the output folder has outputs of other settings, and NoSpace if not even
    the smallest picture fits on the disk.
    """
    queue = WorkQueue()
    for task in tasks:
        entry = journal.get(task.key)
        if entry is None or not _is_plausible(task, entry, config):
            _enqueue(task, queue, config, may_replace=False)
            continue
        other_settings = entry.settings != config.digest
        if entry.state == "ok" and other_settings and not config.options.overwrite:
            raise OutputRefused(
                f"{str(config.output)!r} holds outputs made with other settings or another model.",
                "Choose another folder with -o, or replace them with --overwrite.",
            )
        is_own = entry.state != "failed" and entry.output == task.output
        if other_settings or not _is_unchanged(task, entry, config):
            same_root = entry.root == config.resolved_root
            _enqueue(
                task,
                queue,
                config,
                may_replace=is_own and same_root,
            )
        elif _is_complete(entry, config):
            queue.already_done.append(entry)
        elif _stays_failed(entry, config):
            queue.already_failed.append(entry)
        else:
            _enqueue(task, queue, config, may_replace=is_own)
    _check_disk(tasks, queue)
    return queue


def _is_plausible(
    task: Task | Rejected,
    entry: JournalEntry,
    config: BatchConfig,
) -> bool:
    """Whether an entry names an output that this photo can have; anyone may edit a journal."""
    if entry.state == "failed" or entry.settings != config.digest or isinstance(task, Rejected):
        return True
    if (config.output / entry.output).is_symlink():
        return False  # addsr writes no links
    return entry.output == task.output or entry.output in possible_outputs(task, config)


def _is_unchanged(
    task: Task | Rejected,
    entry: JournalEntry,
    config: BatchConfig,
) -> bool:
    """Whether an input has the size and time of its entry, or the same bytes with another time."""
    if task.stat.size != entry.size:
        return False
    if task.stat.mtime_ns == entry.mtime_ns:
        return True
    try:
        return bool(entry.sha256) and file_sha256(config.root / task.name) == entry.sha256
    except UnreadableInput:  # the run will report it
        return False


def _is_complete(entry: JournalEntry, config: BatchConfig) -> bool:
    """Whether the output is there in its full size."""
    if entry.state != "ok":
        return False
    return file_stat(config.output / entry.output).size == entry.output_size


def _stays_failed(entry: JournalEntry, config: BatchConfig) -> bool:
    """Whether a failure is not tried again.

    A refused output always is: its cause was in the output folder, not in the photo.
    """
    if entry.state != "failed" or config.retry_failed:
        return False
    return entry.error.get("code") != OutputRefused.code


def _enqueue(
    task: Task | Rejected,
    queue: WorkQueue,
    config: BatchConfig,
    *,
    may_replace: bool,
) -> None:
    """Queue a task, or reject it if its output is refused.

    ``may_replace``: an existing output was written by addsr for the same photo.
    """
    if isinstance(task, Rejected):
        queue.rejected.append(task)
        return
    task = _with_overwrite(task, overwrite=may_replace or config.options.overwrite)
    try:
        _check_inside(task, config.output)
        task.job.check()
    except AddsrError as exc:
        queue.rejected.append(Rejected.from_task(task, exc))
    else:
        queue.pending.append(task)


def _with_overwrite(task: Task, *, overwrite: bool) -> Task:
    options = replace(task.job.options, overwrite=overwrite)
    return replace(task, job=replace(task.job, options=options))


def _check_inside(task: Task, output: Path) -> None:
    """Raise OutputRefused if the output exists and is a link to a file outside the folder."""
    path = output / task.output
    if os.path.lexists(path) and not is_inside(output, task.output):
        raise OutputRefused(
            f"{str(path)!r} is a link to a file outside the output folder.",
            "Remove the link, or choose another folder with -o.",
        )


def _check_disk(tasks: Sequence[Task | Rejected], queue: WorkQueue) -> None:
    """Raise NoSpace if not even the smallest picture fits: then no single file is to blame."""
    disk_full = any(isinstance(rejected.error, NoSpace) for rejected in queue.rejected)
    if queue.pending or not disk_full:
        return
    runnable = (task for task in tasks if isinstance(task, Task))
    smallest = min(runnable, key=lambda task: estimated_size([task]))
    try:
        _with_overwrite(smallest, overwrite=True).job.check()
    except NoSpace:
        raise
    except AddsrError:  # it fails for another reason, which is already reported
        return

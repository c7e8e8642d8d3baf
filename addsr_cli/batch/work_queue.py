"""What is to be done: photos become jobs with names and seeds of their own, and the journal says which are left."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from addsr_cli import imageio
from addsr_cli.batch.disk import estimated_size
from addsr_cli.batch.journal import JournalEntry, Key
from addsr_cli.batch.naming import draft_task, file_seed, possible_outputs, resolve_collisions
from addsr_cli.batch.task import (
    UNEXPECTED_ERRORS,
    BatchConfig,
    FileStat,
    Rejected,
    Task,
    digest_of,
    failure,
    file_stat,
    inside,
    rejected,
)
from addsr_cli.errors import AddsrError, NoSpace, OutputRefused, UnreadableInput
from addsr_cli.imageio import Header


@dataclass(kw_only=True)
class WorkQueue:
    """The tree sorted by what is to happen: ``todo``, and ``lost`` at once; the rest is left alone.

    ``done`` and ``failed`` are of earlier runs. ``unknown`` counts lines of the journal that are
    none.
    """

    todo: list[Task] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    done: list[JournalEntry] = field(default_factory=list)
    failed: list[JournalEntry] = field(default_factory=list)
    unknown: int = 0


class TaskReader:
    """Headers of the photos, read once as long as files do not change."""

    def __init__(self, order: BatchConfig) -> None:
        self.order = order
        self._known: dict[str, tuple[FileStat, Header | AddsrError]] = {}

    def tasks(self, names: Iterable[str]) -> list[Task | Rejected]:
        """Every photo of the tree as tasks with their final names, in the order of ``names``."""
        drafts: list[Task | Rejected] = []
        for name in names:
            drafts += self._drafts(name)
        return resolve_collisions(drafts, self.order)

    def _drafts(self, name: str) -> list[Task | Rejected]:
        order, path = self.order, self.order.root / name
        stamp = file_stat(path)
        if self._known.get(name, (None,))[0] != stamp:
            try:
                self._known[name] = stamp, imageio.read_header(path)
            except (AddsrError, MemoryError, *UNEXPECTED_ERRORS) as exc:
                self._known[name] = stamp, failure(exc.with_traceback(None))
        header = self._known[name][1]
        if isinstance(header, AddsrError):
            return [
                Rejected(
                    name=name,
                    error=header,
                    stamp=stamp,
                )
            ]
        try:
            size = order.settings.output_size(header.width, header.height)
        except AddsrError as exc:
            return [
                Rejected(
                    name=name,
                    error=exc,
                    stamp=stamp,
                )
            ]
        first = file_seed(order.settings.seed, name)
        return [
            draft_task(
                order,
                name,
                number,
                header,
                size,
                replace(order.settings, seed=first + number),
                stamp,
            )
            for number in range(order.naming.samples)
        ]


def build_queue(
    tasks: Sequence[Task | Rejected], order: BatchConfig, journal: Mapping[Key, JournalEntry]
) -> WorkQueue:
    """What the journal leaves to do.

    Raises OutputRefused when other settings made what is there, and NoSpace. The journal is
    believed where it names an output that this photo could have had.
    """
    agenda = WorkQueue()
    for task in tasks:
        entry = journal.get(task.key)
        if entry is None or not _believed(task, entry, order):
            _put(task, agenda, order, owned=False)
        elif entry.state == "ok" and entry.settings != order.digest and not order.options.overwrite:
            raise OutputRefused(
                f"{str(order.output)!r} holds outputs of other settings or of another model.",
                "Choose a new folder with -o, or add --overwrite to make them anew.",
            )
        elif entry.settings == order.digest and _unchanged(task, entry, order):
            _remembered(task, entry, agenda, order)
        else:
            _put(task, agenda, order, owned=_owned(task, entry) and entry.root == order.place)
    _refuse_full_disk(tasks, agenda)
    return agenda


def _believed(task: Task | Rejected, entry: JournalEntry, order: BatchConfig) -> bool:
    """Whether an entry that claims an output of these settings names one that they would make."""
    if entry.state == "failed" or entry.settings != order.digest or isinstance(task, Rejected):
        return True
    if (order.output / entry.output).is_symlink():
        return False  # this program writes no links
    return entry.output == task.output or entry.output in possible_outputs(task, order)


def _remembered(
    task: Task | Rejected,
    entry: JournalEntry,
    agenda: WorkQueue,
    order: BatchConfig,
) -> None:
    """An input that has not changed since the journal last spoke of it.

    An output that was refused is tried again at once: the reason lay in the output folder, not in
    the photo.
    """
    whole = file_stat(order.output / entry.output).size == entry.output_size
    if entry.state == "ok" and whole:
        agenda.done.append(entry)
    elif (
        entry.state == "failed"
        and not order.retry_failed
        and entry.error.get("code") != OutputRefused.code
    ):
        agenda.failed.append(entry)
    else:
        _put(task, agenda, order, owned=_owned(task, entry))


def _owned(task: Task | Rejected, entry: JournalEntry) -> bool:
    """Whether what lies at the output's place is a file that a run of ours put there, or was about to."""
    return entry.state != "failed" and entry.output == task.output


def _put(
    task: Task | Rejected,
    agenda: WorkQueue,
    order: BatchConfig,
    *,
    owned: bool,
) -> None:
    """Let a task be done, unless its output is refused; ``owned`` outputs are ours to replace."""
    if isinstance(task, Rejected):
        agenda.rejected.append(task)
        return
    task = _allowed(task, overwrite=owned or order.options.overwrite)
    try:
        _refuse_outside(task, order.output)
        task.job.check()
    except AddsrError as exc:
        agenda.rejected.append(rejected(task, exc))
    else:
        agenda.todo.append(task)


def _allowed(task: Task, *, overwrite: bool) -> Task:
    return replace(
        task, job=replace(task.job, options=replace(task.job.options, overwrite=overwrite))
    )


def _refuse_outside(task: Task, output: Path) -> None:
    """Raise OutputRefused where a link leads to a file outside: that is not ours to replace."""
    path = output / task.output
    if os.path.lexists(path) and not inside(output, task.output):
        raise OutputRefused(
            f"{str(path)!r} leads to a file outside the output folder.",
            "Remove the link, or choose another folder.",
        )


def _refuse_full_disk(tasks: Sequence[Task | Rejected], agenda: WorkQueue) -> None:
    """Raise NoSpace when not even the smallest picture of the tree would fit: no file is to blame."""
    if agenda.todo or not any(isinstance(each.error, NoSpace) for each in agenda.rejected):
        return
    smallest = min(
        (task for task in tasks if isinstance(task, Task)), key=lambda task: estimated_size([task])
    )
    try:
        _allowed(smallest, overwrite=True).job.check()
    except NoSpace:
        raise
    except AddsrError:
        return  # it fails for another reason


def _unchanged(task: Task | Rejected, entry: JournalEntry, order: BatchConfig) -> bool:
    """Same size and time, or else the same bytes under another time."""
    if task.stamp.size != entry.size:
        return False
    if task.stamp.mtime_ns == entry.mtime_ns:
        return True
    try:
        return bool(entry.sha256) and digest_of(order.root / task.name) == entry.sha256
    except UnreadableInput:  # told when its turn comes
        return False

"""Splits a batch over processes that do not communicate: each takes a fixed share of the files."""

import os
import re
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256

from addsr_cli.errors import UsageError

WORLD_SIZE = "WORLD_SIZE"  # set by torchrun and accelerate launch


@dataclass(frozen=True, kw_only=True)
class Shard:
    """Part ``number`` (from 1) of ``count``."""

    number: int
    count: int

    def __post_init__(self) -> None:
        """Raise UsageError for a number outside 1 to ``count``."""
        if not 1 <= self.number <= self.count:
            raise UsageError(
                f"--shard {self.number}/{self.count} is out of range.",
                "Count from 1, as in --shard 1/4.",
            )

    def contains_index(self, index: int) -> bool:
        """Whether the file at this index of the sorted tree belongs to this shard.

        Shards are even, but all processes must see the same files.
        """
        return index % self.count == self.number - 1

    def contains_name(self, name: str) -> bool:
        """Whether a file of this name belongs to this shard, whatever other files there are.

        Shards are even only on average.
        """
        digest = sha256(os.fsencode(name)).digest()
        return self.contains_index(int.from_bytes(digest[:8]))


WHOLE = Shard(number=1, count=1)


def parse_shard(text: str) -> Shard:
    """``2/8`` -> part 2 of 8. Raises UsageError."""
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if not match:
        raise UsageError(
            f"--shard {text} is not of the form I/N.", "Write 2/8 for the second of eight parts."
        )
    return Shard(number=int(match[1]), count=int(match[2]))


def is_launched() -> bool:
    """Whether ``accelerate launch`` or ``torchrun`` started this process as one of several."""
    return int(os.environ.get(WORLD_SIZE, "1")) > 1


def from_launcher(device: str) -> tuple[Shard, str]:
    """Join the processes that were launched together; return this one's shard and device."""
    from accelerate import PartialState

    from addsr_cli import hardware  # imported here, since walking a folder needs no torch

    requested = hardware.best_device() if device == "auto" else device
    on_cpu = requested == "cpu"
    # Gloo, as the processes only wait for each other: that needs no GPU. The wait at the end may
    # take as long as the slowest shard.
    state = PartialState(
        cpu=on_cpu,
        backend="gloo",
        timeout=timedelta(weeks=52),
    )
    shard = Shard(
        number=state.process_index + 1,
        count=state.num_processes,
    )
    if device != "auto":
        return shard, device
    return shard, "cpu" if on_cpu else str(state.device)


def wait_for_others() -> None:
    """Wait for all launched processes: a launcher stops the others when one exits with an error."""
    from accelerate import PartialState

    PartialState().wait_for_everyone()


def leave_process_group() -> None:
    """Disconnect from the other launched processes."""
    from accelerate import PartialState

    PartialState().destroy_process_group()

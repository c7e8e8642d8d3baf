"""Whose work is what: many processes over one tree, each with a share that needs no word between them."""

import os
import re
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256

from addsr_cli.errors import UsageError

WORLD = "WORLD_SIZE"  # as torchrun and accelerate launch set it


@dataclass(frozen=True, kw_only=True)
class Shard:
    """Part ``number`` (from 1) of ``count``."""

    number: int
    count: int

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        if not 1 <= self.number <= self.count:
            raise UsageError(
                f"--shard {self.number}/{self.count} is out of range.",
                "Count from 1, as in --shard 1/4.",
            )

    def takes(self, position: int) -> bool:
        """Whether the file at this place of the sorted tree is ours; every process must see the same tree."""
        return position % self.count == self.number - 1

    def takes_name(self, name: str) -> bool:
        """Whether a file of this name is ours, whatever else lies in the tree; shares are even only on average."""
        return (
            int.from_bytes(sha256(os.fsencode(name)).digest()[:8]) % self.count == self.number - 1
        )


WHOLE = Shard(number=1, count=1)


def parse_shard(text: str) -> Shard:
    """``2/8`` -> part 2 of 8. Raises UsageError."""
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if not match:
        raise UsageError(f"--shard {text} is not a share.", "Write it as 2/8: the second of eight.")
    return Shard(number=int(match[1]), count=int(match[2]))


def is_launched() -> bool:
    """Whether ``accelerate launch`` or ``torchrun`` started this process as one of several."""
    return int(os.environ.get(WORLD, "1")) > 1


def from_launcher(device: str) -> tuple[Shard, str]:
    """Our share and device among the processes that were launched together, by accelerate's process state."""
    from accelerate import PartialState

    from addsr_cli import hardware  # here, so that looking at folders needs no torch

    on_cpu = (hardware.best_device() if device == "auto" else device) == "cpu"
    state = PartialState(
        cpu=on_cpu,
        backend="gloo",
        timeout=timedelta(weeks=52),
    )
    shard = Shard(number=state.process_index + 1, count=state.num_processes)
    own = "cpu" if on_cpu else str(state.device)
    return shard, own if device == "auto" else device


def wait_for_others() -> None:
    """Wait until every launched process is here: launchers end them all when the first exits with a code above 0."""
    from accelerate import PartialState

    PartialState().wait_for_everyone()


def leave_process_group() -> None:
    """Part from the other processes."""
    from accelerate import PartialState

    PartialState().destroy_process_group()

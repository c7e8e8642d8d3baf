"""Options of ``addsr distill --dry-run``: the GPUs to plan for, which need not be here."""

from dataclasses import dataclass
from typing import Annotated, Literal

from addsr_cli.errors import UsageError
from addsr_cli.options import parse_memory
from addsr_cli.train.option_panels import LOOP, train_option

GpuName = Literal["a100-40g", "a100-80g", "h100", "h200", "l40s", "rtx4090", "rtx3090"]


def _parse_size(text: str) -> int:
    """``40G`` as bytes, in units of 1024. Raises UsageError."""
    return parse_memory(text, "--memory", binary=True)


@dataclass(frozen=True, kw_only=True)
class PlannedGpus:
    """``gpus`` GPUs of a kind, or one of ``memory`` bytes; this machine's own without both.

    ``network`` is the rate between machines in Gbit/s, of which each has eight GPUs.
    """

    memory: Annotated[
        int | None,
        train_option(
            "With --dry-run: plan for a GPU of this size, such as 40G.",
            LOOP,
            parse=_parse_size,
        ),
    ] = None
    gpu: Annotated[
        GpuName | None, train_option("With --dry-run: plan for this GPU, with its speed.", LOOP)
    ] = None
    gpus: Annotated[
        int, train_option("With --dry-run --gpu: show how the run scales to this many GPUs.", LOOP)
    ] = 1
    network: Annotated[
        float, train_option("With --gpus above 8: Gbit/s between machines.", LOOP)
    ] = 25.0

    def __post_init__(self) -> None:
        """Raise UsageError for options that contradict each other."""
        if (self.memory and self.gpu) or self.gpus < 1 or (self.gpus > 1 and not self.gpu):
            raise UsageError(
                "--gpus needs --gpu, and --memory does not go with it.",
                "For example: --dry-run --gpu a100-40g --gpus 4.",
            )
        if self.network <= 0:
            raise UsageError("--network must be above 0 Gbit/s.")
